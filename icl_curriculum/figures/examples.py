"""Error against the number of in-context examples, in distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from icl_curriculum.figures.choosing import Baselines, Choice, asked_baselines, choose, within_legend
from icl_curriculum.figures.curves import FEW, ModelCurves, draw_model, draw_reference, spread_note, trained_models
from icl_curriculum.figures.emphasis import MOST_ENTRIES, OTHER, emphasised, others_entry
from icl_curriculum.figures.lettering import TEXT, text_height, text_width, wrapped
from icl_curriculum.figures.names import (
    FIXED,
    ZERO,
    LearnerStyle,
    learner_label,
    learner_styles,
    model_style,
    styles_apart,
)
from icl_curriculum.figures.notes import fewer_prompts, last_of_several
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    as_costs,
    bounded,
    count_scale,
    error_label,
    error_scale,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results.tables import (
    Cell,
    NothingToDraw,
    distinct,
    evaluated_cells,
    final,
    of_variant,
    with_metric,
)

#: From this number of lines of learners that do not train, a panel is made larger.
_MANY = 7

#: The most names that are written on a line.
_MOST_NAMED = 2


@dataclass(frozen=True)
class CellPanel:
    """A cell's errors in one metric, the curves of the learners that do not train, and which of these to draw."""

    cell: Cell
    metric: str
    errors: pd.DataFrame
    curves: dict[str, pd.Series]
    choice: Choice

    @property
    def few(self) -> set[str]:
        """Learners to draw that were asked at few lengths, or at fewer than half of those that the panel has."""
        lengths = self.errors["n_context"].nunique()
        return {name for name in self.choice.shown if len(self.curves[name]) < max(FEW + 1, lengths / 2)}


@styled
@without_empty_decades
def error_by_examples(
    evaluation: pd.DataFrame, *, variant: str | None = None, baselines: Baselines = "best", narrow: bool = False
) -> Figure:
    """Models, oracle and baselines against the examples in context: a panel per cell.

    ``evaluation``: the table; ``variant``: the one whose models are drawn; None: those of all variants, with a line
    for each; of more than the legend has room for, all but the best and the worst are grey. ``baselines``:
    ``"best"``, the one to three of each panel that come closest to the best one at every length, as many as a
    legend of six entries has room for; ``"all"``; or ids as in the column ``learner``. A baseline whose line would
    lie on another one is named on that. Oracles and the zero predictor's line are always there. Learners that were
    asked at a few lengths have markers. The table need not hold a model. ``narrow``: two panels in a row and no
    title, for a page on a telephone.

    Raises UserError for a baseline that the table does not have, NothingToDraw if it has no errors without a shift.
    """
    asked = asked_baselines(evaluation, baselines)
    styles = learner_styles(evaluation)
    rows = final(evaluation if variant is None else of_variant(evaluation, variant))
    plain = rows[rows["shift"] == "none"]
    panels = [panel for cell in evaluated_cells(plain) if len((panel := _panel(cell, plain, asked)).errors)]
    if not panels:
        raise NothingToDraw("no errors without a shift")

    models = trained_models(plain)
    named: set[str] = set()
    coloured = _coloured(panels, models)
    grey = len(models) - len(coloured)
    if asked is None:
        panels, named = _within_legend(panels, len(coloured) + bool(grey))
    crowded = max(len(panel.choice.shown) for panel in panels) >= _MANY
    columns = columns_for(len(panels), most=2 if crowded else 4)
    if narrow:
        grid = PanelGrid.of(len(panels), columns=min(len(panels), 2), height=0.85, width=NARROW)
    elif crowded:
        grid = PanelGrid.of(len(panels), columns=columns, height=2.6, width=FULL_WIDTH)
    else:
        grid = PanelGrid.of(len(panels), columns=columns, height=2.2 if columns == 1 else 1.45)
    if any(model.name for model in models):
        styles |= {model.gid: OTHER for model in models}
        styles |= {model.gid: model_style(i) for i, model in enumerate(coloured)}
    baselines_drawn = (name for panel in panels for name in panel.choice.shown if name not in FIXED)
    styles = styles_apart(styles, baselines_drawn, (model.gid for model in coloured if model.gid in styles))
    drawn: list[pd.Series | pd.DataFrame] = []
    for axes, panel in zip(grid.axes, panels, strict=True):
        for model in models:
            if len(errors := model.of(panel.errors)):
                drawn.append(draw_model(axes, errors, "n_context", styles[model.gid], model, spread=False))
        zero_line(axes, "y")
        drawn += _draw_references(axes, panel, styles, named)
    scale_note = error_scale(grid.axes[0], "y", drawn)
    # The axis shows all lengths, even if the learners that are drawn were asked at some of them only.
    lengths = plain["n_context"]
    grid.axes[0].update_datalim([(lengths.min(), 1), (lengths.max(), 1)])
    grid.axes[0].autoscale_view(scaley=False)
    for axes, panel in zip(grid.axes, panels, strict=True):
        _name_on_lines(axes, panel, named, _panel_size(grid))

    grid.title_cells([panel.cell for panel in panels])
    note = [*last_of_several(evaluation), *_spread(panels, models), *_left_out(panels), *_prompts(panels), *scale_note]
    if narrow:  # What stands beside it on a page says the rest.
        note = scale_note
    count_scale(grid.axes[0].xaxis)
    named_metrics = [error_label(panel.metric) for panel in panels]
    if narrow:  # Panels are too low for two lines.
        named_metrics = [label.split("\n")[0] for label in named_metrics]
    grid.label("in-context examples k", named_metrics)
    title = None if narrow else "Error by number of in-context examples"
    return grid.finish(title, None if narrow else variant, note, others_entry(grey))


