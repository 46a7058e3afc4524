"""Error against a swept parameter."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.choosing import choose
from icl_curriculum.figures.curves import ModelCurves, draw_model, spread_note
from icl_curriculum.figures.emphasis import MOST_ENTRIES, OTHER
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
from icl_curriculum.figures.panels import PanelGrid, styled
from icl_curriculum.figures.parameter_axis import panel_grid, value_scale
from icl_curriculum.figures.scales import (
    bounded,
    error_label,
    error_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.figures.variants import variant_styles
from icl_curriculum.results.comparison.sources import MODEL, Cell, cells_of, in_cell
from icl_curriculum.results.swept import SweepAxis, sweep_axis
from icl_curriculum.results.tables import NothingToDraw, distinct, final, over_seeds, with_metric

#: Up to so many lines of models are drawn; of more, so many that are evenly spread over them.
MOST_LINES = 4
#: Further panels are left out.
MOST_PANELS = 12


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
@without_empty_decades
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
    panels, left_out = panels[:MOST_PANELS], len(panels) - MOST_PANELS
    lines = distinct(pd.concat([panel.models["line"] for panel in panels]))
    kept = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, min(len(lines), MOST_LINES)).astype(int))]
    panels = [replace(panel, models=panel.models[panel.models["line"].isin(kept)]) for panel in panels]
    note = [f"{len(kept)} of {len(lines)} lines are drawn; the tables have all."] * (len(kept) < len(lines))
    note += [f"{left_out} further panels are left out."] * (left_out > 0)
    return _drawn(evaluation, axis, panels, kept, note, narrow)


def _drawn(
    evaluation: pd.DataFrame,
    axis: SweepAxis,
    panels: Sequence[SweepPanel],
    lines: Sequence[str],
    note: Sequence[str],
    narrow: bool,
) -> Figure:
    grid = panel_grid(len(panels), axis, narrow)
    baselines = [name for panel in panels for name in panel.shown if name not in FIXED]
    styles = styles_apart(learner_styles(evaluation), dict.fromkeys(baselines), [MODEL])
    of_lines = {lines[0]: styles[MODEL]} if len(lines) == 1 else variant_styles(lines)
    named = _named([panel.shown for panel in panels], MOST_ENTRIES - len(lines))
    for axes, panel in zip(grid.axes, panels, strict=True):
        zero_line(axes, "y")
        for learner in panel.shown:
            style = styles[learner] if learner in named else OTHER
            _draw_reference(axes, panel.curves[learner], style, learner, axis)
        for number, line in enumerate(lines):
            own = panel.models[panel.models["line"] == line]
            model = ModelCurves(MODEL, name=line)
            if own.empty:
                continue
            if axis.is_numeric:
                draw_model(axes, own, "x", of_lines[line], model, marker=of_lines[line].marker, spread=False)
            else:
                shift = (number - (len(lines) - 1) / 2) * min(0.18, 0.7 / len(lines))
                _draw_points(axes, own, of_lines[line], model, shift)
    note = [*_notes(axis, panels), *spread_note(max(panel.models["seed"].nunique() for panel in panels)), *note]
    note += error_scale(grid.axes[0], "y", _values(panels))
    value_scale(grid, axis)
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
    for cell in cells:
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


def _values(panels: Sequence[SweepPanel]) -> list[pd.Series]:
    return [*(panel.models["value"] for panel in panels), *(p.curves[name] for p in panels for name in p.shown)]


def _draw_reference(axes: Axes, curve: pd.Series, style: LearnerStyle, learner: str, axis: SweepAxis) -> None:
    """Draw a learner that does not train: right across the panel where its error is one, else from value to value."""
    values = bounded(curve)
    label = "other baselines, each the best there" if style == OTHER else learner_label(learner)
    look = {"color": style.colour, "linestyle": style.line, "linewidth": style.width, "label": label, "gid": learner}
    if np.allclose(values, values[0], rtol=1e-6, equal_nan=True):
        axes.axhline(float(values[0]), **look)
    elif axis.is_numeric:
        axes.plot(curve.index, values, **look)
    else:
        places = np.asarray(curve.index, dtype=np.float64)
        axes.hlines(values, places - 0.4, places + 0.4, **look)


def _named(shown: Sequence[Sequence[str]], room: int) -> set[str]:
    """The references that have a colour and a name: all where there is room, else the oracles and those of most panels.

    One entry is for all others.
    """
    panels = Counter(name for names in shown for name in names)
    ranked = sorted(panels, key=lambda name: (name not in FIXED, -panels[name]))
    return set(ranked if len(ranked) <= room else ranked[: max(room - 1, 1)])


def _draw_points(axes: Axes, errors: pd.DataFrame, style: LearnerStyle, model: ModelCurves, shift: float) -> None:
    """Draw means with their ranges, and single seeds, of values that no line joins."""
    seeds = errors["seed"].nunique()
    summary = over_seeds(errors, "x")
    places = np.asarray(summary.index, dtype=np.float64) + shift
    low, high = bounded(summary["low"]), bounded(summary["high"])
    axes.vlines(places, low, high, color=style.colour, linewidth=1.2, gid=f"{model.gid} range")
    axes.plot(
        places, bounded(summary["mean"]), color=style.colour, linestyle="none", marker=style.marker, markersize=5,
        label=learner_label(model.learner, seeds, model.name), gid=model.gid, zorder=4,
    )  # fmt: skip
    if seeds > 1:
        axes.plot(
            errors["x"] + shift, bounded(errors["value"]), color=style.colour, linestyle="none", marker="_",
            markersize=5, alpha=0.7, gid=f"{model.gid} seed", zorder=3,
        )  # fmt: skip


def _title(grid: PanelGrid, panels: Sequence[SweepPanel]) -> None:
    """Give the panels titles: their classes, and inputs and lengths where there are several to tell apart."""
    several_inputs = len({panel.cell[1] for panel in panels}) > 1
    several_lengths = len({panel.k for panel in panels}) > 1
    for axes, panel in zip(grid.axes, panels, strict=True):
        lines = [pretty(panel.cell[0])] + [inputs_label(panel.cell[1])] * several_inputs
        grid.title_panel(axes, *lines, *[f"k = {panel.k}"] * several_lengths)


def _notes(axis: SweepAxis, panels: Sequence[SweepPanel]) -> list[str]:
    lengths = sorted({panel.k for panel in panels})
    note = [f"Swept: {plain(axis.parameter)}."] if axis.words != axis.parameter else []
    note += [f"At k = {several(lengths)} in-context examples."] if len(lengths) == 1 else []
    return note
