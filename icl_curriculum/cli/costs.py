"""What ``icl show NAME --cost`` prints: progress while it measures, then one table with a row for each variant."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Sequence

from rich.table import Table

from icl_curriculum.cli import output
from icl_curriculum.cli.progress import LINE_EVERY, duration, passing_bar
from icl_curriculum.config.experiment import Run
from icl_curriculum.core.progress import Tell
from icl_curriculum.runs.cost import RunCost, costs_of


def show(runs: Sequence[Run], device: str) -> None:
    """Measure what runs cost on a device, and print it."""
    name = runs[0].experiment.name
    output.progress(f"{name}: timing a few updates, answers and a checkpoint on {device}")
    with telling() as tell:
        costs = costs_of(runs, device, tell)
    output.show(cost_table(costs))
    for text in _notes(costs, runs):
        output.note(text)
    output.put(costs=[{**dataclasses.asdict(cost), "written_bytes": cost.written_bytes} for cost in costs])


def cost_table(costs: Sequence[RunCost]) -> Table:
    """A row for one run of each variant, and one for all runs where there are several."""
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    columns = (
        "runs", "parameters", "steps", "prompts", "operations", "training", "evaluation",
        "weights", "checkpoint", "tables", "written",
    )  # fmt: skip
    table.add_column("one run of")
    for column in columns:
        table.add_column(column, justify="right")
    for cost in costs:
        table.add_row(
            cost.variant, str(cost.seeds), number_shown(cost.parameters), f"{cost.steps:,}", number_shown(cost.prompts),
            f"{cost.operations:.2e}", time_shown(cost.training_seconds),
            time_shown(cost.learning_seconds + cost.evaluation_seconds),
            *map(_bytes, (cost.weights_bytes, cost.checkpoint_bytes, cost.table_bytes, cost.written_bytes)),
        )  # fmt: skip
    runs = sum(cost.seeds for cost in costs)
    if runs > 1:

        def total(*keys: str) -> float:
            return float(sum(cost.seeds * getattr(cost, key) for cost in costs for key in keys))

        table.add_row(
            "all together", str(runs), "", f"{total('steps'):,.0f}", number_shown(total("prompts")),
            f"{total('operations'):.2e}", time_shown(total("training_seconds")),
            time_shown(total("learning_seconds", "evaluation_seconds")),
            *(_bytes(total(key)) for key in ("weights_bytes", "checkpoint_bytes", "table_bytes", "written_bytes")),
        )  # fmt: skip
    return table


def _notes(costs: Sequence[RunCost], runs: Sequence[Run]) -> Iterator[str]:
    first, experiment = costs[0], runs[0].experiment
    threads = f"{experiment.threads} {'thread' if experiment.threads == 1 else 'threads'}"
    full = experiment.training.batch_size
    fewer = f", of {first.timed_batch} prompts instead of {full}," if first.timed_batch < full else ""
    updates = f"{first.timed_updates} timed {'update' if first.timed_updates == 1 else 'updates'}"
    place = first.device + (f" with {threads}" if first.device == "cpu" else "")
    yield f"operations: floating-point, of all passes in training; training: by {updates}{fewer} on {place}"
    yield "evaluation: the model's answers during training and at the end; without baselines, which all runs share"
    checkpoints = sorted({cost.checkpoints for cost in costs})
    range_shown = f"{checkpoints[0]:,}" if len(checkpoints) == 1 else f"{checkpoints[0]:,}–{checkpoints[-1]:,}"
    yield f"written: over the whole run, with {range_shown} checkpoints, of which the last stays"


def number_shown(number: float) -> str:
    """A number in three digits.

    >>> [number_shown(number) for number in (128, 6945, 9534977, 3.2e7)]
    ['128', '6.95k', '9.53M', '32.0M']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{_three_digits(number / size)}{unit}"
    return f"{number:.0f}"


def _bytes(number: float) -> str:
    """A number of bytes in three digits.

    >>> [_bytes(number) for number in (512, 38141460, 1.1e11)]
    ['512 B', '38.1 MB', '110 GB']
    """
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= size:
            return f"{_three_digits(number / size)} {unit}"
    return f"{number:.0f} B"


def time_shown(seconds: float) -> str:
    """A time in hours, or in minutes and seconds where it is less than one.

    >>> [time_shown(seconds) for seconds in (0.3, 75, 25_200, 3e6)]
    ['1s', '1m15s', '7.0 h', '833 h']
    """
    if seconds < 3600:
        return duration(max(1.0, seconds))
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"


def _three_digits(number: float) -> str:
    return f"{number:.{max(0, 2 - max(0, len(str(int(number))) - 1))}f}"


@contextlib.contextmanager
def telling() -> Iterator[Tell]:
    """Yield what is told how far the measuring is: a bar on a terminal, a line every few seconds elsewhere."""
    printed = time.monotonic()

    def print_line(share: float, detail: str = "") -> None:
        nonlocal printed
        if detail and time.monotonic() - printed >= LINE_EVERY:
            printed = time.monotonic()
            output.progress(f"  {detail}")

    with passing_bar("building the model") as bar:
        yield bar or print_line
