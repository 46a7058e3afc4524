"""Errors out of distribution beside those in distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.categories import (
    UNSHIFTED,
    Category,
    CategoryErrors,
    category_labels,
    errors_by_category,
    in_order,
    several,
)
from icl_curriculum.figures.emphasis import MOST_ENTRIES
from icl_curriculum.figures.names import GREY, ZERO, LearnerStyle, learner_label, learner_styles
from icl_curriculum.figures.notes import fewer_prompts, last_of_several
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, WIDEST_PANEL, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    range_label,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results.shown_metric import metric_titles, shown_metric, under_shifts
from icl_curriculum.results.tables import Cell, NothingToDraw, evaluated_cells, final, of_variant, over_seeds

#: Within a row the model stands above, the learner that it is compared with below.
_OFFSET = 0.17

#: These are no references: the zero predictor is the line at 1, and no learner can reach an informed bound.
_NO_RIVALS = (ZERO, "informed_oracle")


#: The look and the name of baselines that have no entry of their own in the legend.
_OTHER_BASELINE = LearnerStyle(GREY, "-", "H", 1.3)
_OTHERS = "other baselines, each the best there"

#: A panel with this many rows or more is tall.
_MANY = 12

#: Inches that the labels of rows take, and the width of a panel that stands beside many.
_LEFT, _NARROW_PANEL = 1.8, 1.35


@dataclass(frozen=True)
class Point:
    """One learner's error in one category, at ``k`` examples."""

    cell: Cell
    category: Category
    learner: str
    is_model: bool
    k: int
    metric: str
    n_prompts: int
    mean: float
    low: float
    high: float

    @property
    def always_named(self) -> bool:
        """Whether it is a model's or the oracle's."""
        return self.is_model or self.learner == "oracle"


@styled
@under_shifts()
@without_empty_decades
def out_of_distribution(evaluation: pd.DataFrame, *, variant: str | None = None, narrow: bool = False) -> Figure:
    """The model's error under every shift, beside the oracle's or else the best baseline's: a panel per cell.

    All errors are at the longest trained prompts; longer prompts are shown at their own length, too. Where more
    baselines are the best somewhere than a legend of six entries has room for, those that are it most rarely share one.
    ``narrow``: one panel in a row, without a title, for a page on a telephone. Raises NothingToDraw if the table has no
    model's errors out of distribution.
    """
    rows = final(of_variant(evaluation, variant))
    cells = evaluated_cells(rows)
    found = _points([(cell, errors) for cell in cells for errors in errors_by_category(cell, cells, rows)])
    shown = [(cell, [point for point in found if point.cell == cell]) for cell in cells]
    shown = [(cell, points) for cell, points in shown if points]
    categories = in_order(point.category for point in found)
    if UNSHIFTED not in categories or len(categories) == 1:
        raise NothingToDraw("no errors of a model both in and out of distribution")
    metrics = [metric for metric in metric_titles() if any(point.metric == metric for point in found)]
    seeds = rows.loc[rows["learner_kind"] == "model", "seed"].nunique()
    styles = _styles(learner_styles(evaluation), found, MOST_ENTRIES - (len(metrics) > 1))

    spans = [[point.mean, point.low, point.high] for point in found]
    grid, note = _panels(shown, categories, metrics, seeds, styles, spans, narrow=narrow)
    grid.label(error_label(metrics[0]), [""] * len(shown))
    k = several(point.k for point in found if point.category == UNSHIFTED)
    said = f"At k = {k} in-context examples unless a row says otherwise."
    whiskers = [f"Whiskers: {range_label(seeds)}."] * any(point.low < point.high for point in found)
    note = [said, *whiskers, *last_of_several(evaluation), *_fewer_prompts(found), *note]
    title = None if narrow else "Error out of distribution"
    return grid.finish(title, None if narrow else variant, note, _legend(found, metrics, styles))


def _styles(styles: dict[str, LearnerStyle], points: Sequence[Point], room: int) -> dict[str, LearnerStyle]:
    """The same styles, with one for all baselines that the legend has no room for: those that are rarely the best."""
    counts: dict[str, int] = {}
    for point in points:
        # Models and oracles are always named.
        counts[point.learner] = counts.get(point.learner, 0) + (len(points) if point.always_named else 1)
    ranked = sorted(counts, key=lambda name: -counts[name])
    kept = ranked if len(ranked) <= room else ranked[: room - 1]
    return styles | {name: _OTHER_BASELINE for name in ranked if name not in kept}


