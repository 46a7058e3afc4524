"""Error against training steps, or against prompts of the class, with a line for each variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from icl_curriculum.figures.emphasis import OTHER
from icl_curriculum.figures.names import FIXED, GREY, LearnerStyle, learner_label
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.scales import (
    bounded,
    count_scale,
    error_label,
    error_scale,
    log_count_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variants import Shown
from icl_curriculum.results.comparison.outcomes import Curve, Outcomes
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.statistics.curves import value_at_exposure

Array = NDArray[np.float64]
#: Maps the rows of a variant's seeds to the places where they were measured and the errors there, (seeds, places).
Aligned = Callable[[Sequence[Curve]], tuple[Array, Array]]

#: Each seed has a line of its own if a panel has at most this many.
_MOST_LINES = 10


@styled
@without_empty_decades
def curves_by_variant(outcomes: Outcomes, cells: Sequence[Cell] | None = None, *, narrow: bool = False) -> Figure:
    """Error on fixed prompts against the training step: a panel per cell, a line per variant that was trained on it.

    A line is the mean over seeds, in a band from the least to the greatest; the oracle's error at the same number of
    examples, where there is one, is a line of its own. Of more variants than a legend of six entries has room for,
    those that were not asked for and are not among the most telling are grey, see `emphasis.variant_entries`.
    ``cells``: the (function class, inputs) to show, None for all; a single one is drawn without a title, as wide as a
    telephone, as all are with ``narrow``. Raises NothingToDraw if none was trained on.
    """
    return _curves(
        outcomes, cells, _by_step, "training step", "Error during training", narrow=narrow,
        otherwise="no errors during training",
    )  # fmt: skip


@styled
@without_empty_decades
def error_by_exposure(outcomes: Outcomes, cells: Sequence[Cell] | None = None, *, narrow: bool = False) -> Figure:
    """Error on fixed prompts against the prompts of the class that were seen: which variant needs the least data?

    A panel per cell has a line per variant that was trained on it: the mean over seeds, from the first measurement at
    which all seeds had seen a prompt of it, as far as all of them got. Where other classes are trained for a while, the
    error right after the last prompt counts. ``cells`` and ``narrow``: as in `curves_by_variant`. Raises NothingToDraw
    without exposure.csv.
    """
    return _curves(
        outcomes, cells, _by_prompts, "prompts of the class seen", "Error by prompts of the class", narrow=narrow,
        otherwise="no record of the prompts of each class (exposure.csv)",
    )  # fmt: skip


def _curves(
    outcomes: Outcomes, cells: Sequence[Cell] | None, aligned: Aligned, xlabel: str, title: str, *, narrow: bool,
    otherwise: str,
) -> Figure:  # fmt: skip
    shown = Shown.of(outcomes, cells, narrow=narrow)
    found: dict[Cell, dict[str, tuple[Array, Array]]] = {}
    for cell in shown.cells:
        for variant, rows in shown.trained(cell).items():
            xs, errors = aligned([outcomes.curves[variant, int(seed), *cell] for seed in rows["seed"]])
            if len(xs):
                found.setdefault(cell, {})[variant] = xs, errors
    shown = shown.only(found, otherwise)

    of_all = [of_variant for cell in shown.cells for of_variant in found[cell].values()]
    optima = [outcomes.optimum[cell] for cell in shown.cells if cell in outcomes.optimum]
    grid = shown.grid(height=1.1 if narrow else 1.9, narrow=2)
    by_step = aligned is _by_step
    note = _draw(grid, shown, outcomes, found, optima)
    if by_step:
        grid.axes[0].set_xlim(0, max(float(xs[-1]) for xs, _ in of_all))
        count_scale(grid.axes[0].xaxis, 4)
    else:
        log_count_scale(grid.axes[0], [xs for xs, _ in of_all])
    shown.title_panels(grid)
    if not by_step and shown.several_inputs:
        xlabel = xlabel.replace("the class", "class and inputs")
    labels = [error_label(shown.metric(cell)) for cell in shown.cells]
    if narrow:  # Panels are too low for two lines.
        labels = [label.split("\n")[0] for label in labels]
        xlabel = xlabel.removesuffix(" seen")
    grid.label(xlabel, labels)
    handles: dict[str, Artist] = shown.legend((name for cell in shown.cells for name in found[cell]), lines=True)
    if optima:
        oracle = FIXED["oracle"]
        handles[learner_label("oracle")] = Line2D([], [], color=oracle.colour, linestyle=oracle.line, linewidth=1)
    counts = {len(errors) for _, errors in of_all}
    reach = "" if by_step else ", as far as all of them got"
    said = f"Lines: mean of {shown.seeds} seeds{reach}; bands: from the least to the greatest."
    limit = [f"Grey dashes: the threshold, {outcomes.limit}."] * bool(outcomes.limit)
    return shown.finish(grid, title, [shown.examples, said if counts != {1} else "One seed.", *limit, *note], handles)


def _draw(
    grid: PanelGrid, shown: Shown, outcomes: Outcomes, found: Mapping[Cell, Mapping[str, tuple[Array, Array]]],
    optima: Sequence[float],
) -> list[str]:  # fmt: skip
    """Draw the curves, the threshold, the oracle and the zero predictor. Returns what the note should say."""
    for axes, cell in zip(grid.axes, shown.cells, strict=True):
        for variant, (xs, errors) in found[cell].items():
            draw_curve(axes, xs, errors, variant, shown.styles[variant], singles=len(found[cell]) * len(errors))
        axes.axhline(outcomes.threshold, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)), gid="threshold")
        if cell in outcomes.optimum:
            level, oracle = float(bounded([outcomes.optimum[cell]])[0]), FIXED["oracle"]
            axes.axhline(level, color=oracle.colour, linestyle=oracle.line, linewidth=1, gid="oracle")
        zero_line(axes, "y")
    drawn = [errors for of_cell in found.values() for _, errors in of_cell.values()]
    return error_scale(grid.axes[0], "y", [*drawn, optima])


def _by_step(curves: Sequence[Curve]) -> tuple[Array, Array]:
    steps = curves[0].steps
    for curve in curves[1:]:
        steps = np.intersect1d(steps, curve.steps)
    return steps, np.array([curve.errors[np.isin(curve.steps, steps)] for curve in curves])


def _by_prompts(curves: Sequence[Curve]) -> tuple[Array, Array]:
    """The errors at each exposure at which any seed was measured, within the range that all seeds cover."""
    measured = [curve.prompts[curve.prompts > 0] for curve in curves]
    if not all(map(len, measured)):
        return np.empty(0), np.empty((len(curves), 0))
    places = np.unique(np.concatenate(measured))
    first, last = max(prompts.min() for prompts in measured), min(prompts.max() for prompts in measured)
    places = places[(first <= places) & (places <= last)]
    errors = [[value_at_exposure(curve.prompts, curve.errors, place) for place in places] for curve in curves]
    return places, np.array(errors)


def draw_curve(axes: Axes, xs: Array, errors: Array, variant: str, style: LearnerStyle, *, singles: int) -> None:
    """Draw the mean over seeds with its band. ``singles``: how many lines there would be if each seed had its own.

    What has no colour of its own has a mean only, below the others.
    """
    with np.errstate(invalid="ignore"):
        mean = errors.mean(axis=0)
    axes.plot(
        xs, bounded(mean), color=style.colour, linestyle=style.line, linewidth=style.width, marker=style.marker,
        markersize=4.5, markevery=[-1], clip_on=False, gid=variant, zorder=2.5 if style == OTHER else 4,
    )  # fmt: skip
    if len(errors) > 1 and style != OTHER:
        low, high = bounded(errors.min(axis=0)), bounded(errors.max(axis=0))
        axes.fill_between(xs, low, high, color=style.colour, alpha=0.13, linewidth=0, gid=f"{variant} range")
        if singles <= _MOST_LINES:
            for of_seed in errors:
                axes.plot(
                    xs, bounded(of_seed), color=style.colour, linewidth=0.5, alpha=0.6, gid=f"{variant} seed", zorder=3
                )
