"""Error by two swept parameters, in numbers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.coloured_cells import NumberTable, table_figure
from icl_curriculum.figures.names import inputs_label, plain, pretty
from icl_curriculum.figures.panels import styled
from icl_curriculum.results.comparison.sources import cells_of, in_cell, unshifted_models
from icl_curriculum.results.shown_metric import metric_titles
from icl_curriculum.results.swept import SweepAxis, in_order, parameter_in_words, sweep_axis
from icl_curriculum.results.tables import NothingToDraw, at_last_step, distinct, with_metric

#: The most rows; the cells of further ones are left out.
MOST_ROWS = 40


@styled
def heat_map_by_parameters(evaluation: pd.DataFrame, sweep: pd.DataFrame) -> Figure:
    """Mean error over seeds by the values of two swept parameters, at the longest prompts that all of them have.

    A column for each value of the one that `error_by_parameter` has for its axis, and for each class a row for each
    value of the other. ``sweep``: the table of swept values.

    Raises NothingToDraw unless two parameters are swept, and no others, and no entries of ``[variants]`` beside them.
    """
    axis, other = _two(sweep)
    values = sweep.loc[sweep["parameter"] == other, ["variant", "value"]].astype(str)
    row_of = dict(values.itertuples(index=False, name=None))
    columns, below = list(axis.places), in_order(distinct(values["value"]))
    models = unshifted_models(at_last_step(evaluation))
    models = models[models["variant"].isin(axis.value_of)]
    cells = cells_of(models)
    shown = cells[: max(1, MOST_ROWS // len(below))]
    numbers = np.full((len(shown) * len(below), len(columns)), math.nan)
    labels, metrics, lengths = [], [], []
    for place, cell in enumerate(shown):
        own = in_cell(models, cell)
        k = max(
            set.intersection(*(set(each["n_context"]) for _, each in own.groupby("variant", observed=True))), default=0
        )
        metric, errors = with_metric(own[own["n_context"] == k])
        for variant, error in errors.groupby("variant", observed=True)["value"].mean().items():
            row = place * len(below) + below.index(row_of[str(variant)])
            numbers[row, columns.index(axis.value_of[str(variant)])] = error
        name = [pretty(cell[0])] * (len({each[0] for each in cells}) > 1)
        name += [inputs_label(cell[1])] * (len({each[1] for each in cells}) > 1)
        labels += [", ".join([*name, f"{parameter_in_words(other)} = {pretty(value)}"]) for value in below]
        metrics += [metric] * len(below)
        lengths.append(int(k))
    first = next((metric for metric in metric_titles() if metric in metrics), None)
    if first is None or np.isnan(numbers).all():
        raise NothingToDraw("no errors of models with two swept parameters")
    table = NumberTable(
        rows=labels, columns=[f"{plain(axis.words)} = {pretty(value)}" for value in columns], numbers=numbers,
        by_median=np.tile([[metric != first] for metric in metrics], (1, len(columns))),
        outlined=frozenset(), outline="",
    )  # fmt: skip
    note = [f"Swept: {plain(axis.parameter)}, {plain(other)}.", f"At k = {several(lengths)} in-context examples."]
    note += ["Means over seeds."] * (models["seed"].nunique() > 1)
    note += [f"{len(shown)} of {len(cells)} classes are shown."] * (len(shown) < len(cells))
    title = f"Error by {plain(axis.words)} and {plain(parameter_in_words(other))}"
    return table_figure(table, first, title=title, note=note)


def _two(sweep: pd.DataFrame) -> tuple[SweepAxis, str]:
    """The axis of one parameter, and the key of the other."""
    axis = sweep_axis(sweep)
    varied = [
        key for key in distinct(sweep["parameter"]) if sweep.loc[sweep["parameter"] == key, "value"].nunique() > 1
    ]
    if axis is None or len(varied) != 2 or sweep["swept_variant"].nunique() > 1:
        raise NothingToDraw("not two swept parameters")
    return axis, next(key for key in varied if key != axis.parameter)
