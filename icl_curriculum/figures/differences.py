"""Whom a model answers like: how far its predictions are from those of every other learner, in numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from icl_curriculum.figures.categories import Category, Kind, groups_by_category, in_order
from icl_curriculum.figures.coloured_cells import NumberTable, table_figure
from icl_curriculum.figures.names import inputs_label, learner_label, pretty
from icl_curriculum.figures.notes import fewer_prompts
from icl_curriculum.figures.panels import styled
from icl_curriculum.results.closest import DIFFERENCES, final_differences, shown_lengths
from icl_curriculum.results.tables import Cell, NothingToDraw, distinct, evaluated_cells, of_variant

#: Differences as near to the least one as this, in relative terms, are marked with it.
_ALIKE = 1e-6


@dataclass(frozen=True)
class DifferenceColumn:
    """A column of the figure: a way to draw the prompts, at ``k`` examples."""

    category: Category
    k: int

    def label(self, usual: int) -> str:
        """``usual``: the number of examples that columns under a shift need not name."""
        if self.category.kind == Kind.UNSHIFTED:
            return f"k = {self.k}"
        return self.category.label + (f" (k = {self.k})" if self.k != usual else "")


@dataclass(frozen=True)
class DifferenceBlock:
    """The rows of the figure for one model and one cell: mean differences over seeds, (learners, columns).

    ``found``: by column, the differences behind it.
    """

    heading: str
    learners: list[str]
    found: dict[DifferenceColumn, pd.DataFrame]

    def numbers(self, columns: Sequence[DifferenceColumn]) -> NDArray[np.float64]:
        means = {
            column: rows.groupby("other_learner", observed=True)["value"].mean() for column, rows in self.found.items()
        }
        return np.array([
            [float(means[column].get(learner, math.nan)) if column in means else math.nan for column in columns]
            for learner in self.learners
        ])  # fmt: skip

    def by_median(self, columns: Sequence[DifferenceColumn], usual: str) -> NDArray[np.bool_]:
        """Where the metric is not the ``usual`` one."""
        other = [column in self.found and set(self.found[column]["metric"]) != {usual} for column in columns]
        return np.tile(other, (len(self.learners), 1))


@styled
def prediction_differences(differences: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """How far the model's predictions are from those of baselines and oracle, in and out of distribution.

    ``differences``: the table prediction_differences.csv. For each cell there is a row for every learner that the model
    was compared with, and a column for each of a few numbers of examples without a shift, then for other inputs and
    every shift at the longest of these, and for longer prompts at theirs. The numbers are means over seeds; the closest
    learner of each column is outlined. Raises NothingToDraw if the table compares no model.
    """
    table = final_differences(of_variant(differences, variant) if len(differences) else differences)
    if table.empty:
        raise NothingToDraw("no predictions of a model that were compared with another learner's")
    cells = evaluated_cells(table)
    lengths = sorted({k for cell in cells for k in shown_lengths(cell.of(table[table["shift"] == "none"]))})
    blocks = _blocks(table, cells, lengths)
    columns = _columns(blocks)
    if not columns:
        raise NothingToDraw("no predictions of a model that were compared with another learner's")
    metrics = {str(name) for block in blocks for rows in block.found.values() for name in rows["metric"]}
    usual = next(metric for metric in DIFFERENCES if metric in metrics)

    rows: list[str] = []
    numbers, by_median = [], []
    outlined: set[tuple[int, int]] = set()
    headings = set()
    for block in blocks:
        headings.add(len(rows))
        rows += [block.heading, *map(learner_label, block.learners)]
        own = block.numbers(columns)
        outlined |= {(len(rows) - len(own) + i, j) for i, j in _closest(own)}
        numbers += [np.full((1, len(columns)), math.nan), own]
        by_median += [np.zeros((1, len(columns)), dtype=bool), block.by_median(columns, usual)]

    made = NumberTable(
        rows=rows, columns=[column.label(lengths[-1]) for column in columns], numbers=np.concatenate(numbers),
        by_median=np.concatenate(by_median), outlined=frozenset(outlined), outline="closest to the model",
        headings=frozenset(headings), what="difference",
    )  # fmt: skip
    figure = table_figure(
        made, usual, title="Whom the model answers like", variant=variant,
        note=_note(table, differences, blocks, lengths), scale=f"{DIFFERENCES[usual]} of predictions (0 = alike)",
    )  # fmt: skip
    for j in range(1, len(columns)):
        if columns[j - 1].category.kind != columns[j].category.kind:
            figure.axes[0].axvline(j, color="white", linewidth=4, gid="gap")
    return figure


def _blocks(table: pd.DataFrame, cells: Sequence[Cell], lengths: Sequence[int]) -> list[DifferenceBlock]:
    """A block for each cell, and for each model where there are several."""
    models = distinct(table["learner"])
    several_inputs = len({cell.inputs for cell in cells}) > 1
    blocks = []
    for cell in cells:
        for model in models:
            own = table[table["learner"] == model]
            found = _by_column(own, cell, cells, lengths)
            learners = distinct(name for rows in found.values() for name in rows["other_learner"])
            heading = pretty(cell.function_class)
            heading += f", {inputs_label(cell.inputs)}" if several_inputs else ""
            heading += "" if cell.trained else " (not trained on)"
            heading += f": {learner_label(model)}" if len(models) > 1 else ""
            if learners:
                blocks.append(DifferenceBlock(heading, learners, found))
    return blocks


def _by_column(
    own: pd.DataFrame, cell: Cell, cells: Sequence[Cell], lengths: Sequence[int]
) -> dict[DifferenceColumn, pd.DataFrame]:
    found: dict[DifferenceColumn, pd.DataFrame] = {}
    plain = cell.of(own[own["shift"] == "none"])
    longest = int(plain["n_context"].max()) if len(plain) else -1
    for category, rows in groups_by_category(cell, cells, own):
        there = set(map(int, rows["n_context"]))
        shown = [(category, k) for k in (lengths if category.kind == Kind.UNSHIFTED else lengths[-1:])]
        if there and max(there) > longest:
            shown.append((Category(Kind.BEYOND, category.id), max(there)))
        for kind, k in shown:
            if k in there:
                found[DifferenceColumn(kind, k)] = rows[rows["n_context"] == k]
    return found


def _columns(blocks: Iterable[DifferenceBlock]) -> list[DifferenceColumn]:
    found = {column for block in blocks for column in block.found}
    order = in_order(dict.fromkeys(column.category for block in blocks for column in block.found))
    return sorted(found, key=lambda column: (order.index(column.category), column.k))


def _closest(numbers: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The rows and columns of the least numbers of each column."""
    least = np.where(np.isfinite(numbers), numbers, np.inf).min(axis=0)
    return [(int(i), int(j)) for i, j in np.argwhere((numbers <= least * (1 + _ALIKE)) & np.isfinite(numbers))]


def _note(
    table: pd.DataFrame, whole: pd.DataFrame, blocks: Sequence[DifferenceBlock], lengths: Sequence[int]
) -> list[str]:
    seeds = table["seed"].nunique()
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    said = [f"Mean squared difference between the model's predictions and those of each learner, over E f²{mean}."]
    if any(column.category.kind > Kind.UNSHIFTED for block in blocks for column in block.found):
        said.append(f"Under shifts at k = {lengths[-1]} in-context examples unless a column says otherwise.")
    else:
        said.append("k: in-context examples.")
    if (whole["metric"] == "disagreement").any():
        said.append("Of signs and classes, the numbers or probabilities are compared that were answered.")
    groups = []
    for block in blocks:
        counts: dict[str, set[int]] = {}
        for rows in block.found.values():
            for learner, own in rows.groupby("other_learner", observed=True)["n_prompts"]:
                counts.setdefault(str(learner), set()).update(map(int, own))
        groups.append(counts)
    return said + fewer_prompts(groups)
