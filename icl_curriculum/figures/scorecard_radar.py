"""The profile of every learner over the axes of the scorecard, with the best score of any learner behind it."""

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
from numpy.typing import NDArray

from icl_curriculum.figures.lettering import TEXT, wrapped
from icl_curriculum.figures.names import BLUE, plain
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, styled
from icl_curriculum.results.scorecard.answer import (
    A_SCORE,
    LearnerScores,
    best_on,
    learner_scores,
    seeds_in_words,
    with_score_interval,
)
from icl_curriculum.results.scorecard.axes import AXES
from icl_curriculum.results.tables import NothingToDraw

#: More learners are not drawn: the first of the table are.
MOST_PANELS = 8
#: Panels in a row: titles of axes take much of the width.
_COLUMNS = 3
#: Inches: of the greatest score, of a panel, and of the title of an axis.
_RADIUS, _HEIGHT, _TITLE = 0.55, 1.82, 0.6
_RINGS = (0.25, 0.5, 0.75, 1.0)
#: The colours of trained models and of baselines, of the best of all, and of what lies behind.
LOOKS = {"model": BLUE, "baseline": "#4A4A4A"}
BEST, _BEHIND, _QUIET = "#9C9C9C", "#DADADA", "#767676"
_BEST_LINE = (0, (3, 1.4))


