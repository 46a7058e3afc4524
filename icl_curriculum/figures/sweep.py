"""Error against a swept parameter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.choosing import choose
from icl_curriculum.figures.curves import ModelCurves, draw_model, draw_reference
from icl_curriculum.figures.lettering import TEXT, text_width
from icl_curriculum.figures.names import (
    FIXED,
    ZERO,
    LearnerStyle,
    inputs_label,
    learner_label,
    learner_styles,
    plain,
    pretty,
    styles_apart,
)
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, styled
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    range_label,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variants import variant_styles
from icl_curriculum.results.comparison.sources import MODEL, Cell, cells_of, in_cell
from icl_curriculum.results.swept import SweepAxis, sweep_axis
from icl_curriculum.results.tables import NothingToDraw, distinct, final, over_seeds, with_metric

#: Up to so many lines of models are drawn; of more, so many that are evenly spread over them.
MOST_LINES = 8
#: Panels in a row, and in all.
_ACROSS, _PANELS = 4, 8
#: Inches between labels of values.
_GAP = 0.08
#: Values from which on numbers are spaced by their ratios where these are all alike, rather than their differences.
_WIDE = 8.0


@dataclass(frozen=True)
class SweepPanel:
    """Errors in a cell at ``k`` examples: of models with the columns ``x`` and ``line``, and of others by ``x``."""

    cell: Cell
    k: int
    metric: str
    models: pd.DataFrame
    curves: dict[str, pd.Series]
    shown: list[str]


@styled
def error_by_parameter(evaluation: pd.DataFrame, sweep: pd.DataFrame, *, narrow: bool = False) -> Figure:
    """Error of the models by the value of a swept parameter: a panel per class, at one or a few prompt lengths.

    ``sweep``: the table of swept values. Of several parameters, the one with the most numbers is that of the axis, and
    the values of the others, like the entries of ``[variants]``, have a line each. Numbers whose ratios are alike
    stand on a logarithmic axis, and values that are no numbers beside each other. The best baselines and the oracle are
    lines to read the errors against. ``narrow``: two panels in a row and no title, for a page on a telephone.

    Raises NothingToDraw where no parameter has two values that models were asked at in one cell.
    """
    axis = sweep_axis(sweep)
    panels = [] if axis is None else _panels(evaluation, axis)
    if axis is None or not panels:
        raise NothingToDraw("no errors of models with two values of a swept parameter")
    lines = distinct(pd.concat([panel.models["line"] for panel in panels]))
    kept = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).astype(int))]
    panels = [replace(panel, models=panel.models[panel.models["line"].isin(kept)]) for panel in panels]
    with without_empty_decades(_values(panels)):
        return _drawn(evaluation, axis, panels, kept, len(lines), narrow)


def _drawn(
    evaluation: pd.DataFrame, axis: SweepAxis, panels: Sequence[SweepPanel], lines: Sequence[str], of: int, narrow: bool
) -> Figure:
    grid = _grid(panels, axis, narrow)
    baselines = [name for panel in panels for name in panel.shown if name not in FIXED]
    styles = styles_apart(learner_styles(evaluation), dict.fromkeys(baselines), [MODEL])
    of_lines = {lines[0]: styles[MODEL]} if len(lines) == 1 else variant_styles(lines)
    for axes, panel in zip(grid.axes, panels, strict=True):
        zero_line(axes, "y")
        for learner in panel.shown:
            _draw_reference(axes, panel.curves[learner], styles[learner], learner, axis)
        for number, line in enumerate(lines):
            own = panel.models[panel.models["line"] == line]
            model = ModelCurves(MODEL, name=line)
            if own.empty:
                continue
            if axis.is_numeric:
                draw_model(axes, own, "x", of_lines[line], model, marker=of_lines[line].marker)
            else:
                shift = (number - (len(lines) - 1) / 2) * min(0.18, 0.7 / len(lines))
                _draw_points(axes, own, of_lines[line], model, shift)
    note = _notes(axis, panels, len(lines), of)
    note += error_scale(grid.axes[0], "y", _values(panels))
    _scale(grid, axis)
    _title(grid, panels)
    labels = [error_label(panel.metric) for panel in panels]
    grid.label(plain(axis.words), [label.split("\n")[0] for label in labels] if narrow else labels)
    return grid.finish(None if narrow else f"Error by {plain(axis.words)}", None, [] if narrow else note)


def _panels(evaluation: pd.DataFrame, axis: SweepAxis) -> list[SweepPanel]:
    """The panels with errors at two values or more: of every cell the longest common prompts, of few cells others."""
    rows = final(evaluation)
    rows = rows[(rows["shift"] == "none") & ((rows["learner_kind"] != "model") | (rows["learner"] == MODEL))]
    names = rows["variant"].astype(object).where(rows["variant"].notna(), "")
    rows = rows.assign(
        x=names.map(lambda name: axis.places.get(axis.value_of.get(name, ""), math.nan)),
        line=names.map(lambda name: axis.line_of.get(name, "")),
    )
    cells = [cell for cell in cells_of(rows) if _models(in_cell(rows, cell))["x"].nunique() > 1]
    found = []
    for cell in cells[:_PANELS]:
        own = in_cell(rows, cell)
        for k in _lengths(_models(own), len(cells) if axis.is_numeric else len(cells) + 1):
            metric, errors = with_metric(own[own["n_context"] == k])
            models = _models(errors)
            if models["x"].nunique() > 1:
                curves = _references(errors, sorted(set(models["x"])))
                oracles = [name for name in curves if name in FIXED]
                shown = [name for name in choose(curves, oracles, None).shown if name != ZERO]
                found.append(SweepPanel(cell, k, metric, models, curves, shown))
    return found


def _models(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[(rows["learner_kind"] == "model") & rows["x"].notna()]


def _lengths(models: pd.DataFrame, cells: int) -> list[int]:
    """The prompt lengths to show: the longest that all values have, before it those of a quarter and a half of it."""
    of_values = [set(own["n_context"]) for _, own in models.groupby("x")]
    common = sorted(int(k) for k in set.intersection(*of_values) if k > 0) or [0]
    longest = common[-1]
    wanted = {1: (longest // 4, longest // 2), 2: (longest // 4,)}.get(cells, ()) if longest >= 4 else ()
    return sorted({k for k in wanted if k in common} | {longest})


def _references(errors: pd.DataFrame, xs: Sequence[float]) -> dict[str, pd.Series]:
    """The errors of learners that do not train, by the value; one that stands once is the same at all of them."""
    found = {}
    others = errors[errors["learner_kind"] != "model"]
    for learner in distinct(others["learner"]):
        own = others[others["learner"] == learner]
        of_values = own[own["x"].notna()].groupby("x")["value"].mean()
        found[learner] = of_values if len(of_values) else pd.Series(float(own["value"].mean()), index=list(xs))
    return found


def _grid(panels: Sequence[SweepPanel], axis: SweepAxis, narrow: bool) -> PanelGrid:
    """Panels beside each other, as many as leave room for the labels of values that are no numbers."""
    most = 2 if narrow else _ACROSS
    if not axis.is_numeric:
        labels = len(axis.places) * _slot([pretty(value) for value in axis.places])
        most = max(1, min(most, int(((NARROW if narrow else FULL_WIDTH) - 0.65) / (labels + 0.2))))
    columns = min(len(panels), most)
    if narrow:
        return PanelGrid.of(len(panels), columns=columns, height=0.95, width=NARROW)
    return PanelGrid.of(
        len(panels), columns=columns, height=1.7 if columns > 1 else 2.2,
        width=FULL_WIDTH if columns > 1 or not axis.is_numeric else None,
    )  # fmt: skip


def _values(panels: Sequence[SweepPanel]) -> list[pd.Series]:
    return [*(panel.models["value"] for panel in panels), *(p.curves[name] for p in panels for name in p.shown)]


def _draw_reference(axes: Axes, curve: pd.Series, style: LearnerStyle, learner: str, axis: SweepAxis) -> None:
    """Draw a learner that does not train: right across the panel where its error is one, else from value to value."""
    values = bounded(curve)
    look = {"color": style.colour, "linestyle": style.line, "linewidth": style.width}
    if np.allclose(values, values[0], rtol=1e-6, equal_nan=True):
        axes.axhline(float(values[0]), label=learner_label(learner), gid=learner, **look)
    elif axis.is_numeric:
        draw_reference(axes, curve, style, learner)
    else:
        places = np.asarray(curve.index, dtype=np.float64)
        axes.hlines(values, places - 0.4, places + 0.4, label=learner_label(learner), gid=learner, **look)


def _draw_points(axes: Axes, errors: pd.DataFrame, style: LearnerStyle, model: ModelCurves, shift: float) -> None:
    """Draw means with their ranges, and single seeds, of values that no line joins."""
    seeds = errors["seed"].nunique()
    summary = over_seeds(errors, "x")
    places = np.asarray(summary.index, dtype=np.float64) + shift
    low, high = bounded(summary["low"]), bounded(summary["high"])
    axes.vlines(
        places, low, high, color=style.colour, linewidth=1.2, label=range_label(seeds), gid=f"{model.gid} range"
    )
    axes.plot(
        places, bounded(summary["mean"]), color=style.colour, linestyle="none", marker=style.marker, markersize=5,
        label=learner_label(model.learner, seeds, model.name), gid=model.gid, zorder=4,
    )  # fmt: skip
    if seeds > 1:
        axes.plot(
            errors["x"] + shift, bounded(errors["value"]), color=style.colour, linestyle="none", marker="_",
            markersize=5, alpha=0.7, label="one seed", gid=f"{model.gid} seed", zorder=3,
        )  # fmt: skip


def is_geometric(values: Sequence[float]) -> bool:
    """Whether numbers belong on a logarithmic axis: their ratios are more alike than their differences.

    >>> is_geometric([8, 16, 32]), is_geometric([1, 2, 3]), is_geometric([1e-4, 1e-2]), is_geometric([0, 1, 10])
    (True, False, True, False)
    """
    if len(values) < 2 or min(values) <= 0:
        return False
    if len(values) == 2:
        return max(values) / min(values) >= _WIDE
    gaps = np.diff(sorted(values))
    ratios = np.diff(np.log(sorted(values)))
    return bool(ratios.std() / ratios.mean() < gaps.std() / gaps.mean() - 1e-9)


def _scale(grid: PanelGrid, axis: SweepAxis) -> None:
    """Set the axis of the values, which all panels share, with a tick at each of them for which there is room."""
    axes = grid.axes[0]
    values = sorted(axis.places.values())
    low, high = values[0], values[-1]
    geometric = axis.is_numeric and is_geometric(values)
    if geometric:
        room = (high / low) ** 0.06
        axes.set(xscale="log", xlim=(low / room, high * room))
    else:
        room = 0.06 * (high - low) if axis.is_numeric else 0.5
        axes.set_xlim(low - room, high + room)
    inches = (grid.figure.get_figwidth() - grid.left) / grid.columns - 0.2
    if axis.is_numeric:
        over = np.log(values) if geometric else np.asarray(values)
        places = (over - over[0]) / (over[-1] - over[0]) * inches / 1.12
        shown = _apart(values, [f"{value:.4g}" for value in values], list(places))
    else:
        shown = {place: pretty(value) for value, place in axis.places.items()}
        slot = inches / len(values)
        if _slot(list(shown.values())) > slot:
            shown = {place: _cut(label, slot - _GAP) for place, label in shown.items()}
    axes.xaxis.set_major_locator(FixedLocator(list(shown)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(shown.values())))
    axes.xaxis.set_minor_locator(NullLocator())


def _slot(labels: Sequence[str]) -> float:
    """The inches from one label to the next that keep all of them apart."""
    widths = [text_width(label, TEXT) for label in labels]
    return max((one + other) / 2 for one, other in itertools.pairwise(widths)) + _GAP


def _apart(values: Sequence[float], labels: Sequence[str], places: Sequence[float]) -> dict[float, str]:
    """The labels that don't run into the one before them. ``places``: of their middles, in inches."""
    shown: dict[float, str] = {}
    end = -math.inf
    for value, label, middle in zip(values, labels, places, strict=True):
        half = text_width(label, TEXT) / 2
        if middle - half >= end:
            shown[value] = label
            end = middle + half + _GAP
    return shown


