"""Which of many variants are shown one by one: figures, sentences and the terminal have no room for hundreds."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import numpy as np

from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.pairs import reference_of, single_task
from icl_curriculum.results.comparison.sources import Cell, in_cell
from icl_curriculum.results.statistics.seeds import interquartile_mean

#: Up to so many variants are all shown: as many as have colours and lines of their own.
MOST_SHOWN = 30
#: Of more, so many with the lowest errors are shown, and so many with the highest.
OF_EITHER_END = 10


def shown_variants(found: Outcomes, cell: Cell) -> list[str]:
    """The variants that were trained on a cell and are shown one by one, in the order of the table.

    Up to `MOST_SHOWN` all are. Of more, those whose errors at the end of training (interquartile means over seeds) are
    the lowest and the highest, `OF_EITHER_END` of each, what others are compared with, and those asked for by name.
    """
    errors = {name: float(interquartile_mean(rows["error"])) for name, rows in found.trained_variants(cell).items()}
    references = [reference_of(found, cell, name) for name in [*found.named, None]]
    return _ends(errors, {*references, single_task(found.rows).get(cell), *found.named})


def shown_of_all(found: Outcomes) -> list[str]:
    """The same over all cells, trained on or not: those whose errors rank lowest and highest, by the mean rank."""
    ranks: dict[str, list[float]] = {name: [] for name in by_variant(found.rows)}
    for cell in found.cells:
        of_cell = by_variant(in_cell(found.rows, cell))
        errors = {name: float(interquartile_mean(rows["error"])) for name, rows in of_cell.items()}
        for rank, name in enumerate(sorted(errors, key=errors.__getitem__)):
            ranks[name].append(rank / len(errors))
    references = [reference_of(found, cell) for cell in found.cells]
    return _ends({name: float(np.mean(own)) for name, own in ranks.items()}, {*references, *found.named})


def _ends(values: Mapping[str, float], always: Collection[str | None]) -> list[str]:
    if len(values) <= MOST_SHOWN:
        return list(values)
    ranked = sorted(values, key=lambda name: math.inf if math.isnan(values[name]) else values[name])
    kept = {*ranked[:OF_EITHER_END], *ranked[-OF_EITHER_END:], *always}
    return [name for name in values if name in kept]


def left_out(shown: int, of: int) -> list[str]:
    """A sentence on how many variants are shown and which, if not all are."""
    if shown >= of:
        return []
    return [
        f"Chosen: {shown} of {of} variants, those with the {OF_EITHER_END} lowest and the {OF_EITHER_END} highest "
        f"errors and what they are compared with."
    ]


def abridged(parts: list[str]) -> list[str]:
    """The parts of a sentence on ranked variants: of more than `MOST_SHOWN` both ends, and how many are between.

    >>> [*abridged([str(n) for n in range(31)])][8:13]
    ['8', '9', '11 more between', '21', '22']
    """
    if len(parts) <= MOST_SHOWN:
        return parts
    between = len(parts) - 2 * OF_EITHER_END
    return [*parts[:OF_EITHER_END], f"{between:,} more between", *parts[-OF_EITHER_END:]]
