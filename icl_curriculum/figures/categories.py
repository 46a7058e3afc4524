"""Categories of prompts that a model is evaluated on: its own, other inputs, shifts, and longer prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icl_curriculum.figures.names import inputs_label, shift_label
from icl_curriculum.results.tables import Cell, with_metric


class Kind(IntEnum):
    """Kinds of categories, in the order in which figures show them."""

    UNSHIFTED = 0
    INPUTS = 1
    SHIFT = 2
    #: The category of prompts with more examples than any trained prompt had.
    BEYOND = 3


@dataclass(frozen=True)
class Category:
    """One way to draw the prompts; ``id`` is the id of the inputs or of the shift."""

    kind: Kind
    id: str

    @property
    def label(self) -> str:
        if self.kind == Kind.UNSHIFTED:
            return "in distribution"
        return inputs_label(self.id) if self.kind == Kind.INPUTS else shift_label(self.id)


UNSHIFTED = Category(Kind.UNSHIFTED, "none")


@dataclass(frozen=True)
class CategoryErrors:
    """The errors of all learners on a cell's prompts of one category, at ``k`` examples and in one metric."""

    category: Category
    k: int
    metric: str
    errors: pd.DataFrame


def errors_by_category(cell: Cell, cells: Sequence[Cell], rows: pd.DataFrame) -> Iterator[CategoryErrors]:
    """The categories that a cell's models were evaluated in, unshifted first, at the longest trained prompts of each.

    Longer prompts occur twice: at the longest trained prompts, and at their own length.
    """
    longest = _lengths(cell.of(rows[rows["shift"] == "none"])).max(initial=-1)
    for category, group in groups_by_category(cell, cells, rows):
        metric, errors = with_metric(group)
        lengths = _lengths(errors)
        within = lengths[lengths <= longest]
        if len(within):
            k = int(within.max())
            yield CategoryErrors(category, k, metric, errors[errors["n_context"] == k])
        if len(lengths) > len(within):
            k = int(lengths.max())
            beyond = Category(Kind.BEYOND, category.id)
            yield CategoryErrors(beyond, k, metric, errors[errors["n_context"] == k])


def _lengths(errors: pd.DataFrame) -> NDArray[np.int64]:
    """The numbers of examples at which models were asked. Other learners may have been asked at other numbers."""
    lengths: NDArray[np.int64] = errors["n_context"].to_numpy()
    return np.unique(lengths[errors["learner_kind"].to_numpy(dtype=object) == "model"])


def groups_by_category(
    cell: Cell, cells: Sequence[Cell], rows: pd.DataFrame
) -> Iterator[tuple[Category, pd.DataFrame]]:
    """The rows of each category that applies to a cell, unshifted first."""
    own = cell.of(rows)
    plain = own["shift"] == "none"
    yield UNSHIFTED, own[plain]
    of_class = rows[(rows["function_class"] == cell.function_class) & (rows["shift"] == "none")]
    shown = {other.inputs for other in cells if other.function_class == cell.function_class}
    for inputs, group in of_class.groupby("input_distribution", sort=False, observed=True):
        if inputs not in shown:
            yield Category(Kind.INPUTS, str(inputs)), group
    for shift, group in own[~plain].groupby("shift", sort=False, observed=True):
        yield Category(Kind.SHIFT, str(shift)), group


def in_order(categories: Iterable[Category]) -> list[Category]:
    """Each category once, sorted by kind and within a kind in the order given."""
    return sorted(dict.fromkeys(categories), key=lambda category: category.kind)


def category_labels(found: Sequence[tuple[Category, int]], *, all_trained: bool) -> dict[Category, str]:
    """Names of categories in order, with the number of examples where it differs from that of the unshifted prompts.

    ``found``: each category with a number of examples that it is shown at; ``all_trained``: whether all
    cells were trained on.
    """
    ks: dict[Category, set[int]] = {}
    for category, k in found:
        ks.setdefault(category, set()).add(k)
    doubled = {category.id for category in ks if category.kind == Kind.BEYOND}
    labels = {}
    for category in in_order(ks):
        usual = ks[category] <= ks.get(UNSHIFTED, set()) and category.id not in doubled
        # Not even unshifted prompts are in distribution for a class that was not trained on.
        name = "no shift" if category == UNSHIFTED and not all_trained else category.label
        labels[category] = name if usual else f"{name} (k = {several(ks[category])})"
    return labels


def several(numbers: Iterable[int]) -> str:
    """Words some numbers: as one number, or as the range of several.

    >>> several([6]), several([6, 2, 3])
    ('6', '2 to 6')
    """
    low, *_, high = (*(ordered := sorted(set(numbers))), ordered[-1])
    return str(low) if low == high else f"{low} to {high}"
