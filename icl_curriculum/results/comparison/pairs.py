"""Which variants are compared with each other, and the rows of summary.csv that compare two of them.

Errors at equal steps and at equal exposure are those on the learning bank when both variants have made as many updates,
or have seen as many prompts of the cell, as the one that made or saw fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.results.columns import SummaryRow
from icl_curriculum.results.comparison.outcomes import Curve, Outcomes
from icl_curriculum.results.comparison.sources import CELL, Cell
from icl_curriculum.results.comparison.subjects import Subject
from icl_curriculum.results.device_kinds import of_one_kind
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.curves import value_at_exposure
from icl_curriculum.results.statistics.seeds import paired_difference, probability_of_improvement

#: Up to so many variants that were trained on a cell, each is compared with each of the others.
MOST_PAIRED = 12
#: The most variants trained on a cell alone to the end of a shorter schedule that are spoken of.
MOST_BRIEF = 6


def single_task(rows: pd.DataFrame) -> dict[Cell, str]:
    """For each cell the variant that was trained on it alone, for the most steps; cells without one are absent."""
    alone = rows[rows["single"]].sort_values("steps", ascending=False, kind="stable")
    chosen = alone.drop_duplicates(CELL)
    return {(str(c), str(i)): str(v) for c, i, v in chosen[[*CELL, "variant"]].itertuples(index=False)}


def brief_single_task(trained: pd.DataFrame) -> list[str]:
    """The variants that were trained on a cell alone, for fewer steps than others of it: the first `MOST_BRIEF`.

    ``trained``: the rows of the variants that were trained on the cell.
    """
    of_variant = trained.groupby("variant", sort=False, observed=True)
    steps, single = of_variant["steps"].first(), of_variant["single"].all()
    return [str(name) for name in steps.index[(steps < steps.max()) & single]][:MOST_BRIEF]


def reference_of(found: Outcomes, cell: Cell, against: str | None = None) -> str | None:
    """What a cell's variants are compared with: the one given, else the single-task one, else the first; or none."""
    variants = list(found.trained_variants(cell))
    if len(variants) < 2:
        return None
    chosen = against or single_task(found.rows).get(cell) or variants[0]
    return chosen if chosen in variants else None


def compared_with(
    found: Outcomes, cell: Cell, *, against: str | None = None, all_pairs: bool = False
) -> dict[str, list[str]]:
    """For each variant that was trained on a cell, in order, the others that it is compared with, in order.

    Up to `MOST_PAIRED` variants, and with ``all_pairs``, that is all others. Of more, so that summary.csv grows as the
    number of variants does: the cell's reference (`reference_of`), the single-task variants, and the variants of the
    same name in other experiments.
    """
    variants = list(found.trained_variants(cell))
    if all_pairs or len(variants) <= MOST_PAIRED:
        return {ours: [theirs for theirs in variants if theirs != ours] for ours in variants}
    references = {
        reference_of(found, cell, against),
        single_task(found.rows).get(cell),
        *brief_single_task(found.trained_on(cell)),
    }
    namesakes: dict[str, list[str]] = {}
    for variant in variants:
        namesakes.setdefault(found.own_names.get(variant, variant), []).append(variant)
    place = {variant: number for number, variant in enumerate(variants)}
    fixed = [name for name in references if name in place]
    chosen = {ours: {*fixed, *namesakes[found.own_names.get(ours, ours)]} - {ours} for ours in variants}
    return {ours: sorted(theirs, key=place.__getitem__) for ours, theirs in chosen.items()}


@dataclass(frozen=True)
class _Trained:
    """A variant's runs on a cell that it was trained on: its first row, its errors and its curves, by seed.

    ``devices``: the kinds of device of its runs, by seed, where those of the experiment differ.
    """

    first: pd.Series[Any]
    errors: pd.Series
    curves: dict[int, Curve]
    devices: dict[int, str]

    def paired_with(self, other: _Trained) -> pd.Index:
        """The seeds of runs that may be paired: those that both have, made on one kind of device."""
        common = self.errors.index.intersection(other.errors.index)
        if not self.devices and not other.devices:
            return common
        return common[[of_one_kind(self.devices.get(seed), other.devices.get(seed)) for seed in map(int, common)]]


def of_pairs(found: Outcomes, cell: Cell, pairs: dict[str, list[str]]) -> Iterator[SummaryRow]:
    """The rows that compare the variants of a cell. ``pairs``: of `compared_with`."""
    mixed = len({*found.devices.values()}) > 1
    by_variant = {
        variant: _Trained(
            rows.iloc[0],
            rows.set_index("seed")["error"],
            {int(seed): found.curves[variant, int(seed), *cell] for seed in rows["seed"]},
            {seed: kind for (name, seed), kind in found.devices.items() if name == variant} if mixed else {},
        )
        for variant, rows in found.trained_variants(cell).items()
    }
    for ours, others in pairs.items():
        for theirs in others:
            yield from _of_pair(by_variant[ours], by_variant[theirs], found.confidence)


def _of_pair(ours: _Trained, theirs: _Trained, confidence: float) -> Iterator[SummaryRow]:
    first, second = ours.first, theirs.first
    subject = Subject(
        experiment=first["experiment"], variant=first["variant"], versus=second["variant"],
        function_class=first["function_class"], input_distribution=first["input_distribution"],
        n_context=first["n_context"], metric=first["metric"],
    )  # fmt: skip
    seeds = ours.paired_with(theirs)
    yield from _compared(subject, "error", ours.errors, theirs.errors, confidence, seeds)
    if not len(seeds):
        return
    curves = [(ours.curves[int(seed)], theirs.curves[int(seed)]) for seed in seeds]
    if not all(curve.measured for pair in curves for curve in pair):
        return
    if first["steps"] != second["steps"]:
        measured = _at_equal(curves, lambda curve: curve.steps)
        yield from _compared(subject, "error_at_equal_steps", *_series(measured, seeds), confidence, seeds)
    if not np.isnan(curves[0][0].prompts).any():
        measured = _at_equal(curves, lambda curve: curve.prompts)
        yield from _compared(subject, "error_at_equal_exposure", *_series(measured, seeds), confidence, seeds)
        exposure = np.mean([min(one.prompts[-1], other.prompts[-1]) for one, other in curves])
        yield subject.number("equal_exposure", "mean", float(exposure), len(seeds))


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
    subject: Subject, quantity: str, ours: pd.Series, theirs: pd.Series, confidence: float, seeds: pd.Index
) -> Iterator[SummaryRow]:
    """Two variants by one quantity: their means, the paired difference, the seeds won, P(improvement).

    ``seeds``: those whose runs may be paired.
    """
    sign = shown_metric().sign
    yield subject.number(quantity, "mean", float(ours.mean()), len(ours))
    yield subject.number(quantity, "versus_mean", float(theirs.mean()), len(theirs))
    if len(seeds):
        one, other = ours[seeds].to_numpy(np.float64), theirs[seeds].to_numpy(np.float64)
        if np.isfinite(one).all() and np.isfinite(other).all():
            difference = paired_difference(one, other, confidence=confidence)
            yield subject.estimate(quantity, "paired_difference", difference)
        yield subject.number(quantity, "seeds_better", int((sign * one < sign * other).sum()), len(seeds))
    chance = probability_of_improvement(sign * ours, sign * theirs, confidence=confidence)
    yield subject.estimate(quantity, "probability_of_improvement", chance)