def _coloured(panels: Sequence[CellPanel], models: Sequence[ModelCurves]) -> list[ModelCurves]:
    """The models that have colours and entries of their own: of more than there is room for, the best and the worst.

    The legend also has the oracles and at least one baseline.
    """
    oracles = {name for panel in panels for name in panel.choice.shown if name not in panel.choice.ranked}
    baselines = any(panel.choice.ranked for panel in panels)
    costs: dict[str, float] = {}
    for model in models:
        own = [as_costs(errors["value"]).mean() for panel in panels if len(errors := model.of(panel.errors))]
        costs[model.gid] = float(np.nan_to_num(np.mean(own), nan=np.inf)) if own else np.inf
    room = max(2, MOST_ENTRIES - len(oracles) - baselines)
    kept = emphasised(sorted(costs, key=costs.__getitem__), room)
    return [model for model in models if model.gid in kept]


def _within_legend(panels: Sequence[CellPanel], models: int) -> tuple[list[CellPanel], set[str]]:
    """Leave out baselines until the legend has room for all, those first that were chosen last.

    The first one of each panel stays. Also returns the learners that are named on their lines, as the legend has no
    room for them.
    """
    oracles = {name for panel in panels for name in panel.choice.shown if name not in panel.choice.ranked}
    choices, named = within_legend([panel.choice for panel in panels], MOST_ENTRIES - models - len(oracles))
    return [replace(panel, choice=choice) for panel, choice in zip(panels, choices, strict=True)], named


def _panel_size(grid: PanelGrid) -> tuple[float, float]:
    """About how many inches a panel is wide and high."""
    return (grid.figure.get_figwidth() - grid.left) / grid.columns - 0.3, grid.heights[0]


