"""Errors of adapted models against the number of steps that they took."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from icl_curriculum.figures.adaptation_by_domain import adaptation_by_domain
from icl_curriculum.figures.categories import several
from icl_curriculum.figures.emphasis import MOST_ENTRIES, OTHER, others_entry
from icl_curriculum.figures.names import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    inputs_label,
    plain,
    pretty,
    shift_label,
)
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    range_label,
    short_count,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results.adaptation import ADAPTED, AdaptedId, only_adapted
from icl_curriculum.results.tables import NothingToDraw, at_last_step, distinct, over_seeds, with_metric

#: More panels are left out: those that adaptation changes least.
MOST_PANELS = 24
#: More lines in a panel cannot be told apart.
MOST_LINES = 8
_CELL = ["function_class", "input_distribution", "shift"]
_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
_LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (2, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
#: The look of what has no entry in the legend.
_GREY = (OTHER.colour, OTHER.line, OTHER.marker)


@dataclass(frozen=True)
class AdaptationLine:
    """Errors of a variant adapted in one way at ``k`` examples: ``errors`` by ``steps``, 0 for the model as it is."""

    variant: str
    options: str
    k: int
    errors: pd.DataFrame

    @property
    def change(self) -> float:
        """The most powers of ten by which a mean over seeds differs from that of the model as it is."""
        means = bounded(self.errors.groupby("steps")["value"].mean())
        return float(np.abs(np.log10(means / means[0])).max())


@dataclass(frozen=True)
class AdaptationPanel:
    """A cell of a class, inputs and a shift, with a line for each way to adapt each variant."""

    function_class: str
    inputs: str
    shift: str
    k: int
    metric: str
    lines: tuple[AdaptationLine, ...]


@styled
@without_empty_decades
def adaptation(evaluation: pd.DataFrame, *, named: Sequence[str] = (), narrow: bool = False) -> Figure:
    """The errors of adapted models against their steps, at the longest trained prompts: a panel per cell.

    ``evaluation``: a table with learners such as ``model/adapted=20``. Step 0 is the model as it is. A line for
    each variant and for all options that are not the number of steps, the mean over seeds, in a band from the least
    to the greatest seed, or of one seed in the interval over prompts. What was not asked at the longest prompts, as
    costly learners may not be, is drawn at its own longest, which its label says. Of more than 24 cells those are
    left out that adaptation changes least. More than 8 lines a panel are drawn by domain instead:
    `adaptation_by_domain`. Of more than 6, those that change most have colours, those of ``named`` variants too,
    and the others are grey. ``narrow``: two panels in a row, without a title, for a page on a telephone. Raises
    NothingToDraw for a table without an adapted model.
    """
    rows = at_last_step(only_adapted(evaluation))
    adapted = rows["learner"].astype(str).str.startswith(ADAPTED)
    if not adapted.any():
        raise NothingToDraw("no adapted model")
    panels, left_out = _chosen(list(_panels(rows, adapted)))
    if max(len(panel.lines) for panel in panels) > MOST_LINES:
        return adaptation_by_domain(rows, named, narrow=narrow)
    keys = list(dict.fromkeys((line.variant, line.options) for panel in panels for line in panel.lines))
    coloured = _coloured(panels, keys, named)
    styles = _styles(coloured) | dict.fromkeys([key for key in keys if key not in coloured], _GREY)
    columns = min(len(panels), 2) if narrow else columns_for(len(panels))
    height = 1.1 if narrow else 2.0 if len(panels) <= columns else 1.4
    grid = PanelGrid.of(len(panels), columns=columns, height=height, width=NARROW if narrow else FULL_WIDTH)
    variants = rows["variant"].nunique() > 1
    drawn = []
    for axes, panel in zip(grid.axes, panels, strict=True):
        zero_line(axes, "y")
        for line in panel.lines:
            drawn.append(_draw(axes, line, panel, styles[line.variant, line.options], named=variants))
        lines = [pretty(panel.function_class)]
        lines += [inputs_label(panel.inputs)] * (len({each.inputs for each in panels}) > 1)
        lines += [shift_label(panel.shift)] * (panel.shift != "none")
        grid.title_panel(axes, *lines)
    note = error_scale(grid.axes[0], "y", drawn)
    grid.axes[0].set_xlim(0, max(float(values.index.max()) for values in drawn))
    grid.axes[0].xaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    grid.axes[0].xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    labels = [error_label(panel.metric) for panel in panels]
    if narrow:  # Panels are too low for two lines.
        labels = [label.split("\n")[0] for label in labels]
    grid.label("adaptation steps", labels)
    ks = sorted({panel.k for panel in panels})
    said = [f"At k = {', '.join(map(str, ks))} in-context examples; 0 steps: the model as it is."]
    seeds = rows["seed"].nunique()
    said += (
        [f"Lines: mean of {seeds} seeds; bands: {range_label(seeds)}."]
        if seeds > 1
        else [f"Bands: {range_label(seeds)}."]
    )
    said += _fewer_prompts(panels)
    said += [f"Left out: {left_out} cells that adaptation changes least."] if left_out else []
    title = None if narrow else "Errors after adaptation at test time"
    return grid.finish(title, None, [*said, *note], others_entry(len(keys) - len(coloured)))


def _coloured(
    panels: Sequence[AdaptationPanel], keys: Sequence[tuple[str, str]], named: Sequence[str]
) -> list[tuple[str, str]]:
    """The variants and options that have colours of their own: those that change most in any panel."""
    changes = dict.fromkeys(keys, 0.0)
    for line in (line for panel in panels for line in panel.lines):
        key = line.variant, line.options
        changes[key] = max(changes[key], 0.0 if math.isnan(line.change) else line.change)
    if len(keys) <= MOST_ENTRIES:
        return list(keys)
    kept = {*sorted(keys, key=lambda key: -changes[key])[: MOST_ENTRIES - 1], *(k for k in keys if k[0] in named)}
    return [key for key in keys if key in kept]


def _fewer_prompts(panels: Sequence[AdaptationPanel]) -> list[str]:
    """A sentence on the ways to adapt that were asked on fewer prompts than the model as it is."""
    fewer: dict[str, set[int]] = {}
    whole: set[int] = set()
    for line in (line for panel in panels for line in panel.lines):
        as_it_is = line.errors["steps"] == 0
        most = int(line.errors.loc[as_it_is, "n_prompts"].max())
        if few := {int(count) for count in line.errors.loc[~as_it_is, "n_prompts"]} - {most}:
            fewer.setdefault(AdaptedId(0, line.options).words, set()).update(few)
            whole.add(most)
    if not fewer:
        return []
    counts = several(count for few in fewer.values() for count in few)
    return [f"On {counts} prompts instead of {several(whole)}: {'; '.join(fewer)}."]


def _panels(rows: pd.DataFrame, adapted: pd.Series[bool]) -> Iterator[AdaptationPanel]:
    inside = rows[rows["in_distribution"].astype(bool)]
    longest = (inside if len(inside) else rows)["n_context"].max()
    parsed = {name: AdaptedId.parse(name) for name in distinct(rows.loc[adapted, "learner"])}
    rows = rows.assign(
        steps=[parsed[name].steps if name in parsed else 0 for name in rows["learner"]],
        options=[parsed[name].options if name in parsed else "" for name in rows["learner"]],
    )
    for key, cell in rows.groupby(_CELL, sort=False, observed=True):
        metric, errors = with_metric(cell)
        found = []
        for variant, options in itertools.product(distinct(errors["variant"]), _options(errors)):
            of_variant = errors[errors["variant"] == variant]
            after = of_variant[(of_variant["steps"] > 0) & (of_variant["options"] == options)]
            within = after[after["n_context"] <= longest]
            k = (within if len(within) else after)["n_context"].max()
            chosen = pd.concat([of_variant[of_variant["steps"] == 0], after])
            chosen = chosen[chosen["n_context"] == k]
            if len(after) and (chosen["steps"] == 0).any():
                found.append(AdaptationLine(str(variant), options, int(k), chosen))
        if found:
            k = max(line.k for line in found)
            yield AdaptationPanel(str(key[0]), str(key[1]), str(key[2]), k, metric, tuple(found))


def _options(errors: pd.DataFrame) -> list[str]:
    return distinct(errors.loc[errors["steps"] > 0, "options"])


def _chosen(panels: Sequence[AdaptationPanel]) -> tuple[list[AdaptationPanel], int]:
    """The panels that are drawn, in their order, and how many are left out. The ones without a shift always are."""
    if not panels:
        raise NothingToDraw("no adapted model beside the model as it is")
    if len(panels) <= MOST_PANELS:
        return list(panels), 0

    def weight(number: int) -> float:
        if panels[number].shift == "none":
            return math.inf
        return max(line.change for line in panels[number].lines)

    kept = sorted(sorted(range(len(panels)), key=weight, reverse=True)[:MOST_PANELS])
    return [panels[number] for number in kept], len(panels) - len(kept)


def _styles(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, object, str]]:
    """A colour, a line and a marker each: colours tell variants apart, or options where there is one variant."""
    variants, options = (list(dict.fromkeys(key[i] for key in keys)) for i in (0, 1))
    found: dict[tuple[str, str], tuple[str, object, str]] = {}
    for variant, option in keys:
        of_variant, of_option = variants.index(variant), options.index(option)
        colour = of_variant if len(variants) > 1 else of_option
        found[variant, option] = (
            _COLOURS[colour % len(_COLOURS)], _LINES[of_option % len(_LINES)], _MARKERS[of_option % len(_MARKERS)]
        )  # fmt: skip
    return found


def _draw(
    axes: Axes, line: AdaptationLine, panel: AdaptationPanel, style: tuple[str, object, str], *, named: bool
) -> pd.DataFrame:
    """Draw a line and its band; ``named``: with the variant in its label. Returns what was drawn, by steps."""
    colour, dashes, marker = style
    summary = over_seeds(line.errors, "steps")
    label = AdaptedId(0, line.options).words
    label = f"{plain(line.variant)}: {label}" if named else label
    label += f" (k = {line.k})" if line.k != panel.k else ""
    gid = f"{line.variant} {line.options}".rstrip()
    other = style == _GREY
    axes.plot(
        summary.index, bounded(summary["mean"]), color=colour, linestyle=dashes,
        linewidth=OTHER.width if other else 1.6,
        marker=marker, markersize=3.5, label=None if other else label, gid=gid, zorder=2.5 if other else 4,
        clip_on=False,
    )  # fmt: skip
    if other:
        return summary
    low, high = (bounded(summary[end].fillna(summary["mean"])) for end in ("low", "high"))
    axes.fill_between(
        summary.index, low, high, color=colour, alpha=0.15, linewidth=0, gid=f"{gid} range", zorder=2,
    )  # fmt: skip
    return summary
