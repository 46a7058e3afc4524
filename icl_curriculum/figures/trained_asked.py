"""Which variant knows which function class: errors as numbers, on cells that were trained on and on others."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from icl_curriculum.figures.coloured_cells import NARROWEST_FIGURE, NumberTable, table_figure
from icl_curriculum.figures.names import plain
from icl_curriculum.figures.panels import NARROW, styled
from icl_curriculum.figures.variants import Shown
from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.shown import left_out, shown_of_all
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.statistics.seeds import interquartile_mean


@styled
def trained_by_asked(outcomes: Outcomes, cells: Sequence[Cell] | None = None) -> Figure:
    """The error at the end of training of every variant on every cell, also those that it was not trained on.

    A row for each variant and a column for each cell hold interquartile means over seeds; an outline marks the cells
    that a variant was trained on. ``cells``: as in `curves_by_variant`. Raises NothingToDraw if there is no error.
    """
    shown = Shown.of(outcomes, cells)
    variants = shown_of_all(outcomes)
    numbers = np.full((len(variants), len(shown.cells)), math.nan)
    outlined = set()
    for j, cell in enumerate(shown.cells):
        for variant, rows in by_variant(shown.of_cell(cell)).items():
            if variant not in variants:
                continue
            i = variants.index(variant)
            numbers[i, j] = float(interquartile_mean(rows["error"]))
            if rows["trained"].any():
                outlined.add((i, j))
    other = [shown.metric(cell) != shown.first_metric for cell in shown.cells]
    columns = [shown.label(cell).replace("\n", ", ") for cell in shown.cells]
    by_median = np.tile(other, (len(variants), 1))
    table = NumberTable(
        rows=list(map(plain, variants)), columns=columns, numbers=numbers, by_median=by_median,
        outlined=frozenset(outlined), outline="trained on",
    )  # fmt: skip
    note = [shown.examples] + [f"Interquartile means of {shown.seeds} seeds."] * (shown.seeds != "1")
    note += left_out(len(variants), outcomes.rows["variant"].nunique())
    title = "Error of each variant on each function class"
    title += " and inputs" if shown.several_inputs else ""
    return table_figure(
        table, shown.first_metric, title=None if shown.narrow else title, note=note,
        narrowest=NARROW if shown.narrow else NARROWEST_FIGURE,
    )  # fmt: skip