def _name_on_lines(axes: Axes, panel: CellPanel, named: set[str], size: tuple[float, float]) -> None:
    """Write on the end of a line whose it is, if the legend does not say so, and who else's it would be."""
    for learner in panel.choice.shown:
        others = panel.choice.alike.get(learner, [])
        if not others and learner not in named:
            continue
        more = len(others) - _MOST_NAMED
        alike = ", ".join(map(learner_label, others[:_MOST_NAMED])) + (f", {more} more" if more > 0 else "")
        text = " ".join([learner_label(learner)] * (learner in named) + [f"= {alike}"] * bool(others))
        text = wrapped(text, size[0], TEXT)
        curve = panel.curves[learner]
        end = float(curve.index[-1]), float(bounded(curve.iloc[-1:])[0])
        above = _crossed(axes, end, text, size, up=True) <= _crossed(axes, end, text, size, up=False)
        axes.annotate(
            text, end, (0, 2.5 if above else -2.5), textcoords="offset points", ha="right",
            va="bottom" if above else "top", fontsize=TEXT, color="#333333", gid=f"named on {learner}", zorder=5,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip


def _crossed(axes: Axes, end: tuple[float, float], text: str, size: tuple[float, float], *, up: bool) -> float:
    """How much a text that ends above or below a point hides of the lines; infinite where it leaves the panel."""
    right, height = _in_panel(axes, *(np.array([value]) for value in end))
    wide, high = text_width(text, TEXT) / size[0], text_height(text, TEXT) / size[1]
    low = float(height[0]) + (0.03 if up else -0.03 - high)
    if low < -0.02 or low + high > 1.15:
        return np.inf
    hidden = 0.0
    for line in axes.lines:
        xs, ys = (np.asarray(values, dtype=np.float64) for values in line.get_data())
        if line.get_gid() == ZERO or len(xs) < 2:
            continue
        places, heights = _in_panel(axes, xs, ys)
        at = np.linspace(float(right[0]) - wide, float(right[0]), 24)
        found = np.interp(at, places, heights)
        hidden += float(((found > low) & (found < low + high)).mean())
    return hidden


def _in_panel(
    axes: Axes, xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points as shares of a panel's width and height."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    if axes.get_yscale() == "log":
        ys, low, high = np.log(ys), np.log(low), np.log(high)
    return (xs - left) / (right - left), (ys - low) / (high - low)


def _spread(panels: Sequence[CellPanel], models: Sequence[ModelCurves]) -> list[str]:
    most = max((model.of(panel.errors)["seed"].nunique() for panel in panels for model in models), default=0)
    return spread_note(most) if most else []


def _panel(cell: Cell, plain: pd.DataFrame, asked: frozenset[str] | None) -> CellPanel:
    metric, errors = with_metric(cell.of(plain))
    others = errors[(errors["learner_kind"] != "model") & (errors["learner"] != ZERO)]
    curves = {
        str(learner): group.groupby("n_context")["value"].mean()
        for learner, group in others.groupby("learner", observed=True)
    }
    oracles = distinct(others.loc[others["learner_kind"] == "oracle", "learner"])
    return CellPanel(cell, metric, errors, curves, choose(curves, oracles, asked))


def _draw_references(axes: Axes, panel: CellPanel, styles: dict[str, LearnerStyle], named: set[str]) -> list[pd.Series]:
    for learner in panel.choice.shown:
        style = styles[learner]
        if learner in panel.few:
            draw_reference(
                axes, panel.curves[learner], style.thin, learner, marker=style.marker, labelled=learner not in named
            )
        else:
            draw_reference(axes, panel.curves[learner], style, learner, labelled=learner not in named)
    return [panel.curves[learner] for learner in panel.choice.shown]


def _left_out(panels: Sequence[CellPanel]) -> list[str]:
    """The sentence in the note about baselines that are not drawn."""
    said = []
    if any(panel.choice.alike for panel in panels):
        said.append("After “=” on a line: baselines whose lines would lie on it.")
    counts = {panel.choice.left_out for panel in panels}
    if most := max(counts):
        others = f"{most} {'other is' if most == 1 else 'others are'} left out (icl plot --baselines all shows them)"
        said.append(f"Baselines: the best of each panel; {'' if len(counts) == 1 else 'up to '}{others}.")
    return said


def _prompts(panels: Sequence[CellPanel]) -> list[str]:
    compared = []
    for panel in panels:
        is_drawn = (panel.errors["learner_kind"] == "model") | panel.errors["learner"].isin([*panel.choice.shown, ZERO])
        counts = panel.errors.loc[is_drawn, ["learner", "n_prompts"]].drop_duplicates()
        compared.append(
            {str(name): {*map(int, group)} for name, group in counts.groupby("learner", observed=True)["n_prompts"]}
        )
    return fewer_prompts(compared, marked={learner for panel in panels for learner in panel.few})
