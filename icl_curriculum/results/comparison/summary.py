"""Statistics over seeds of every variant in every cell, and of every pair of them: summary.csv.

One row, a `SummaryRow`, is one number: its ``quantity`` says of what, its ``statistic`` which. Errors at equal steps
and at equal exposure are those on the learning bank when both variants have made as many updates, or have seen as many
prompts of the cell, as the one that made or saw fewer; ``seed_sd`` and ``prompt_sd`` are `statistics.seeds.spreads`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import TABLES, SummaryRow, csv_text
from icl_curriculum.results.comparison.outcomes import Curve, Key, Outcomes
from icl_curriculum.results.comparison.sources import CELL, Cell, cells_of, in_cell
from icl_curriculum.results.statistics.curves import value_at_exposure
from icl_curriculum.results.statistics.seeds import (
    STATISTICS,
    Estimate,
    estimate,
    paired_difference,
    probability_of_improvement,
    share_below,
    spreads,
)

#: In the place of a class and of inputs: all cells together.
ALL = "all"
#: In the place of a variant: for each cell the variant that was trained on it alone.
SINGLE_TASK = "(single-task)"

#: Quantities that are errors or differences of them, and those that may be infinite where something never happened.
_ERRORS = ("error", "forgotten", "worst_error")
_EVENTS = ("plateau_end", "steps_to_error", "prompts_to_error")
_SPENT = ("steps", "prompts", "flops")


class _Subject(NamedTuple):
    """What a number is of: the first columns of its row."""

    experiment: str
    variant: str
    versus: str | None
    function_class: str
    input_distribution: str
    n_context: int
    metric: str

    def number(
        self, quantity: str, statistic: str, value: float, n_seeds: int, *, seed: int | None = None
    ) -> SummaryRow:
        """A number without an interval; ``seed``: of which it is, if it is one seed's."""
        return SummaryRow(
            *self, quantity=quantity, statistic=statistic, seed=seed, value=value, ci_low=None, ci_high=None,
            n_seeds=n_seeds,
        )  # fmt: skip

    def estimate(self, quantity: str, statistic: str, made: Estimate, n_seeds: int | None = None) -> SummaryRow:
        """A number with its interval; ``n_seeds``: how many seeds it rests on, if not as many as values."""
        return SummaryRow(
            *self, quantity=quantity, statistic=statistic, seed=None, value=made.value, ci_low=made.low,
            ci_high=made.high, n_seeds=made.n if n_seeds is None else n_seeds,
        )  # fmt: skip


def summary(found: Outcomes) -> pd.DataFrame:
    """The rows of summary.csv."""
    rows: list[SummaryRow] = []
    table = found.rows
    for variant, name, inputs in table[["variant", *CELL]].drop_duplicates().itertuples(index=False):
        rows += _of_variant(_where(table, variant, (name, inputs)), found)
    for cell in found.cells:
        rows += _of_pairs(found.trained_on(cell), found)
    rows += _over_cells(table, found.confidence)
    return pd.DataFrame(rows, columns=TABLES["summary"].header)


def write_summary(path: Path, table: pd.DataFrame) -> None:
    """Write atomically, in the form of all tables: missing values are empty, infinite ones ``inf``."""
    plain = table.astype(object).where(table.notna(), None)
    write_atomically(path, csv_text([TABLES["summary"].header, *plain.itertuples(index=False)]))


def _where(table: pd.DataFrame, variant: str, cell: Cell) -> pd.DataFrame:
    return in_cell(table[table["variant"] == variant], cell)