def _panels(
    shown: Sequence[tuple[Cell, Sequence[Point]]], categories: Sequence[Category], metrics: Sequence[str], seeds: int,
    styles: dict[str, LearnerStyle], spans: Sequence[Sequence[float]], *, narrow: bool,
) -> tuple[PanelGrid, list[str]]:  # fmt: skip
    """The panels with their points, and what the note should say of the axis."""
    found = [point for _, of_cell in shown for point in of_cell]
    grid = _grid(len(shown), len(categories), narrow=narrow)
    labels = category_labels(
        [(point.category, point.k) for point in found], all_trained=all(cell.trained for cell, _ in shown)
    )
    grid.axes[0].set_yticks(range(len(categories)), list(labels.values()))
    grid.axes[0].set_ylim(len(categories) - 0.5, -0.5)
    for axes, (_, of_cell) in zip(grid.axes, shown, strict=True):
        for learner, metric in dict.fromkeys((point.learner, point.metric) for point in of_cell):
            series = [point for point in of_cell if (point.learner, point.metric) == (learner, metric)]
            places = [categories.index(point.category) for point in series]
            _draw(axes, series, places, styles[learner], seeds, hollow=metric != metrics[0])
        for row in range(1, len(categories), 2):
            axes.axhspan(row - 0.5, row + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
        for row in {*range(len(categories))} - {categories.index(point.category) for point in of_cell}:
            axes.text(0.02, row, "n/a", transform=axes.get_yaxis_transform(), va="center", color=GREY, clip_on=True)
        zero_line(axes, "x")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    grid.title_cells([cell for cell, _ in shown])
    return grid, error_scale(grid.axes[0], "x", spans, across=_across(grid))


def _grid(panels: int, rows: int, *, narrow: bool) -> PanelGrid:
    """The grid of panels, which stand side by side rather than one below the other where each has many rows."""
    if narrow:
        return PanelGrid.of(panels, columns=1, height=0.19 * rows, left=_LEFT, width=NARROW)
    if rows <= _MANY:
        return PanelGrid.of(panels, columns=columns_for(panels, most=3), height=0.19 * rows, left=_LEFT)
    columns = columns_for(panels, most=5)
    width = max(_LEFT + columns * _NARROW_PANEL, min(FULL_WIDTH, _LEFT + columns * WIDEST_PANEL))
    return PanelGrid.of(panels, columns=columns, height=0.165 * rows, left=_LEFT, width=width)


def _across(grid: PanelGrid) -> int:
    """The number of labels that fit below a panel."""
    return 5 if (grid.figure.get_figwidth() - grid.left) / grid.columns > 1.7 else 3


def _points(found: Sequence[tuple[Cell, CategoryErrors]]) -> list[Point]:
    """The points of the models in each cell and category, and that of the oracle or else of the best baseline."""
    if not found:
        return []
    table = pd.concat([errors.errors.assign(place=place) for place, (_, errors) in enumerate(found)])
    is_model, keys = table["learner_kind"] == "model", ["place", "learner"]
    models = over_seeds(table[is_model], keys).reset_index()[[*keys, "mean", "low", "high"]]
    rivals = (
        table[~is_model & ~table["learner"].isin(_NO_RIVALS)].groupby(keys, observed=True)["value"].mean().reset_index()
    )
    prompts = table.groupby(keys, observed=True)["n_prompts"].min()
    points, sign = [], shown_metric().sign
    for place, (cell, errors) in enumerate(found):
        values = {str(name): numbers for at, name, *numbers in models.itertuples(index=False) if at == place}
        others = {str(name): error for at, name, error in rivals.itertuples(index=False) if at == place}
        best = "oracle" if "oracle" in others else min(others, key=lambda name: sign * others[name], default=None)
        if best is not None:
            values[best] = [others[best]] * 3
        for name, (mean, low, high) in values.items():
            seen = int(prompts[place, name])
            category, k, metric = errors.category, errors.k, errors.metric
            points.append(Point(cell, category, name, name != best, k, metric, seen, mean, low, high))
    return points


def _fewer_prompts(points: Sequence[Point]) -> list[str]:
    places: dict[tuple[Cell, Category], dict[str, set[int]]] = {}
    for point in points:
        places.setdefault((point.cell, point.category), {})[point.learner] = {point.n_prompts}
    return fewer_prompts(places.values())


def _draw(
    axes: Axes, points: Sequence[Point], rows: Sequence[int], style: LearnerStyle, seeds: int, *, hollow: bool
) -> None:
    """Draw a learner's points in the given rows, all in one metric."""
    learner, is_model = points[0].learner, points[0].is_model
    ys = np.array(rows) + (-_OFFSET if is_model else _OFFSET)
    if any(point.low < point.high for point in points):
        ranges = bounded([[point.low, point.high] for point in points])
        # Undefined points cut the whiskers of one row from those of the next.
        xs, heights = np.insert(ranges, 2, np.nan, axis=1), np.repeat(ys, 3)
        axes.plot(xs.ravel(), heights, color=style.colour, linewidth=1.2, marker="|", gid=f"{learner} range")
    axes.plot(
        bounded([point.mean for point in points]), ys, linestyle="none", marker=style.marker, markersize=4.5,
        color=style.colour, markerfacecolor="white" if hollow else style.colour, gid=learner, clip_on=False, zorder=3,
        label=_OTHERS if style == _OTHER_BASELINE else learner_label(learner, seeds if is_model else 1),
    )  # fmt: skip


def _legend(points: Sequence[Point], metrics: Sequence[str], styles: dict[str, LearnerStyle]) -> dict[str, Artist]:
    model = styles[next(point.learner for point in points if point.is_model)]
    handles: dict[str, Artist] = {}
    if len(metrics) > 1:
        handles["hollow: median error, as the mean is infinite"] = Line2D(
            [], [], linestyle="none", marker=model.marker, color=model.colour, markerfacecolor="white"
        )
    return handles
