"""The answer in sentences, every number of which stands in the summary. Names of variants are in backticks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.pairs import brief_single_task, single_task
from icl_curriculum.results.comparison.shown import abridged
from icl_curriculum.results.comparison.sources import CELL, Cell
from icl_curriculum.results.comparison.summary import ALL, SINGLE_TASK, Numbers
from icl_curriculum.results.comparison.wording import between, count, error, listed
from icl_curriculum.results.labels import inputs_label, pretty, shift_label
from icl_curriculum.results.shown_metric import shown_metric


@dataclass(frozen=True)
class Answer:
    """Sentences under a heading."""

    heading: str
    sentences: list[str]


def answers(found: Outcomes, numbers: Numbers) -> list[Answer]:
    """What the experiment says: over all cells, then of each. ``numbers``: of its `summary`."""
    cells = found.cells
    given = [Answer("All together", _overall(found, numbers, cells))]
    given += [Answer(cell_name(cell, cells), _of_cell(found, numbers, cell)) for cell in cells]
    return [answer for answer in given if answer.sentences]


def cell_name(cell: Cell, cells: list[Cell]) -> str:
    """A cell in words: the class, the inputs, or both, whichever tells it from the others."""
    name, inputs = pretty(cell[0]), inputs_label(cell[1])
    if len({i for _, i in cells}) == 1:
        return name
    return inputs if len({c for c, _ in cells}) == 1 else f"{name}, {inputs}"


def _ticked(names: list[str]) -> str:
    return listed([f"`{name}`" for name in names])


def _overall(found: Outcomes, numbers: Numbers, cells: list[Cell]) -> list[str]:
    rows, shown = found.rows, shown_metric()
    level = f"{found.confidence:.0%}"
    table = numbers.table
    over = table[(table["function_class"] == ALL) & (table["statistic"] == "iqm")].sort_values(
        "value", ascending=shown.improves == "down", kind="stable"
    )
    sentences = []
    one_class, one_input = (len({cell[i] for cell in cells}) == 1 for i in (0, 1))
    kind = "classes" if one_input else "input distributions" if one_class else "classes with inputs"
    if len(over):
        parts = []
        for variant, value, low, high in over[["variant", "value", "ci_low", "ci_high"]].itertuples(index=False):
            name = "single-task training, a model for each" if variant == SINGLE_TASK else f"`{variant}`"
            interval = "" if pd.isna(low) else f" ({error(max(shown.least, low))}–{error(high)})"
            parts.append(f"{name} {error(value)}{interval}")
        sentences.append(
            f"Interquartile mean of the final {shown.noun} over all {len(cells)} {kind} and all seeds, with {level} "
            f"intervals, the {shown.best} first: {'; '.join(abridged(parts))}."
        )
    trained = rows[rows["trained"]]
    failed = trained[shown.sign * trained["error"] > shown.sign * found.threshold]
    limit, way = found.limit, "down" if shown.improves == "down" else "up"
    if not limit:
        return sentences + forgotten_in_words(numbers, cells)
    if len(failed):
        parts = []
        for variant, name, inputs in failed[["variant", *CELL]].drop_duplicates().itertuples(index=False):
            share = numbers("converged", "share", variant, (name, inputs))
            parts.append(
                f"`{variant}` on {cell_name((name, inputs), cells)} ({round((1 - share.value) * share.n)} of {share.n})"
            )
        sentences.append(f"Seeds that did not come {way} to {_a_number()} of {limit} on what they were trained on: "
                         f"{listed(abridged(parts))}.")  # fmt: skip
    elif len(trained):
        sentences.append(f"Every run came {way} to {_a_number()} of {limit} on everything that it was trained on.")
    return sentences + forgotten_in_words(numbers, cells)


def _a_number() -> str:
    """What errors are called: another metric by its name."""
    shown = shown_metric()
    return "an error" if shown.chosen is None else f"the {shown.noun}"


def forgotten_in_words(numbers: Numbers, cells: list[Cell]) -> list[str]:
    """Which variants lost what they had learned, the mean over seeds beyond its interval."""
    table = numbers.table
    rows = table[(table["quantity"] == "forgotten") & (table["statistic"] == "mean")]
    if rows.empty:
        return []
    parts = []
    for variant, own in by_variant(rows[rows["ci_low"].astype(float) > 0]).items():
        lost = [
            f"{cell_name((name, inputs), cells)} by {error(value)} ({error(low)}–{error(high)})"
            for name, inputs, value, low, high in own[[*CELL, "value", "ci_low", "ci_high"]].itertuples(index=False)
        ]
        if lost:
            parts.append(f"`{variant}` on {listed(lost)}")
    if not parts:
        return ["Nothing is forgotten, beyond what seeds differ by, after its block has ended."]
    shown = shown_metric()
    return [
        f"From the end of its block to the end of training, the {shown.noun} {shown.grows_worse} with "
        f"{'; '.join(abridged(parts))}."
    ]


def _of_cell(found: Outcomes, numbers: Numbers, cell: Cell) -> list[str]:
    rows = found.trained_on(cell)
    if rows.empty:
        return ["No variant was trained on it."]
    variants = list(dict.fromkeys(rows["variant"]))
    steps = rows.groupby("variant", sort=False, observed=True)["steps"].first()
    full = [variant for variant in variants if steps[variant] == steps.max()]
    made = {name: numbers("error", "iqm", name, cell) for name in variants}
    ranked = sorted(full, key=lambda variant: shown_metric().sign * made[variant].value)
    k, best = int(rows["n_context"].iloc[0]), ranked[0]
    at_end = [f"`{name}` {error(made[name].value)}" for name in ranked[1:]]
    ends = f"{error(made[best].value)}{_in_brackets(between(made[best], least=shown_metric().least))}"
    sentences = [f"At {k} examples, after {count(steps.max())} steps, `{best}` ends at {ends}."]
    if at_end:
        sentences = [
            f"At {k} examples, after {count(steps.max())} steps, `{best}` ends {shown_metric().best}, at {ends}; then "
            f"{', '.join(abridged(at_end))}."
        ]
    alone = single_task(found.rows).get(cell)
    if alone is not None and alone in full:
        mixed = len({*found.devices.values()}) > 1
        sentences += _against(numbers, cell, alone, [name for name in ranked if name != alone], mixed=mixed)
        for name in brief_single_task(rows):
            prompts = numbers("prompts", "mean", name, cell).value
            sentences.append(
                f"Trained on it alone to the end of a schedule of {count(steps[name])} steps (`{name}`, "
                f"{count(prompts)} prompts), the {shown_metric().noun} is {error(made[name].value)}"
                f"{_in_brackets(between(made[name], least=shown_metric().least))}"
                f"{_with_as_many(numbers, cell, name, prompts, ranked)}."
            )
    return sentences + _worst(rows)


#: Exposures that differ by less than this share count as equal.
_AS_MANY = 0.15


def _with_as_many(numbers: Numbers, cell: Cell, brief: str, prompts: float, others: list[str]) -> str:
    """How variants that have seen about as many prompts of a cell end, compared with one trained on it alone."""
    parts = []
    for name in others:
        if abs(numbers("prompts", "mean", name, cell).value / prompts - 1) < _AS_MANY:
            difference = numbers("error", "paired_difference", name, cell, brief)
            won = numbers("error", "seeds_better", name, cell, brief)
            by = f" by {error(abs(difference.value))}"
            lower, higher = difference.high < 0, difference.low > 0
            verdict = f"lower{by}" if lower else f"higher{by}" if higher else "not told apart from it"
            seeds = f" ({int(won.value)} of {won.n} seeds {shown_metric().better})" if won.n else ""
            parts.append(f"`{name}` is {verdict}{seeds}")
    return f"; with about as many prompts of it, {listed(abridged(parts))}" if parts else ""


def _in_brackets(interval: str) -> str:
    return "" if interval == "–" else f" ({interval})"


def _against(numbers: Numbers, cell: Cell, alone: str, others: list[str], *, mixed: bool) -> list[str]:
    """Every other variant against the one that was trained on the cell alone: by steps, then by exposure.

    ``mixed``: whether the runs were made on different kinds of device, of which only equal ones are paired.
    """
    on_one_kind = " on one kind of device" if mixed else ""
    better, worse, open_, unpaired = [], [], [], []
    for name in others:
        difference = numbers("error", "paired_difference", name, cell, alone)
        won = numbers("error", "seeds_better", name, cell, alone)
        if math.isnan(difference.low):
            unpaired.append(f"`{name}`")
            continue
        text = f"`{name}` by {error(abs(difference.value))} ({int(won.value)} of {won.n} seeds {shown_metric().better})"
        if difference.high < 0:
            better.append(text)
        elif difference.low > 0:
            worse.append(text)
        else:
            open_.append(f"`{name}`")
    said = [f"lower with {listed(abridged(better))}"] * bool(better)
    said += [f"higher with {listed(abridged(worse))}"] * bool(worse)
    said += [f"not told apart with {listed(abridged(open_))}"] * bool(open_)
    few = f"of fewer than two seeds in common{on_one_kind}"
    said += [f"not judged with {listed(abridged(unpaired))}, {few}"] * bool(unpaired)
    sentences = (
        [f"Against `{alone}` after as many steps, the {shown_metric().noun} is {'; '.join(said)}."] if said else []
    )
    parts = []
    for name in others:
        ours = numbers("error_at_equal_exposure", "mean", name, cell, alone)
        theirs = numbers("error_at_equal_exposure", "versus_mean", name, cell, alone)
        difference = numbers("error_at_equal_exposure", "paired_difference", name, cell, alone)
        if math.isnan(ours.value):
            continue
        prompts = numbers("equal_exposure", "mean", name, cell, alone)
        verdict = "lower" if difference.high < 0 else "higher" if difference.low > 0 else "not told apart"
        if math.isnan(difference.low):
            verdict = "too few seeds"
        parts.append(
            f"`{name}` {error(ours.value)} against {error(theirs.value)} at {count(prompts.value)} prompts ({verdict})"
        )
    if parts:
        sentences.append(
            f"After as many prompts of it, against `{alone}` at that point of its own schedule: "
            f"{'; '.join(abridged(parts))}."
        )
    return sentences


def _worst(rows: pd.DataFrame) -> list[str]:
    """The variant that holds up best under the shift that is worst for it, and under which."""
    shifted = rows[rows["worst_error"].notna()]
    if shifted.empty:
        return []
    means = shifted.groupby("variant", sort=False, observed=True)["worst_error"].mean()
    shown = shown_metric()
    order = means.sort_values(ascending=shown.improves == "down", kind="stable")
    shifts = shifted.groupby("variant", sort=False, observed=True)["worst_shift"].agg(
        lambda names: names.mode().iloc[0]
    )
    first, last = str(order.index[0]), str(order.index[-1])
    lowest = f"{error(float(order.iloc[0]))} ({shift_label(str(shifts[first]))})"
    if len(order) == 1:
        return [f"Under the shift that is worst for it, the {shown.noun} is {lowest}."]
    highest = f"{error(float(order.iloc[-1]))} ({shift_label(str(shifts[last]))})"
    return [
        f"Under the shift that is worst for each, `{first}` keeps the {shown.best} {shown.noun}, {lowest}, `{last}` "
        f"has the {shown.worst}, {highest}."
    ]