@styled
def scorecard_radar(card: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """A panel per learner: its scores on the axes as a filled shape, from 0 in the centre to 1 at the edge.

    ``card``: scorecard.csv. Behind each stands the best score of any ranked learner on each axis, the same in all
    panels. The first eight learners of the table are drawn, the highest mean first; the note counts the others. An
    axis that a learner lacks is a gap, with a dash at its title. ``narrow``: one panel in a row and without a title,
    for a page on a telephone. Raises NothingToDraw without a score on an axis.
    """
    every = [learner for learner in learner_scores(card) if learner.over_seeds.keys() & AXES.keys()]
    if not every:
        raise NothingToDraw("no scores of a learner on an axis")
    learners = every[:MOST_PANELS]
    best = _values({axis: found.over_seeds[axis].value for axis in AXES if (found := best_on(every, axis)) is not None})
    columns = 1 if narrow else min(len(learners), _COLUMNS)
    width = NARROW if narrow else FULL_WIDTH * max(columns, 2) / _COLUMNS
    grid = PanelGrid.of(len(learners), columns=columns, height=_HEIGHT, left=0.0, width=width)
    for number, (axes, learner) in enumerate(zip(grid.axes, learners, strict=True)):
        _draw_ground(axes, learner, rings_named=number == 0)
        _outline(axes, best, color=BEST, linewidth=1.3, linestyle=_BEST_LINE, gid="best", zorder=3)
        _draw(axes, learner)
        grid.title_panel(axes, plain(learner.name) + " (baseline)" * (learner.kind != "model"), _mean_in_words(learner))
    grid.label("", [""] * len(learners))
    title = None if narrow else "Scorecard: the profile of each learner"
    return grid.finish(title, None, _said(learners, len(every)), _legend(learners, best))


def _values(scores: Mapping[str, float]) -> NDArray[np.float64]:
    """A score for every axis, NaN where there is none."""
    return np.array([scores.get(axis, math.nan) for axis in AXES])


def _places(radii: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Points at these distances from the centre, the first axis upwards and the others clockwise: (axes, 2)."""
    angles = np.linspace(0, 2 * np.pi, len(AXES), endpoint=False)
    return np.column_stack([radii * np.sin(angles), radii * np.cos(angles)])


def _draw_ground(axes: Axes, learner: LearnerScores, *, rings_named: bool) -> None:
    """Draw rings, spokes and the titles of axes, and take away what a plain panel has."""
    # A text of its own length in y and x, so that rings are round; titles of axes stand beyond the panel.
    axes.set(xlim=(-_HEIGHT / 2 / _RADIUS, _HEIGHT / 2 / _RADIUS), ylim=(-_HEIGHT / 2 / _RADIUS, _HEIGHT / 2 / _RADIUS))
    axes.set_aspect("equal", adjustable="box")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([0], [""])
    axes.set_yticks([0], [""])
    axes.tick_params(length=0)
    turn = np.linspace(0, 2 * np.pi, 181)
    for ring in _RINGS:
        axes.plot(ring * np.sin(turn), ring * np.cos(turn), color=_BEHIND, linewidth=0.6, zorder=1)
        if rings_named:
            # Straight below the centre no axis runs, as their number is odd.
            axes.text(
                0, -ring, f"{ring:g}".lstrip("0"), ha="center", va="center", color=_QUIET, zorder=6,
                gid=f"ring {ring:g}",
                bbox={"facecolor": "white", "alpha": 0.75, "linewidth": 0, "boxstyle": "square,pad=0"},
            )  # fmt: skip
    for (name, axis), (x, y) in zip(AXES.items(), _places(1.0), strict=True):
        there = name in learner.over_seeds
        axes.plot([0, x], [0, y], color=_BEHIND, linewidth=0.6, zorder=1,
                  linestyle="-" if there else (0, (2, 2)))  # fmt: skip
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        up = "bottom" if y > 0.8 else "top" if y < -0.8 else "center"
        text = wrapped(axis.title, _TITLE, TEXT)
        if not there:
            lines = text.split("\n")
            # Where it makes the title no wider.
            lines[int(np.argmin([len(line) for line in lines]))] += " —"
            text = "\n".join(lines)
        axes.text(1.1 * x, 1.1 * y, text, ha=side, va=up, color="black" if there else _QUIET, linespacing=1.0,
                  gid=f"axis {name}")  # fmt: skip


def _stretches(values: NDArray[np.float64]) -> list[list[int]]:
    """The axes that have a score, in stretches that no gap divides; the last axis is followed by the first."""
    there = [int(i) for i in np.flatnonzero(~np.isnan(values))]
    found: list[list[int]] = []
    for i in there:
        if found and found[-1][-1] == i - 1:
            found[-1].append(i)
        else:
            found.append([i])
    if len(found) > 1 and found[0][0] == 0 and found[-1][-1] == len(values) - 1:
        found[0] = [*found.pop(), *found[0]]
    return found


def _outline(axes: Axes, values: NDArray[np.float64], **look: object) -> None:
    """Join the scores of neighbouring axes, leaving out gaps."""
    places = _places(values)
    for stretch in _stretches(values):
        closed = [*stretch, stretch[0]] if len(stretch) == len(values) else stretch
        axes.plot(*places[closed].T, solid_joinstyle="round", **look)  # type: ignore[arg-type]


def _draw(axes: Axes, learner: LearnerScores) -> None:
    """Fill the shape of a learner's scores, from the centre where it has gaps, and mark each score."""
    values = _values({axis: made.value for axis, made in learner.over_seeds.items()})
    colour, places = LOOKS[learner.kind], _places(values)
    for stretch in _stretches(values):
        corners = places[stretch] if len(stretch) == len(values) else np.vstack([places[stretch], [0.0, 0.0]])
        axes.fill(
            *corners.T, facecolor=colour, alpha=0.22, linewidth=0, gid=f"{learner.name} area", zorder=2,
        )  # fmt: skip
    line = "-" if learner.ranked else (0, (1.2, 0.9))
    _outline(axes, values, color=colour, linewidth=1.4, linestyle=line, gid=learner.name, zorder=4)
    axes.plot(
        *places.T, linestyle="none", marker="o", markersize=2.8, color=colour,
        markerfacecolor=colour if learner.ranked else "white", gid=f"{learner.name} scores", zorder=5,
    )  # fmt: skip


def _mean_in_words(learner: LearnerScores) -> str:
    mean = "mean —" if learner.mean is None else with_score_interval(learner.mean)
    return mean if learner.ranked else f"{mean}, not ranked"


def _said(learners: Sequence[LearnerScores], of: int) -> list[str]:
    said = [f"Score: {A_SCORE}. Above each its mean score. {seeds_in_words(learners)}"]
    if any(not learner.ranked for learner in learners):
        said.append("Dotted and hollow: broke a rule, and is not ranked.")
    if any(axis not in learner.over_seeds for learner in learners for axis in AXES):
        said.append("—: not measured, and left open.")
    if left_out := of - len(learners):
        said.append(f"Left out: {left_out} of {of} learners of scorecard.csv, the last of its order.")
    return said


def _legend(learners: Sequence[LearnerScores], best: NDArray[np.float64]) -> dict[str, Artist]:
    kinds = {learner.kind for learner in learners}
    names = {"model": "trained model", "baseline": "baseline"}
    made: dict[str, Artist] = {
        name: Patch(facecolor=(LOOKS[kind], 0.22), edgecolor=LOOKS[kind], linewidth=1.4)
        for kind, name in names.items() if kind in kinds
    }  # fmt: skip
    if not np.isnan(best).all():
        label = "best score of any ranked learner on each axis"
        made[label] = Line2D([], [], color=BEST, linewidth=1.3, linestyle=_BEST_LINE)
    return made
