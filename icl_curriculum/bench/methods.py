"""Updates of every training method, on as many prompts, in turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from icl_curriculum.bench.tables import SIZE_COLUMNS, BenchTable, Column, Job, ModelSize, Row, Settings, measured_on
from icl_curriculum.bench.timing import interleaved, ratios
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import build
from icl_curriculum.core.machine import computing_threads, reproducible, waiting_for
from icl_curriculum.core.progress import Tell
from icl_curriculum.training import Trainer

COLUMNS = (
    *SIZE_COLUMNS,
    Column("method", "method"),
    Column("attention", "attention"),
    Column("rounds"),
    Column("seconds_per_update", "ms/update", ".1f", 1e3),
    Column("operations", "operations", ".2f"),
    Column("slowdown", "times plain", ".2f"),
    Column("slowdown_low", "from", ".2f"),
    Column("slowdown_high", "to", ".2f"),
)
SIZES = (
    ModelSize("narrow", width=32, layers=4, heads=2, points=21, dims=5, batch=64),
    ModelSize("laptop", width=64, layers=3, heads=2, points=21, dims=5, batch=64),
)
#: What is timed: the method with what its table says, and the attention of its model. Plain training with fused
#: attention has the hand-written step, which `maml` cannot use; with plain attention it goes by autograd, as `maml`.
METHODS: dict[str, tuple[dict[str, Any], str]] = {
    "in_context": ({"name": "in_context"}, "fused"),
    "in_context, plain attention": ({"name": "in_context"}, "plain"),
    "maml": ({"name": "maml"}, "plain"),
    "fomaml": ({"name": "fomaml"}, "fused"),
    "reptile": ({"name": "reptile"}, "fused"),
    "meta_icl": ({"name": "meta_icl"}, "fused"),
}
_REFERENCE = "in_context, plain attention"


def jobs(settings: Settings, sizes: Sequence[ModelSize] = SIZES) -> list[Job]:
    """One table for each number of threads and each size."""
    return [
        Job(size.name, 0.5 * settings.rounds * len(METHODS), partial(measure, size, threads, settings))
        for size in sizes
        for threads in settings.threads
    ]


def measure(size: ModelSize, threads: int, settings: Settings, tell: Tell) -> BenchTable:
    """Time an update of every method at one size, drawing included, in turns."""
    with computing_threads(threads), reproducible(settings.device):
        trainers = {name: Trainer(_run(size, *how), settings.device) for name, how in METHODS.items()}
        for trainer in trainers.values():
            trainer.model.prepare()

        def update(trainer: Trainer) -> None:
            trainer.update()
            # However many rounds there are, the run must not end.
            trainer.step %= 100

        turns = {name: partial(update, trainer) for name, trainer in trainers.items()}
        times = interleaved(turns, settings.rounds, wait=waiting_for(settings.device), tell=tell)
    rows = []
    for name, trainer in trainers.items():
        slowdown = ratios(times[name], times[_REFERENCE])
        spent = sum(trainer.flops.values()) / sum(trainer.prompts_seen.values())
        row: Row = {
            "size": size.name, "width": size.width, "layers": size.layers, "heads": size.heads, "points": size.points,
            "dims": size.dims, "batch": size.batch, "method": name.split(",")[0], "attention": METHODS[name][1],
            "rounds": settings.rounds, "seconds_per_update": statistics.median(times[name]),
            "operations": spent / (3 * trainer.forward_operations(size.points)),
            "slowdown": slowdown.median, "slowdown_low": slowdown.low, "slowdown_high": slowdown.high,
        }  # fmt: skip
        rows.append({**row, **measured_on(threads, settings.device)})
    plural = "thread" if threads == 1 else "threads"
    notes = [
        "times plain: of an update of in_context on the same model, with plain attention and as many prompts; median "
        "and quartiles of the rounds' ratios. operations: those of the matrix products, likewise"
    ]
    return BenchTable(f"{size}; {threads} {plural}, {settings.device}", rows, notes)


def _run(size: ModelSize, method: dict[str, Any], attention: str) -> Run:
    values = {
        "dims": size.dims, "points": size.points, "function_classes": ["linear", "quadratic"],
        "curriculum": {"function_classes": "random"},
        "model": {"width": size.width, "layers": size.layers, "heads": size.heads, "attention": attention},
        "training": {"method": method, "batch_size": size.batch, "steps": 1000, "schedule": {"name": "constant"}},
    }  # fmt: skip
    return Run(build(values, source="icl bench methods"), "bench", 0)
