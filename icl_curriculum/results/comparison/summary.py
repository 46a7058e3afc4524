"""Statistics over seeds of every variant in every cell, and of every pair of them: summary.csv.

One row is one number. ``quantity`` says of what, ``statistic`` which:

- ``seed``: the value of one training seed, whose number stands in ``seed``;
- ``mean``, ``median``, ``iqm``: over seeds, with intervals where the quantity is an error;
- ``seed_sd``, ``prompt_sd``: spread over training seeds, and over banks of prompts (`statistics.seeds.spreads`);
- ``share``: of the seeds whose error is at most the threshold, with its binomial interval;
- ``paired_difference``: ``variant`` less ``versus``, seed by seed; below 0 ``variant`` has the lower error;
- ``seeds_better``: how many of the seeds that both have ended lower with ``variant``;
- ``probability_of_improvement``: that a run of ``variant`` ends lower than one of ``versus``.

``quantity`` is one of `outcomes.QUANTITIES`, ``converged``, or of two variants: ``error``, at the end of each one's
training; ``error_at_equal_steps`` and ``error_at_equal_exposure``, on the learning bank, when both have made as many
updates, or have seen as many prompts of the cell, as the one that made or saw fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.core.files import write_atomically
from icl_curriculum.results.columns import csv_text
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

COLUMNS = [
    "experiment", "variant", "versus", *CELL, "n_context", "metric", "quantity", "statistic", "seed", "value",
    "ci_low", "ci_high", "n_seeds",
]  # fmt: skip

#: In the place of a class and of inputs: all cells together.
ALL = "all"
#: In the place of a variant: for each cell the variant that was trained on it alone.
SINGLE_TASK = "(single-task)"

#: Quantities that are errors or differences of them, and those that may be infinite where something never happened.
_ERRORS = ("error", "forgotten", "worst_error")
_EVENTS = ("plateau_end", "steps_to_error", "prompts_to_error")
_SPENT = ("steps", "prompts", "flops")

Row = list[Any]


def summary(found: Outcomes) -> pd.DataFrame:
    """The rows of summary.csv, with the columns `COLUMNS`."""
    rows: list[Row] = []
    table = found.rows
    for variant, name, inputs in table[["variant", *CELL]].drop_duplicates().itertuples(index=False):
        rows += _of_variant(_where(table, variant, (name, inputs)), found)
    for cell in found.cells:
        rows += _of_pairs(found.trained_on(cell), found)
    rows += _over_cells(table, found.confidence)
    return pd.DataFrame(rows, columns=COLUMNS)


def write_summary(path: Path, table: pd.DataFrame) -> None:
    """Write atomically, in the form of all tables: missing values are empty, infinite ones ``inf``."""
    plain = table.astype(object).where(table.notna(), None)
    write_atomically(path, csv_text([COLUMNS, *plain.itertuples(index=False)]))


def _where(table: pd.DataFrame, variant: str, cell: Cell) -> pd.DataFrame:
    return in_cell(table[table["variant"] == variant], cell)


def _of_variant(rows: pd.DataFrame, found: Outcomes) -> Iterator[Row]:
    """What one variant did in one cell."""
    first = rows.iloc[0]
    head = [first["experiment"], first["variant"], None, *first[CELL], first["n_context"], first["metric"]]
    n = len(rows)
    for quantity in (*_ERRORS, *_EVENTS, *_SPENT):
        values = rows[quantity].to_numpy(np.float64)
        if np.isnan(values).all():
            continue
        for seed, value in zip(rows["seed"], values, strict=True):
            yield [*head, quantity, "seed", seed, value, None, None, 1]
        kept = values[~np.isnan(values)]
        if quantity in _ERRORS:
            for statistic in STATISTICS:
                made = estimate([kept], statistic, confidence=found.confidence)
                yield [*head, quantity, statistic, None, *_numbers(made)]
        else:
            # Of events, some of which may never have happened, only the median is a number.
            median = float(np.median(kept)) if quantity in _EVENTS else float(kept.mean())
            yield [*head, quantity, "median" if quantity in _EVENTS else "mean", None, median, None, None, len(kept)]
    apart = spreads(rows["error"], rows["error_low"], rows["error_high"], confidence=found.prompt_confidence)
    yield [*head, "error", "seed_sd", None, apart.seeds, None, None, n]
    yield [*head, "error", "prompt_sd", None, apart.prompts, None, None, n]
    below = share_below(rows["error"], found.threshold, confidence=found.confidence)
    yield [*head, "converged", "share", None, *_numbers(below)]


def _numbers(made: Estimate) -> Row:
    return [made.value, made.low, made.high, made.n]


def _of_pairs(trained: pd.DataFrame, found: Outcomes) -> Iterator[Row]:
    """Every two variants that were trained on a cell."""
    variants = list(dict.fromkeys(trained["variant"]))
    by_variant = {variant: trained[trained["variant"] == variant].set_index("seed") for variant in variants}
    for i, ours in enumerate(variants):
        for theirs in [*variants[:i], *variants[i + 1 :]]:
            yield from _of_pair(by_variant[ours], by_variant[theirs], found)


def _of_pair(ours: pd.DataFrame, theirs: pd.DataFrame, found: Outcomes) -> Iterator[Row]:
    first, second = ours.iloc[0], theirs.iloc[0]
    head = [first["experiment"], first["variant"], second["variant"], *first[CELL], first["n_context"], first["metric"]]
    yield from _compared(head, "error", ours["error"], theirs["error"], found.confidence)
    seeds = ours.index.intersection(theirs.index)
    if not len(seeds):
        return
    cell = (str(first["function_class"]), str(first["input_distribution"]))
    curves = [
        tuple(found.curves[_key(str(each["variant"]), int(seed), cell)] for each in (first, second)) for seed in seeds
    ]
    if first["steps"] != second["steps"]:
        measured = _at_equal(curves, lambda curve: curve.steps)
        yield from _compared(head, "error_at_equal_steps", *_series(measured, seeds), found.confidence)
    if not np.isnan(curves[0][0].prompts).any():
        measured = _at_equal(curves, lambda curve: curve.prompts)
        yield from _compared(head, "error_at_equal_exposure", *_series(measured, seeds), found.confidence)
        exposure = np.mean([min(one.prompts[-1], other.prompts[-1]) for one, other in curves])
        yield [*head, "equal_exposure", "mean", None, float(exposure), None, None, len(seeds)]


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


def _compared(head: Row, quantity: str, ours: pd.Series, theirs: pd.Series, confidence: float) -> Iterator[Row]:
    """Two variants by one quantity: their means, the paired difference, the seeds won, P(improvement)."""
    seeds = ours.index.intersection(theirs.index)
    yield [*head, quantity, "mean", None, float(ours.mean()), None, None, len(ours)]
    yield [*head, quantity, "versus_mean", None, float(theirs.mean()), None, None, len(theirs)]
    if len(seeds):
        one, other = ours[seeds].to_numpy(np.float64), theirs[seeds].to_numpy(np.float64)
        if np.isfinite(one).all() and np.isfinite(other).all():
            difference = paired_difference(one, other, confidence=confidence)
            yield [*head, quantity, "paired_difference", None, *_numbers(difference)]
        yield [*head, quantity, "seeds_better", None, int((one < other).sum()), None, None, len(seeds)]
    chance = probability_of_improvement(ours, theirs, confidence=confidence)
    yield [*head, quantity, "probability_of_improvement", None, *_numbers(chance)]


def single_task(rows: pd.DataFrame) -> dict[Cell, str]:
    """For each cell the variant that was trained on it alone, for the most steps; cells without one are absent."""
    alone = rows[rows["single"]].sort_values("steps", ascending=False, kind="stable")
    chosen = alone.drop_duplicates(CELL)
    return {(str(c), str(i)): str(v) for c, i, v in chosen[[*CELL, "variant"]].itertuples(index=False)}


def _over_cells(rows: pd.DataFrame, confidence: float) -> Iterator[Row]:
    """The interquartile mean over seeds and cells: of variants trained on all of them, and of the single-task ones."""
    cells = cells_of(rows)
    if len(cells) < 2 or rows["metric"].nunique() > 1:
        return
    metric, longest = rows["metric"].iloc[0], rows["n_context"].max()
    head = [ALL, ALL, longest, metric, "error", "iqm", None]
    for variant in dict.fromkeys(rows["variant"]):
        own = rows[rows["variant"] == variant]
        errors = own[own["trained"]].pivot(index="seed", columns=CELL, values="error")
        if errors.shape[1] == len(cells) and len(whole := errors.dropna()):
            made = estimate([whole.to_numpy()], confidence=confidence)
            yield [own["experiment"].iloc[0], variant, None, *head, *_numbers(made)[:3], len(whole)]
    alone = single_task(rows)
    if len(alone) == len(cells):
        strata = [_where(rows, alone[cell], cell)["error"].to_numpy(np.float64) for cell in cells]
        made = estimate(strata, confidence=confidence)
        yield [rows["experiment"].iloc[0], SINGLE_TASK, None, *head, *_numbers(made)[:3], min(map(len, strata))]


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
