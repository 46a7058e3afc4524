"""Error on fixed prompts against training step, with the curriculum's blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from icl_curriculum.figures.names import BLUE, CLASS_COLOURS, FIXED, GREY, SKY, learner_label
from icl_curriculum.figures.panels import NARROW, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    bounded,
    count_scale,
    error_label,
    error_scale,
    range_label,
    without_empty_decades,
)
from icl_curriculum.results.tables import (
    Cell,
    CurriculumBlock,
    NothingToDraw,
    blocks,
    distinct,
    of_variant,
    on_own_prompts,
    over_seeds,
    with_metric,
)

#: Shades of the model's blue, darker for more examples; the longest context comes first.
_LOOKS = (("#00304D", "-", 1.8), (BLUE, (0, (4, 1.2)), 1.5), (SKY, (0, (1.2, 1)), 1.5))
_BOUNDARY = "#555555"


@styled
@without_empty_decades
def learning_curves(
    learning: pd.DataFrame, curriculum: pd.DataFrame, evaluation: pd.DataFrame | None = None, *,
    variant: str | None = None, narrow: bool = False,
) -> Figure:  # fmt: skip
    """Error at three context lengths while training goes on: a panel per cell.

    Vertical lines mark the curriculum's blocks, shading the steps at which the panel's own cell was in training.
    ``evaluation``: the table that holds the oracle's error at the longest of the lengths, which is a line of its own
    where there is one. ``narrow``: two panels in a row and no title, for a page on a telephone. Errors under shifts,
    which ``learning`` may hold, are left out: `along_training` shows them.
    Raises NothingToDraw if ``learning`` holds no errors.
    """
    colours = class_colours(curriculum)
    own = of_variant(curriculum, variant)
    rows = on_own_prompts(of_variant(learning, variant), own)
    planned = blocks(own)
    trained = {pair for block in planned for pair in block.cells}
    pairs = dict.fromkeys(zip(rows["function_class"], rows["input_distribution"], strict=True))
    cells = [Cell(str(pair[0]), str(pair[1]), pair in trained or not planned) for pair in pairs]
    shown = [(cell, *with_metric(cell.of(rows))) for cell in cells]
    shown = [item for item in shown if len(item[2])]
    if not shown:
        raise NothingToDraw("no errors during training")

    lengths = _context_lengths(rows)
    optima = [_optimum(evaluation, cell, metric, lengths[0]) for cell, metric, _ in shown]
    grid, note = _drawn(shown, optima, planned, lengths, colours, narrow=narrow)
    count_scale(grid.axes[0].xaxis, 4)
    steps = int(rows["step"].max())
    grid.axes[0].set_xlim(0, max(steps, 1))
    named_metrics = [error_label(metric) for _, metric, _ in shown]
    if narrow:  # Panels are too low for two lines.
        named_metrics = [label.split("\n")[0] for label in named_metrics]
    grid.label("training step", named_metrics)

    seeds = rows["seed"].nunique()
    several_inputs = rows["input_distribution"].nunique() > 1
    said = f"{steps:,} steps, {int(rows['prompts_seen'].max()):,} prompts in all."
    spread = f"Lines: mean of {seeds} seeds; bands: {range_label(seeds)}." if seeds > 1 else "One seed."
    return grid.finish(
        None if narrow else "Error on fixed prompts during training",
        None if narrow else variant,
        note if narrow else [said, spread, *note],
        curriculum_legend(planned, several_inputs),
    )


def _drawn(
    shown: Sequence[tuple[Cell, str, pd.DataFrame]], optima: Sequence[float], planned: Sequence[CurriculumBlock],
    lengths: Sequence[int], colours: Mapping[str, str], *, narrow: bool,
) -> tuple[PanelGrid, list[str]]:  # fmt: skip
    """The panels with their curves, and what the note should say of the axis."""
    columns = min(len(shown), 2) if narrow else columns_for(len(shown))
    height = 1.0 if narrow else 2.0 if columns == 1 else 1.35
    grid = PanelGrid.of(len(shown), columns=columns, height=height, width=NARROW if narrow else None)
    drawn = []
    for axes, (cell, _, errors), optimum in zip(grid.axes, shown, optima, strict=True):
        draw_blocks(axes, planned, cell, colours.get(cell.function_class, GREY))
        for k, (colour, line, width) in zip(lengths, _LOOKS, strict=False):
            at_k = errors[errors["n_context"] == k]
            summary = over_seeds(at_k, "step")
            axes.fill_between(
                summary.index, bounded(summary["low"]), bounded(summary["high"]), color=colour, alpha=0.15,
                linewidth=0, gid=f"k={k} range",
            )  # fmt: skip
            axes.plot(
                summary.index, bounded(summary["mean"]), color=colour, linestyle=line, linewidth=width,
                label=f"k = {k} example{'s' * (k != 1)}", gid=f"k={k}",
            )  # fmt: skip
            drawn.append(at_k["value"])
        if not np.isnan(optimum):
            drawn.append(pd.Series([optimum]))
            axes.axhline(
                float(bounded([optimum])[0]), color=FIXED["oracle"].colour, linestyle=FIXED["oracle"].line, linewidth=1,
                label=f"{learner_label('oracle')}, k = {lengths[0]}", gid="oracle",
            )  # fmt: skip
    grid.title_cells([cell for cell, _, _ in shown])
    return grid, error_scale(grid.axes[0], "y", drawn)


def _optimum(evaluation: pd.DataFrame | None, cell: Cell, metric: str, k: int) -> float:
    """The oracle's error in a cell at k examples without a shift; NaN where there is none."""
    if evaluation is None:
        return math.nan
    own = cell.of(evaluation[(evaluation["learner"] == "oracle") & (evaluation["shift"] == "none")])
    return float(own.loc[(own["n_context"] == k) & (own["metric"] == metric), "value"].mean())


