"""Every seed's error, at the end of training and at the end of a block, with a row for each variant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.names import BLACK, GREY, LearnerStyle
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variants import Shown, label_rows, row_height
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import CONFIDENCE, Estimate, estimate

#: Inches of a row, of the names of variants, and of the counts at the right.
_ROW, _LEFT, _COUNTS = 0.27, 1.1, 0.3

#: Within a row, the seeds stand above and their statistic below.
_SEEDS, _STATISTIC = -0.17, 0.17


@styled
@without_empty_decades
def errors_by_seed(outcomes: Outcomes, cells: Sequence[Cell] | None = None, *, narrow: bool = False) -> Figure:
    """Every seed's error at the end of training: a panel per cell, a row per variant that was trained on it.

    Below the seeds stands their interquartile mean with its 90% interval (`statistics.seeds.estimate`), at the right
    how many seeds reach the threshold. ``cells`` and ``narrow``: as in `curves_by_variant`. Raises NothingToDraw if
    none was trained on.
    """
    shown = Shown.of(outcomes, cells, narrow=narrow)
    found = {cell: trained for cell in shown.cells if (trained := shown.trained(cell))}
    shown = shown.only(found, "no cell that a variant was trained on")
    count = max(map(len, found.values()))
    grid = shown.grid(
        height=row_height(found.values(), _ROW) * count, most=2, left=_LEFT, right=_COUNTS, shared_rows=False
    )
    drawn = []
    estimates = []
    for axes, cell in zip(grid.axes, shown.cells, strict=True):
        label_rows(axes, list(found[cell]), count)
        zero_line(axes, "x")
        axes.axvline(outcomes.threshold, color=GREY, linewidth=0.9, linestyle=(0, (4, 2)), gid="threshold")
        for row, (variant, of_variant) in enumerate(found[cell].items()):
            errors = of_variant["error"].to_numpy(dtype=np.float64)
            estimates.append(estimate([errors]))
            drawn += [errors, np.array([estimates[-1].value, estimates[-1].high])]
            _draw_seeds(axes, errors, row, variant, shown.styles[variant])
            _draw_estimate(axes, estimates[-1], row, variant, shown.styles[variant])
            sign = shown_metric().sign
            reached = int((sign * errors <= sign * outcomes.threshold).sum())
            if not outcomes.limit:
                continue
            axes.text(
                1.03, row, f"{reached}/{len(errors)}", transform=axes.get_yaxis_transform(), va="center",
                gid=f"{variant} count",
            )  # fmt: skip

    where = "most" if shown_metric().improves == "down" else "least"
    note = [shown.examples]
    note += [f"At the right: seeds at {where} at the threshold, {outcomes.limit}."] * bool(outcomes.limit)
    note += error_scale(grid.axes[0], "x", drawn, across=_across(grid))
    low = grid.axes[0].get_xlim()[0]
    note += ["Where an interval's end is not marked, it is beyond the panel."] * any(e.low < low for e in estimates)
    shown.title_panels(grid, metrics=True)
    grid.label(error_label(shown.first_metric), [""] * len(shown.cells))
    handles: dict[str, Artist] = {"one seed": _dot()}
    if any(e.n > 1 for e in estimates):
        handles["interquartile mean"] = Line2D([], [], linestyle="none", marker="D", markersize=4.5, color=BLACK)
        handles[f"its {CONFIDENCE:.0%} interval"] = Line2D([], [], marker="|", color=BLACK, linewidth=1.4)
    if outcomes.limit:
        handles["threshold"] = Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 2)))
    return shown.finish(grid, "Error at the end of training, by seed", note, handles)


@styled
@without_empty_decades
def forgetting(outcomes: Outcomes, cells: Sequence[Cell] | None = None, *, narrow: bool = False) -> Figure:
    """How an error changes after the last training on a cell: a panel per cell, a row per variant that stopped it.

    For each seed, a line joins the error at the end of its block and that at the end of training, both on the fixed
    prompts of the learning curves. ``cells`` and ``narrow``: as in `curves_by_variant`. Raises NothingToDraw if all
    were trained to the end.
    """
    shown = Shown.of(outcomes, cells, narrow=narrow)
    found: dict[Cell, dict[str, pd.DataFrame]] = {}
    for cell in shown.cells:
        for variant, rows in shown.trained(cell).items():
            stopped = rows[rows["error_after_block"].notna()]
            if len(stopped):
                found.setdefault(cell, {})[variant] = stopped
    shown = shown.only(found, "no cell whose training ended before the run did")
    count = max(map(len, found.values()))
    seeds = max(len(rows) for of_cell in found.values() for rows in of_cell.values())
    height = row_height(found.values(), max(_ROW, 0.09 * seeds))
    grid = shown.grid(height=max(0.5, count * height), most=2, left=_LEFT, shared_rows=False)
    drawn = []
    for axes, cell in zip(grid.axes, shown.cells, strict=True):
        label_rows(axes, list(found[cell]), count)
        zero_line(axes, "x")
        for row, (variant, stopped) in enumerate(found[cell].items()):
            after = stopped["error_after_block"].to_numpy(dtype=np.float64)
            end = np.array([outcomes.curves[variant, int(seed), *cell].errors[-1] for seed in stopped["seed"]])
            drawn += [after, end]
            heights = row + (np.arange(len(after)) - (len(after) - 1) / 2) * 0.8 / max(len(after), 3)
            _draw_dumbbells(axes, after, end, heights, variant, shown.styles[variant])
    note = [shown.examples, "Each line is a seed."]
    note += error_scale(grid.axes[0], "x", drawn, across=_across(grid))
    shown.title_panels(grid, metrics=True)
    grid.label(error_label(shown.first_metric), [""] * len(shown.cells))
    handles: dict[str, Artist] = {
        "when its training ended": Line2D(
            [], [], linestyle="none", marker="o", markersize=4.5, color=BLACK, markerfacecolor="white"
        ),
        "at the end of the run": Line2D([], [], linestyle="none", marker="o", markersize=4.5, color=BLACK),
    }
    return shown.finish(grid, "Error when training on a class ended, and at the end of the run", note, handles)


def _across(grid: PanelGrid) -> int:
    """The number of labels that fit below a panel."""
    return 5 if (grid.figure.get_figwidth() / grid.columns) > 3 else 3


def _dot() -> Line2D:
    return Line2D([], [], linestyle="none", marker="o", markersize=3.5, color=BLACK, alpha=0.55, markeredgewidth=0)


def _draw_seeds(axes: Axes, errors: np.ndarray, row: int, variant: str, style: LearnerStyle) -> None:
    axes.plot(
        bounded(errors), np.full(len(errors), row + _SEEDS), linestyle="none", marker="o", markersize=3.5,
        color=style.colour, alpha=0.55, markeredgewidth=0, gid=f"{variant} seeds", clip_on=False, zorder=3,
    )  # fmt: skip


def _draw_estimate(axes: Axes, found: Estimate, row: int, variant: str, style: LearnerStyle) -> None:
    """Draw the statistic, and its interval where there is one. An end below zero lies beyond a logarithmic axis."""
    if found.n < 2:
        return
    height = row + _STATISTIC
    if not math.isnan(found.low):
        least = np.finfo(float).tiny if shown_metric().improves == "down" else -np.inf
        ends = np.maximum([found.low, found.high], least)
        axes.plot(ends, [height] * 2, color=style.colour, linewidth=1.4, marker="|", markersize=5,
                  gid=f"{variant} interval", zorder=3)  # fmt: skip
    axes.plot(
        bounded([found.value]), [height], linestyle="none", marker=style.marker, markersize=4.5, color=style.colour,
        gid=variant, clip_on=False, zorder=4,
    )  # fmt: skip


def _draw_dumbbells(
    axes: Axes, after: np.ndarray, end: np.ndarray, heights: np.ndarray, variant: str, style: LearnerStyle
) -> None:
    """Draw a line for each seed, from the hollow marker to the filled one."""
    xs = np.column_stack([bounded(after), bounded(end), np.full(len(after), np.nan)])
    axes.plot(xs.ravel(), np.repeat(heights, 3), color=style.colour, linewidth=1.0, gid=f"{variant} change", zorder=3)
    look: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.8,
        "color": style.colour,
        "clip_on": False,
    }
    axes.plot(bounded(after), heights, markerfacecolor="white", gid=f"{variant} after block", zorder=4, **look)
    axes.plot(bounded(end), heights, gid=f"{variant} end", zorder=4, **look)
