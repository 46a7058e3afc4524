"""The model's error on every function class, input distribution and shift, in numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.figures.categories import (
    UNSHIFTED,
    Category,
    CategoryErrors,
    category_labels,
    errors_by_category,
    several,
)
from icl_curriculum.figures.coloured_cells import NumberTable, table_figure
from icl_curriculum.figures.names import inputs_label, learner_label, pretty
from icl_curriculum.figures.notes import last_of_several
from icl_curriculum.figures.panels import styled
from icl_curriculum.results.shown_metric import metric_titles, shown_metric, under_shifts
from icl_curriculum.results.tables import Cell, NothingToDraw, distinct, evaluated_cells, final, of_variant


@dataclass(frozen=True)
class HeatMapRow:
    """A row of the figure; ``found``: the categories that its cell was evaluated in, with this model's errors alone."""

    label: str
    is_trained: bool
    found: Mapping[Category, CategoryErrors]


@styled
@under_shifts()
def heat_map(evaluation: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """The model's error, mean over seeds: a row for each cell, a column for each way to draw its prompts.

    The columns are the rows of `out_of_distribution`, all at the longest trained prompts. Longer prompts are shown
    at their own length, too. Raises NothingToDraw if there are fewer than two.
    """
    table = final(of_variant(evaluation, variant))
    models = table[table["learner_kind"] == "model"]
    rows = _rows(models)
    shown = [errors for row in rows for errors in row.found.values()]
    labels = category_labels(
        [(errors.category, errors.k) for errors in shown], all_trained=all(row.is_trained for row in rows)
    )
    if len(labels) < 2:
        raise NothingToDraw("no errors of a model in more than one way to draw the prompts")
    metrics = [metric for metric in metric_titles() if any(errors.metric == metric for errors in shown)]
    numbers = np.array([[_mean(row.found.get(category)) for category in labels] for row in rows])
    marked = [[category in row.found and row.found[category].metric != metrics[0] for category in labels]
              for row in rows]  # fmt: skip
    categories = list(labels)
    unshifted = categories.index(UNSHIFTED) if UNSHIFTED in labels else 0
    table_of_errors = NumberTable(
        rows=[row.label for row in rows], columns=list(labels.values()), numbers=numbers, by_median=np.array(marked),
        outlined=frozenset((i, unshifted) for i, row in enumerate(rows) if row.is_trained), outline="in distribution",
    )  # fmt: skip

    k = several(errors.k for errors in shown if errors.category == UNSHIFTED)
    seeds = models["seed"].nunique()
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    shown_as = "error" if shown_metric().chosen is None else shown_metric().title
    note = [f"The model's {shown_as}{mean}, at k = {k} in-context examples unless a column says otherwise."]
    note += last_of_several(evaluation)
    figure = table_figure(
        table_of_errors, metrics[0], title="Error by function class, inputs and shift", variant=variant, note=note
    )
    _separate(figure.axes[0], categories)
    return figure


def _rows(models: pd.DataFrame) -> list[HeatMapRow]:
    """A row for each cell, and for each model where there are several."""
    learners = distinct(models["learner"])
    rows = []
    for learner in learners:
        own = models[models["learner"] == learner]
        cells = evaluated_cells(own)
        several_inputs = len({cell.inputs for cell in cells}) > 1
        for cell in cells:
            label = _label(cell, several_inputs) + (f": {learner_label(learner)}" if len(learners) > 1 else "")
            found = {errors.category: errors for errors in errors_by_category(cell, cells, own)}
            rows.append(HeatMapRow(label, cell.trained, found))
    return rows


def _label(cell: Cell, several_inputs: bool) -> str:
    label = pretty(cell.function_class)
    label += f", {inputs_label(cell.inputs)}" if several_inputs else ""
    return label if cell.trained else f"{label} (not trained on)"


def _mean(found: CategoryErrors | None) -> float:
    return math.nan if found is None else float(found.errors["value"].mean())


def _separate(axes: Axes, categories: Sequence[Category]) -> None:
    """Draw gaps between columns of different kinds."""
    for j, (left, right) in enumerate(itertools.pairwise(categories), start=1):
        if left.kind != right.kind:
            axes.axvline(j, color="white", linewidth=4, gid="gap")
