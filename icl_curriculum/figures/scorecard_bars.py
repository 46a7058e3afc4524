"""The scorecard: the score of every learner on each axis of the benchmark, with its interval and its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.lettering import TEXT, text_height
from icl_curriculum.figures.names import BLACK, BLUE, plain
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, styled
from icl_curriculum.figures.variants import label_rows, row_labels
from icl_curriculum.results.comparison.shown import MOST_SHOWN
from icl_curriculum.results.scorecard.answer import A_SCORE, TITLES, LearnerScores, learner_scores, seeds_in_words
from icl_curriculum.results.statistics.seeds import CONFIDENCE
from icl_curriculum.results.tables import NothingToDraw

#: Inches of a row, and of the names of learners.
_ROW, _LEFT = 0.165, 1.1
#: Panels in a row, on a page and on a telephone.
_COLUMNS, _COLUMNS_NARROW = 6, 3
#: Within a row, the seeds stand above, their mean with its interval below.
_SEEDS, _MEAN = -0.24, 0.1
#: The looks of trained models and of baselines: colour and marker.
LOOKS = {"model": (BLUE, "o"), "baseline": ("#6E6E6E", "s")}
_QUIET = "#555555"


@dataclass(frozen=True)
class ScorePanel:
    """A panel: its title, and of each row the learner, the axis and what the row is called."""

    title: str
    rows: list[tuple[str, LearnerScores, str]]


@styled
def scorecard(card: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """The scores of every learner on every axis: a panel for the mean and for each axis, a row per learner.

    ``card``: scorecard.csv. Learners stand in its order, the highest mean first; those that broke a rule, which come
    last, are hollow. Whiskers are 90% intervals over seeds, small dots the seeds; an axis that a learner lacks says
    so. Of a single learner, the axes are the rows of one panel. Of more than 30 learners the first are drawn.
    ``narrow``: as wide as a telephone, and without a title. Raises NothingToDraw without rows.
    """
    every = learner_scores(card)
    if not every:
        raise NothingToDraw("no scores of a learner")
    learners = every[:MOST_SHOWN]
    panels = list(_panels(learners))
    names = [name for name, _, _ in panels[0].rows]
    columns = min(len(panels), _COLUMNS_NARROW if narrow else _COLUMNS)
    width = NARROW if narrow else FULL_WIDTH if columns > 1 else None
    height = len(names) * max(_ROW, *(text_height(label, TEXT) + 0.03 for label in row_labels(names)))
    grid = PanelGrid.of(len(panels), columns=columns, height=max(height, 0.35), left=_LEFT, width=width)
    for axes, panel in zip(grid.axes, panels, strict=True):
        label_rows(axes, names, len(names))
        for place, (_, learner, axis) in enumerate(panel.rows):
            _draw(axes, learner, axis, place)
        grid.title_panel(axes, panel.title)
    # A marker at either end is whole.
    grid.axes[0].set_xlim(-0.06, 1.06)
    grid.axes[0].set_xticks([0, 0.5, 1], ["0", ".5", "1"])
    grid.label("score", [""] * len(panels))
    title = None if narrow else "Scorecard: share of the attainable skill"
    return grid.finish(title, None, _said(learners, len(every)), _legend(learners))


def _panels(learners: Sequence[LearnerScores]) -> Iterator[ScorePanel]:
    if len(learners) == 1:
        (only,) = learners
        yield ScorePanel(plain(only.name), [(title, only, axis) for axis, title in TITLES.items()])
        return
    for axis, title in TITLES.items():
        yield ScorePanel(title, [(learner.name, learner, axis) for learner in learners])


def _draw(axes: Axes, learner: LearnerScores, axis: str, row: int) -> None:
    """Draw a score with its interval and its seeds; a dash where the learner lacks the axis."""
    gid = f"{learner.name} {axis}"
    colour, marker = LOOKS[learner.kind]
    made = learner.over_seeds.get(axis)
    if made is None:
        axes.text(0.5, row, "—", ha="center", va="center", color=_QUIET, gid=f"{gid} missing")
        return
    seeds = learner.of_seeds.get(axis, np.empty(0))
    several = len(seeds) > 1
    if several:
        axes.plot(
            seeds, np.full(len(seeds), row + _SEEDS), linestyle="none", marker="o", markersize=2.2, color=colour,
            alpha=0.7, markeredgewidth=0, gid=f"{gid} seeds", zorder=3,
        )  # fmt: skip
    height = row + (_MEAN if several else 0)
    if not math.isnan(made.low):
        # No score lies beyond 0 or 1.
        ends = np.clip([made.low, made.high], 0, 1)
        axes.plot(ends, [height] * 2, color=colour, linewidth=1.2, marker="|", markersize=3.5,
                  gid=f"{gid} interval", zorder=3)  # fmt: skip
    axes.plot(
        [made.value], [height], linestyle="none", marker=marker, markersize=4, color=colour,
        markerfacecolor=colour if learner.ranked else "white", gid=gid, zorder=4,
    )  # fmt: skip


def _said(learners: Sequence[LearnerScores], of: int) -> list[str]:
    """The note: what a score is, what it is taken over, who broke a rule, and what is missing."""
    said = [f"Score: {A_SCORE}. {seeds_in_words(learners)}"]
    if broken := [learner for learner in learners if not learner.ranked]:
        said.append(f"Hollow, and not ranked: {'; '.join(map(_why_broken, broken))}.")
    lacking = any(axis not in learner.over_seeds for learner in learners for axis in TITLES)
    said += ["—: not measured."] * lacking
    if left_out := of - len(learners):
        said.append(f"Left out: {left_out} of {of} learners of scorecard.csv, the last of its order.")
    return said


def _why_broken(learner: LearnerScores) -> str:
    return plain(f"{learner.name} ({learner.remark})" if learner.remark else learner.name)


def _legend(learners: Sequence[LearnerScores]) -> dict[str, Artist]:
    kinds = {learner.kind for learner in learners}
    made: dict[str, Artist] = {}
    for kind, name in (("model", "trained model"), ("baseline", "baseline")):
        if kind in kinds:
            colour, marker = LOOKS[kind]
            made[name] = Line2D([], [], linestyle="none", color=colour, marker=marker, markersize=4)
    if any(not learner.ranked for learner in learners):
        made["broke a rule"] = Line2D(
            [], [], linestyle="none", color=BLACK, marker="o", markersize=4, markerfacecolor="white"
        )
    every = [(learner, axis, made_) for learner in learners for axis, made_ in learner.over_seeds.items()]
    if any(len(learner.of_seeds.get(axis, ())) > 1 for learner, axis, _ in every):
        made["one seed"] = Line2D([], [], linestyle="none", color=BLACK, marker="o", markersize=2.2, alpha=0.7)
    if any(not math.isnan(estimate.low) for _, _, estimate in every):
        made[f"{CONFIDENCE:.0%} interval"] = Line2D([], [], color=BLACK, marker="|", markersize=3.5, linewidth=1.2)
    return made