def _cut(label: str, inches: float) -> str:
    """A label that is no wider than there is room for, at least a few letters of it."""
    cut = label
    while text_width(cut, TEXT) > inches and len(cut) > 4:
        cut = f"{cut.removesuffix('…')[:-1]}…"
    return cut


def _title(grid: PanelGrid, panels: Sequence[SweepPanel]) -> None:
    """Give the panels titles: their classes, and inputs and lengths where there are several to tell apart."""
    several_inputs = len({panel.cell[1] for panel in panels}) > 1
    several_lengths = len({panel.k for panel in panels}) > 1
    for axes, panel in zip(grid.axes, panels, strict=True):
        lines = [pretty(panel.cell[0])] + [inputs_label(panel.cell[1])] * several_inputs
        grid.title_panel(axes, *lines, *[f"k = {panel.k}"] * several_lengths)


def _notes(axis: SweepAxis, panels: Sequence[SweepPanel], lines: int, of: int) -> list[str]:
    lengths = sorted({panel.k for panel in panels})
    note = [f"Swept: {plain(axis.parameter)}."] if axis.words != axis.parameter else []
    note += [f"At k = {several(lengths)} in-context examples."] if len(lengths) == 1 else []
    if of > lines:
        note.append(f"{lines} of {of} lines are drawn; the tables have all.")
    return note
