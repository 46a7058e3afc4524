"""Errors out of distribution beside those in distribution."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.names import (
    GREY,
    ZERO,
    LearnerStyle,
    inputs_label,
    learner_label,
    learner_styles,
    shift_label,
)
from icl_curriculum.figures.panels import (
    Grid,
    bounded,
    columns_for,
    error_label,
    error_scale,
    range_label,
    styled,
    zero_line,
)
from icl_curriculum.figures.tables import (
    METRICS,
    Cell,
    NothingToDraw,
    evaluated_cells,
    final,
    of_variant,
    over_seeds,
    with_metric,
)

#: The model above, the learner that it is compared with below.
_OFFSET = 0.17

#: The zero predictor is the line at 1, and no learner can reach a bound that knows more than the prompt.
_NO_RIVALS = (ZERO, "informed_oracle")


@dataclass(frozen=True)
class Category:
    """A row of the figure; ``beyond``: at more examples than any trained prompt had."""

    rank: int
    name: str
    beyond: bool = False


UNSHIFTED = Category(0, "in distribution")


@dataclass(frozen=True)
class Point:
    """One learner's error in one category, at ``k`` examples."""

    category: Category
    learner: str
    is_model: bool
    k: int
    metric: str
    mean: float
    low: float
    high: float


@styled
def out_of_distribution(evaluation: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """The model's error under every shift, beside the oracle's or else the best baseline's: a panel per cell.

    All at the longest trained prompts; longer prompts at their own length too. Raises NothingToDraw if
    the table has no model's errors out of distribution.
    """
    styles = learner_styles(evaluation)
    rows = final(of_variant(evaluation, variant))
    cells = evaluated_cells(rows)
    shown = [(cell, points) for cell in cells if (points := list(_points(cell, cells, rows)))]
    points = [point for _, of_cell in shown for point in of_cell]
    # Stable: within a rank, categories stay in the order of the table.
    categories = sorted(dict.fromkeys(point.category for point in points), key=lambda category: category.rank)
    if UNSHIFTED not in categories or len(categories) == 1:
        raise NothingToDraw("no errors of a model both in and out of distribution")
    metrics = [metric for metric in METRICS if any(point.metric == metric for point in points)]
    seeds = rows.loc[rows["learner_kind"] == "model", "seed"].nunique()

    grid = Grid.of(len(shown), columns=columns_for(len(shown), most=3), height=0.19 * len(categories), left=1.8)
    grid.axes[0].set_yticks(range(len(categories)), _labels(categories, points, all(cell.trained for cell in cells)))
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

    note = error_scale(grid.axes[0], "x", ([point.mean, point.low, point.high] for point in points))
    grid.label(error_label(metrics[0]), [""] * len(shown))
    k = _several(point.k for point in points if point.category == UNSHIFTED)
    note.insert(0, f"At k = {k} in-context examples unless a row says otherwise.")
    return grid.finish("Error out of distribution", variant, note, _legend(points, metrics, seeds, styles))


def _groups(cell: Cell, cells: Sequence[Cell], rows: pd.DataFrame) -> Iterator[tuple[Category, pd.DataFrame]]:
    """The rows of each category that applies to a cell, unshifted first."""
    own = cell.of(rows)
    plain = own["shift"] == "none"
    yield UNSHIFTED, own[plain]
    of_class = rows[(rows["function_class"] == cell.function_class) & (rows["shift"] == "none")]
    shown = {other.inputs for other in cells if other.function_class == cell.function_class}
    for inputs, group in of_class.groupby("input_distribution", sort=False):
        if inputs not in shown:
            yield Category(1, inputs_label(str(inputs))), group
    for shift, group in own[~plain].groupby("shift", sort=False):
        yield Category(2, shift_label(str(shift))), group


def _points(cell: Cell, cells: Sequence[Cell], rows: pd.DataFrame) -> Iterator[Point]:
    longest = cell.of(rows[rows["shift"] == "none"])["n_context"].max()
    for category, group in _groups(cell, cells, rows):
        metric, errors = with_metric(group)
        lengths = errors["n_context"].unique()
        within = lengths[lengths <= longest]
        if len(within):
            yield from _at(category, int(within.max()), metric, errors)
        if len(lengths) > len(within):
            yield from _at(Category(3, category.name, beyond=True), int(lengths.max()), metric, errors)


def _at(category: Category, k: int, metric: str, errors: pd.DataFrame) -> Iterator[Point]:
    """The models' points at ``k``, and that of the oracle or else of the best baseline."""
    here = errors[errors["n_context"] == k]
    models = here[here["learner_kind"] == "model"]
    for learner, of_model in models.groupby("learner", sort=False):
        mean, low, high = over_seeds(of_model, "n_context")[["mean", "low", "high"]].to_numpy(dtype=float)[0]
        yield Point(category, str(learner), True, k, metric, mean, low, high)
    others = here[here["learner_kind"] != "model"].groupby("learner")["value"].mean()
    candidates = {str(name): float(error) for name, error in others.items() if name not in _NO_RIVALS}
    if len(models) and candidates:
        best = "oracle" if "oracle" in candidates else min(candidates, key=lambda name: candidates[name])
        yield Point(category, best, False, k, metric, *[candidates[best]] * 3)


def _labels(categories: Sequence[Category], points: Sequence[Point], all_trained: bool) -> list[str]:
    """Names of the rows, with the number of examples where it is not that of the unshifted prompts."""
    usual = {point.k for point in points if point.category == UNSHIFTED}
    doubled = {category.name for category in categories if category.beyond}
    labels = []
    for category in categories:
        ks = {point.k for point in points if point.category == category}
        said = category.name in doubled or not ks <= usual
        # Not even unshifted prompts are in distribution for a class that was not trained on.
        name = "no shift" if category == UNSHIFTED and not all_trained else category.name
        labels.append(f"{name} (k = {_several(ks)})" if said else name)
    return labels


def _several(numbers: Iterable[int]) -> str:
    low, *_, high = (*(ordered := sorted(set(numbers))), ordered[-1])
    return str(low) if low == high else f"{low} to {high}"


def _draw(
    axes: Axes, points: Sequence[Point], rows: Sequence[int], style: LearnerStyle, seeds: int, *, hollow: bool
) -> None:
    """A learner's points in the given rows, all by one metric."""
    learner, is_model = points[0].learner, points[0].is_model
    ys = np.array(rows) + (-_OFFSET if is_model else _OFFSET)
    if any(point.low < point.high for point in points):
        ranges = bounded([[point.low, point.high] for point in points])
        # Undefined points cut the whiskers of one row from those of the next.
        xs, heights = np.insert(ranges, 2, np.nan, axis=1), np.repeat(ys, 3)
        axes.plot(xs.ravel(), heights, color=style.colour, linewidth=1.2, marker="|", gid=f"{learner} range")
    axes.plot(
        bounded([point.mean for point in points]), ys, linestyle="none", marker=style.marker, markersize=4.5,
        color=style.colour, markerfacecolor="white" if hollow else style.colour,
        label=learner_label(learner, seeds if is_model else 1), gid=learner, clip_on=False, zorder=3,
    )  # fmt: skip


def _legend(
    points: Sequence[Point], metrics: Sequence[str], seeds: int, styles: dict[str, LearnerStyle]
) -> dict[str, Artist]:
    model = styles[next(point.learner for point in points if point.is_model)]
    handles: dict[str, Artist] = {}
    if any(point.low < point.high for point in points):
        handles[range_label(seeds)] = Line2D([], [], color=model.colour, linewidth=1.2, marker="|")
    if len(metrics) > 1:
        handles["hollow: median error, as the mean is infinite"] = Line2D(
            [], [], linestyle="none", marker=model.marker, color=model.colour, markerfacecolor="white"
        )
    return handles
