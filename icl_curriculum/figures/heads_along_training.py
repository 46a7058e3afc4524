"""How heads and errors change along training: scores of kept weights below the learning curves of the same run."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from icl_curriculum.figures.emphasis import MOST_ENTRIES
from icl_curriculum.figures.heads import SCORES
from icl_curriculum.figures.learning import class_colours
from icl_curriculum.figures.names import BLUE, GREEN, GREY, PURPLE, pretty
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.scales import (
    bounded,
    count_scale,
    error_label,
    error_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results.statistics.curves import PLATEAU, plateau_end
from icl_curriculum.results.tables import NothingToDraw, distinct, on_own_prompts, with_metric

#: The heads that have a line of their own, those of the highest score at the end; all others are grey.
_NAMED = ((BLUE, "-"), (GREEN, "--"), (PURPLE, ":"))

#: Colours of classes are of one lightness, so lines tell them apart in grey.
_CLASS_LINES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (5, 1.2, 1, 1.2)), (0, (1.2, 0.9)), (0, (3, 1)))


@styled
@without_empty_decades
def heads_along_training(
    heads: pd.DataFrame, learning: pd.DataFrame, curriculum: pd.DataFrame, *, score: str = "retrospective"
) -> Figure:
    """Errors of one run by step at the longest prompts, and below them the scores of its heads by step.

    Errors under shifts, which ``learning`` may hold, are left out. A dotted line marks where the error of each class
    leaves its plateau. Scores are means over the cells in the table. Raises NothingToDraw for scores of one step.
    """
    rows = heads[heads["score"] == score]
    if rows["step"].nunique() < 2:
        raise NothingToDraw("scores of one step")
    grid = PanelGrid.of(2, columns=1, height=1.6, shared_rows=False, left=0.8)
    above, below = grid.axes
    # Before the longest prompts are looked for, which may be those of a shift.
    plain = on_own_prompts(learning, curriculum)
    longest = plain[plain["n_context"] == plain["n_context"].max()]
    colours = class_colours(longest)
    drawn, metric = [], ""
    zero_line(above, "y")
    for number, name in enumerate(distinct(longest["function_class"])):
        metric, own = with_metric(longest[longest["function_class"] == name])
        means = own.groupby("step")["value"].mean()
        drawn.append(means.to_numpy())
        line = _CLASS_LINES[number % len(_CLASS_LINES)]
        above.plot(
            means.index, bounded(means), color=colours[name], linestyle=line, label=pretty(name), gid=name
        )  # fmt: skip
        end = plateau_end(means.index, means)
        if math.isfinite(end):
            above.axvline(end, color=colours[name], linestyle=":", linewidth=1)
    note = error_scale(above, "y", drawn)
    by_head = rows.pivot_table(index="step", columns=["layer", "head"], values="value")
    # The legend has room for the classes, the other heads, and as many as are left of six entries.
    room = max(1, min(len(_NAMED), MOST_ENTRIES - len(drawn) - 1))
    named = by_head.iloc[-1].sort_values(ascending=False, kind="stable").index[:room]
    for head in by_head.columns.difference(named):
        below.plot(by_head.index, by_head[head], color=GREY, linewidth=0.6, alpha=0.7, label="other heads")
    for head, (colour, line) in zip(named, _NAMED, strict=False):
        label = f"head {'.'.join(map(str, head))}"
        below.plot(by_head.index, by_head[head], line, color=colour, marker="o", markersize=3, label=label, gid=label)
    below.set_ylim(-0.02, 1.02)
    above.set_xlim(0, max(by_head.index.max(), longest["step"].max()))
    count_scale(above.xaxis, 6)
    grid.label("training step", [error_label(metric), f"{score}\nscore".replace("_", " ")])
    said = f"Below: mean attention from {SCORES[score]}, layer.head counted from 1. "
    said += f"Dotted lines: where the error of a class comes below {PLATEAU:g}."
    return grid.finish("Heads and errors along training", None, [said, *note])