def class_colours(curriculum: pd.DataFrame) -> dict[str, str]:
    """A colour for each function class, by its place in the curriculum table."""
    names = distinct(curriculum["function_class"])
    return {name: CLASS_COLOURS[i % len(CLASS_COLOURS)] for i, name in enumerate(names)}


def _context_lengths(rows: pd.DataFrame) -> list[int]:
    """The context lengths nearest to all, half and a quarter of the examples that the table has; longest first."""
    offered = sorted(int(k) for k in rows["n_context"].unique())
    wanted = [offered[-1] * part for part in (1, 0.5, 0.25)]
    return list(dict.fromkeys(min(offered, key=lambda k: abs(k - target)) for target in wanted))


def draw_blocks(axes: Axes, planned: Sequence[CurriculumBlock], cell: Cell, colour: str) -> None:
    """Mark where the curriculum moves on, and shade the steps at which a cell could be drawn."""
    for block in planned:
        if (cell.function_class, cell.inputs) in block.cells:
            axes.axvspan(block.start, block.end, color=colour, alpha=0.22, linewidth=0, gid="in training")
    for block in planned[1:]:
        axes.axvline(block.start, color=_BOUNDARY, linewidth=0.7, linestyle=(0, (1, 2)), gid="boundary")


def curriculum_legend(planned: Sequence[CurriculumBlock], several_inputs: bool) -> dict[str, Artist]:
    """What stands in a legend for what `draw_blocks` draws."""
    handles: dict[str, Artist] = {}
    if planned:
        what = "class and inputs" if several_inputs else "class"
        handles[f"panel's {what} in training"] = Patch(color=GREY, alpha=0.3, linewidth=0)
    if len(planned) > 1:
        handles["curriculum moves on"] = Line2D([], [], color=_BOUNDARY, linewidth=0.7, linestyle=(0, (1, 2)))
    return handles
