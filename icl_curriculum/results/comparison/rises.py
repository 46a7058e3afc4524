"""Which classes grew worse when the next one joined them in training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.outcomes import Curve, Outcomes
from icl_curriculum.results.comparison.shown import abridged
from icl_curriculum.results.comparison.sources import Cell, Source
from icl_curriculum.results.comparison.wording import between, count, error, listed
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import Estimate, paired_difference
from icl_curriculum.results.tables import CurriculumBlock, blocks

#: A rise of one seed, or of several without an interval, is named from this share on.
_LEAST = 0.2


@dataclass(frozen=True)
class Rise:
    """How a variant's error in a cell changed when others joined it: means over seeds of the learning curves.

    ``before``: at the last measurement before; ``after``: over the block that then began; ``end``: at the end of
    training; ``by``: the paired difference over seeds; ``step``: when, the median of the seeds.
    """

    variant: str
    cell: Cell
    joined: tuple[Cell, ...]
    step: float
    before: float
    after: float
    end: float
    by: Estimate


def rises(source: Source, found: Outcomes) -> tuple[list[Rise], bool]:
    """The rises that seeds agree on, the greatest first; and whether anything ever joined what was in training."""
    measured: dict[tuple[str, Cell, tuple[Cell, ...]], list[tuple[float, float, float, float]]] = {}
    for variant, own in source.curriculum.groupby("variant", sort=False, observed=True):
        for seed, rows in own.groupby("seed", sort=False):
            planned = blocks(rows)
            for cell, joined, numbers in _changes(planned, found, str(variant), int(str(seed))):
                measured.setdefault((str(variant), cell, joined), []).append(numbers)
    named = []
    for (variant, cell, joined), values in measured.items():
        step, before, after, end = np.array(values).T
        by = paired_difference(after, before, confidence=found.confidence)
        rise = Rise(
            variant, cell, joined, float(np.median(step)), float(before.mean()), float(after.mean()),
            float(end.mean()), by,
        )  # fmt: skip
        if _is_rise(rise):
            named.append(rise)
    sign = shown_metric().sign
    return sorted(named, key=lambda rise: -sign * rise.by.value), bool(measured)


def _changes(
    planned: list[CurriculumBlock], found: Outcomes, variant: str, seed: int
) -> Iterator[tuple[Cell, tuple[Cell, ...], tuple[float, float, float, float]]]:
    """For each cell that stayed in training as others joined: the step, and the error before, after, and at the end."""
    for last, block in itertools.pairwise(planned):
        joined = tuple(cell for cell in found.cells if cell in block.cells - last.cells)
        for cell in found.cells:
            curve = found.curves.get((variant, seed, *cell))
            if not joined or cell not in last.cells & block.cells or curve is None:
                continue
            before, after = _before(curve, block.start), _within(curve, block)
            if np.isfinite([before, after, curve.errors[-1]]).all():
                yield cell, joined, (block.start, before, after, float(curve.errors[-1]))


def _before(curve: Curve, step: float) -> float:
    known = curve.errors[(curve.steps <= step) & (curve.steps > 0)]
    return float(known[-1]) if len(known) else math.nan


def _within(curve: Curve, block: CurriculumBlock) -> float:
    known = curve.errors[(curve.steps > block.start) & (curve.steps <= block.end)]
    return float(known.mean()) if len(known) else math.nan


def _is_rise(rise: Rise) -> bool:
    sign = shown_metric().sign
    if not math.isnan(rise.by.low):
        return min(sign * rise.by.low, sign * rise.by.high) > 0
    return sign * (rise.after - rise.before) > _LEAST * abs(rise.before)


def rises_in_words(source: Source, found: Outcomes) -> list[str]:
    """What happened to classes when others joined, a sentence for each variant with a rise."""
    named, ever = rises(source, found)
    if not ever:
        return []
    if not named:
        beyond = "beyond what seeds differ by" if found.rows["seed"].nunique() > 1 else f"by {_LEAST:.0%} or more"
        return [f"No class grew worse, {beyond}, when another joined it in training."]
    said: dict[str, list[str]] = {}
    several = found.rows["variant"].nunique() > 1
    for rise in named:
        joined = listed([cell_name(cell, found.cells) for cell in rise.joined])
        interval = "" if math.isnan(rise.by.low) else f" (by {error(rise.by.value)}, {between(rise.by)})"
        verb = "rose" if shown_metric().improves == "down" else "fell"
        said.setdefault(rise.variant, []).append(
            f"{cell_name(rise.cell, found.cells)} {verb} from {error(rise.before)} to {error(rise.after)}{interval} "
            f"when {joined} joined at step {count(rise.step)}, and ended at {error(rise.end)}"
        )
    sentences = [
        (f"With `{variant}`, " if several else "") + "; ".join(abridged(parts)) + "." for variant, parts in said.items()
    ]
    return [f"{text[:1].upper()}{text[1:]}" for text in sentences]