def _of_variant(rows: pd.DataFrame, found: Outcomes) -> Iterator[SummaryRow]:
    """What one variant did in one cell."""
    first = rows.iloc[0]
    subject = _Subject(
        experiment=first["experiment"], variant=first["variant"], versus=None, function_class=first["function_class"],
        input_distribution=first["input_distribution"], n_context=first["n_context"], metric=first["metric"],
    )  # fmt: skip
    n = len(rows)
    for quantity in (*_ERRORS, *_EVENTS, *_SPENT):
        values = rows[quantity].to_numpy(np.float64)
        if np.isnan(values).all():
            continue
        for seed, value in zip(rows["seed"], values, strict=True):
            yield subject.number(quantity, "seed", value, 1, seed=seed)
        kept = values[~np.isnan(values)]
        if quantity in _ERRORS:
            for statistic in STATISTICS:
                made = estimate([kept], statistic, confidence=found.confidence)
                yield subject.estimate(quantity, statistic, made)
        else:
            # Of events, some of which may never have happened, only the median is a number.
            statistic = "median" if quantity in _EVENTS else "mean"
            middle = float(np.median(kept)) if statistic == "median" else float(kept.mean())
            yield subject.number(quantity, statistic, middle, len(kept))
    apart = spreads(rows["error"], rows["error_low"], rows["error_high"], confidence=found.prompt_confidence)
    yield subject.number("error", "seed_sd", apart.seeds, n)
    yield subject.number("error", "prompt_sd", apart.prompts, n)
    below = share_below(rows["error"], found.threshold, confidence=found.confidence)
    yield subject.estimate("converged", "share", below)


def _of_pairs(trained: pd.DataFrame, found: Outcomes) -> Iterator[SummaryRow]:
    """Every two variants that were trained on a cell."""
    variants = list(dict.fromkeys(trained["variant"]))
    by_variant = {variant: trained[trained["variant"] == variant].set_index("seed") for variant in variants}
    for i, ours in enumerate(variants):
        for theirs in [*variants[:i], *variants[i + 1 :]]:
            yield from _of_pair(by_variant[ours], by_variant[theirs], found)


def _of_pair(ours: pd.DataFrame, theirs: pd.DataFrame, found: Outcomes) -> Iterator[SummaryRow]:
    first, second = ours.iloc[0], theirs.iloc[0]
    subject = _Subject(
        experiment=first["experiment"], variant=first["variant"], versus=second["variant"],
        function_class=first["function_class"], input_distribution=first["input_distribution"],
        n_context=first["n_context"], metric=first["metric"],
    )  # fmt: skip
    yield from _compared(subject, "error", ours["error"], theirs["error"], found.confidence)
    seeds = ours.index.intersection(theirs.index)
    if not len(seeds):
        return
    cell = (str(first["function_class"]), str(first["input_distribution"]))
    curves = [
        tuple(found.curves[_key(str(each["variant"]), int(seed), cell)] for each in (first, second)) for seed in seeds
    ]
    if not all(curve.measured for pair in curves for curve in pair):
        return
    if first["steps"] != second["steps"]:
        measured = _at_equal(curves, lambda curve: curve.steps)
        yield from _compared(subject, "error_at_equal_steps", *_series(measured, seeds), found.confidence)
    if not np.isnan(curves[0][0].prompts).any():
        measured = _at_equal(curves, lambda curve: curve.prompts)
        yield from _compared(subject, "error_at_equal_exposure", *_series(measured, seeds), found.confidence)
        exposure = np.mean([min(one.prompts[-1], other.prompts[-1]) for one, other in curves])
        yield subject.number("equal_exposure", "mean", float(exposure), len(seeds))


def _key(variant: str, seed: int, cell: Cell) -> Key:
    return (variant, seed, *cell)


def _at_equal(curves: Sequence[tuple[Curve, ...]], spent: Callable[[Curve], np.ndarray]) -> list[tuple[float, float]]:
    """The errors of both, seed by seed, when each has spent what the one that spent less has in the end."""
    found = []
    for one, other in curves:
        equal = float(min(spent(one)[-1], spent(other)[-1]))
        found.append((_error_at(one, spent(one), equal), _error_at(other, spent(other), equal)))
    return found


def _error_at(curve: Curve, spent: np.ndarray, equal: float) -> float:
    """At the end for the one that spent no more, so that what it forgot afterwards counts."""
    return float(curve.errors[-1]) if spent[-1] <= equal else value_at_exposure(spent, curve.errors, equal)


def _series(pairs: Sequence[tuple[float, float]], seeds: pd.Index) -> tuple[pd.Series, pd.Series]:
    ours, theirs = zip(*pairs, strict=True)
    return pd.Series(ours, index=seeds), pd.Series(theirs, index=seeds)


