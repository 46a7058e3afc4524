"""How training methods carry over: the error of every variant on seen cells, unseen classes and unseen inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.emphasis import OTHER, emphasised, others_entry
from icl_curriculum.figures.names import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, styled
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variants import label_rows, row_height
from icl_curriculum.results.shown_metric import metric_titles
from icl_curriculum.results.statistics.seeds import CONFIDENCE
from icl_curriculum.results.tables import NothingToDraw, distinct
from icl_curriculum.results.transfer.row import DOMAINS
from icl_curriculum.results.transfer.sheets import DOMAIN_LABELS, adaptation_label, data_label, of_most_steps

#: Inches of a row, and of the names of variants.
_ROW, _LEFT = 0.2, 1.1
#: The looks of the adaptations, the model as it was trained first, and of those that have no entry in the legend.
_LOOKS = tuple(zip((BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY), "oDs^vP", strict=True))
_GREY = (OTHER.colour, OTHER.marker)


@styled
@without_empty_decades
def transfer(table: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """The error of every variant on what it was trained on, on unseen classes and on unseen inputs: transfer.csv.

    A panel per domain, a row per variant with its interquartile mean and interval, adapted models below unadapted
    ones; variants trained on the same limited data have panels of their own below. Cells of infinite mean have
    panels of their own, too. Of adaptations that differ in steps alone only the longest is drawn; of more than six
    the model as it was trained and those of the lowest errors have colours, and the others are grey. ``narrow``:
    one panel in a row, without a title, for a page on a telephone. Raises NothingToDraw without rows.
    """
    alone = table[table["comparison"] == "none"]
    if alone.empty:
        raise NothingToDraw("no errors in any domain")
    every = len(distinct(alone["adaptation"]))
    alone = of_most_steps(alone)
    looks = _looks(alone)
    fixed = sorted(alone["fixed_prompts"].unique(), key=lambda n: -math.inf if math.isnan(n) else -n)
    blocks = [_panels(alone[alone["fixed_prompts"].isna() if math.isnan(n) else alone["fixed_prompts"] == n])
              for n in fixed]  # fmt: skip
    names = [distinct(block[0]["variant"]) for block in blocks]
    counts = [max(len(distinct(panel["variant"])) for panel in block) for block in blocks]
    height = row_height(names, max(_ROW, 0.13 * len(looks) + 0.06))
    grid = PanelGrid.of(
        list(map(len, blocks)), columns=1 if narrow else max(map(len, blocks)), left=_LEFT,
        height=[height * count for count in counts], width=NARROW if narrow else FULL_WIDTH,
    )  # fmt: skip
    places = [(block, panel) for block, own in enumerate(blocks) for panel in own]
    for axes, (block, panel) in zip(grid.axes, places, strict=True):
        variants = distinct(pd.concat(blocks[block])["variant"])
        label_rows(axes, variants, counts[block])
        zero_line(axes, "x")
        _draw(axes, panel, variants, looks)
        first = panel.iloc[0]
        other = [] if first["metric"] == "normalized_error" else [f"({metric_titles()[first['metric']]})"]
        grid.title_panel(axes, *filter(None, [DOMAIN_LABELS[first["domain"]], *other,
                                              data_label(float(first["fixed_prompts"]))]))  # fmt: skip
    errors, lows, highs = (alone[name].to_numpy(dtype=np.float64) for name in ("error", "ci_low", "ci_high"))
    # The axis need not hold an end near zero, which may lie anywhere in the logarithm.
    # Of one seed there is none.
    ends = np.where(np.isnan(lows), errors, np.fmax(lows, errors / 5))
    note = error_scale(grid.axes[0], "x", [errors, highs, ends], across=4)
    note += ["An interval at the left edge goes on beyond it."] * bool((lows < grid.axes[0].get_xlim()[0]).any())
    fewer = ["Adaptations of fewer steps are left out."] * (len(looks) < every)
    grid.label(error_label("normalized_error"), [""] * len(places))
    title = None if narrow else "How training methods carry over"
    return grid.finish(title, None, [_said(alone), *fewer, *note], _legend(looks))


def _looks(alone: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each adaptation."""
    names = distinct(alone["adaptation"])
    means = alone.groupby("adaptation", observed=True)["error"].median()
    kept = emphasised(sorted(names, key=lambda name: float(means[name])), first=["unadapted"])
    coloured = dict(zip([name for name in names if name in kept], _LOOKS, strict=False))
    return {name: coloured.get(name, _GREY) for name in names}


def _panels(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each panel of a block: by domain, then metric."""
    pairs = [(domain, metric) for domain in DOMAINS for metric in metric_titles()]
    found = (rows[(rows["domain"] == domain) & (rows["metric"] == metric)] for domain, metric in pairs)
    return [panel for panel in found if len(panel)]


def _draw(axes: Axes, panel: pd.DataFrame, variants: Sequence[str], looks: dict[str, tuple[str, str]]) -> None:
    """Draw the interquartile means with their intervals, the adaptations of a variant below each other."""
    step = 0.7 / max(len(looks), 2)
    for number, (adaptation, (colour, marker)) in enumerate(looks.items()):
        own = panel[panel["adaptation"] == adaptation]
        heights = [variants.index(str(name)) + (number - (len(looks) - 1) / 2) * step for name in own["variant"]]
        # An end below zero lies beyond a logarithmic axis.
        lows = np.maximum(own["ci_low"].to_numpy(dtype=np.float64), np.finfo(float).tiny)
        ends = np.column_stack([lows, own["ci_high"].to_numpy(dtype=np.float64), np.full(len(own), np.nan)])
        axes.plot(
            ends.ravel(), np.repeat(heights, 3), color=colour, linewidth=1.3, gid=f"{adaptation} intervals", zorder=3
        )
        axes.plot(
            bounded(own["error"]), heights, linestyle="none", marker=marker, markersize=4, color=colour,
            gid=adaptation, clip_on=False, zorder=4,
        )  # fmt: skip


def _said(alone: pd.DataFrame) -> str:
    k, seeds = several(alone["n_context"]), several(alone["n_seeds"])
    plural = "seed" if seeds == "1" else "seeds"
    return (
        f"Interquartile mean of the error over cells and {seeds} {plural}, with its {CONFIDENCE:.0%} interval; at "
        f"k = {k} in-context examples."
    )


def _legend(looks: dict[str, tuple[str, str]]) -> dict[str, Artist]:
    handles: dict[str, Artist] = {
        adaptation_label(name): Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.3)
        for name, (colour, marker) in looks.items()
        if (colour, marker) != _GREY
    }
    handles |= others_entry(len(looks) - len(handles))
    return handles