def _compared(
    subject: _Subject, quantity: str, ours: pd.Series, theirs: pd.Series, confidence: float
) -> Iterator[SummaryRow]:
    """Two variants by one quantity: their means, the paired difference, the seeds won, P(improvement)."""
    seeds = ours.index.intersection(theirs.index)
    yield subject.number(quantity, "mean", float(ours.mean()), len(ours))
    yield subject.number(quantity, "versus_mean", float(theirs.mean()), len(theirs))
    if len(seeds):
        one, other = ours[seeds].to_numpy(np.float64), theirs[seeds].to_numpy(np.float64)
        if np.isfinite(one).all() and np.isfinite(other).all():
            difference = paired_difference(one, other, confidence=confidence)
            yield subject.estimate(quantity, "paired_difference", difference)
        yield subject.number(quantity, "seeds_better", int((one < other).sum()), len(seeds))
    chance = probability_of_improvement(ours, theirs, confidence=confidence)
    yield subject.estimate(quantity, "probability_of_improvement", chance)


def single_task(rows: pd.DataFrame) -> dict[Cell, str]:
    """For each cell the variant that was trained on it alone, for the most steps; cells without one are absent."""
    alone = rows[rows["single"]].sort_values("steps", ascending=False, kind="stable")
    chosen = alone.drop_duplicates(CELL)
    return {(str(c), str(i)): str(v) for c, i, v in chosen[[*CELL, "variant"]].itertuples(index=False)}


def _over_cells(rows: pd.DataFrame, confidence: float) -> Iterator[SummaryRow]:
    """The interquartile mean over seeds and cells: of variants trained on all of them, and of the single-task ones."""
    cells = cells_of(rows)
    if len(cells) < 2 or rows["metric"].nunique() > 1:
        return
    metric, longest = rows["metric"].iloc[0], rows["n_context"].max()

    def subject(experiment: str, variant: str) -> _Subject:
        return _Subject(experiment, variant, None, ALL, ALL, n_context=longest, metric=metric)

    for variant in dict.fromkeys(rows["variant"]):
        own = rows[rows["variant"] == variant]
        errors = own[own["trained"]].pivot(index="seed", columns=CELL, values="error")
        if errors.shape[1] == len(cells) and len(whole := errors.dropna()):
            made = estimate([whole.to_numpy()], confidence=confidence)
            yield subject(own["experiment"].iloc[0], variant).estimate("error", "iqm", made, len(whole))
    alone = single_task(rows)
    if len(alone) == len(cells):
        strata = [_where(rows, alone[cell], cell)["error"].to_numpy(np.float64) for cell in cells]
        made = estimate(strata, confidence=confidence)
        yield subject(rows["experiment"].iloc[0], SINGLE_TASK).estimate("error", "iqm", made, min(map(len, strata)))


class Numbers:
    """A summary, to be asked for single numbers."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        keys = ["quantity", "statistic", "variant", "versus", *CELL]
        over_seeds = table[table["statistic"] != "seed"]
        self._found: dict[tuple[str | None, ...], Estimate] = {}
        for *key, value, low, high, n in over_seeds[[*keys, "value", "ci_low", "ci_high", "n_seeds"]].itertuples(
            index=False
        ):
            plain = tuple(None if pd.isna(part) else str(part) for part in key)
            self._found[plain] = Estimate(_plain(value), _plain(low), _plain(high), int(n))

    def __call__(self, quantity: str, statistic: str, variant: str, cell: Cell, versus: str | None = None) -> Estimate:
        """A number of a variant in a cell, or against another variant; NaN where there is none."""
        return self._found.get((quantity, statistic, variant, versus, *cell), Estimate(math.nan, math.nan, math.nan, 0))


def _plain(value: Any) -> float:
    return math.nan if value is None else float(value)


def reference_of(found: Outcomes, cell: tuple[str, str], against: str | None = None) -> str | None:
    """What a cell's variants are compared with: the one given, else the single-task one, else the first; or none."""
    variants = list(dict.fromkeys(found.trained_on(cell)["variant"]))
    if len(variants) < 2:
        return None
    chosen = against or single_task(found.rows).get(cell) or variants[0]
    return chosen if chosen in variants else None
