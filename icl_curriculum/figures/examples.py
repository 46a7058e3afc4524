"""Error against the number of in-context examples, in distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.figures.choosing import Baselines, Choice, asked_baselines, choose
from icl_curriculum.figures.curves import FEW, draw_model, draw_reference, trained_models
from icl_curriculum.figures.names import ZERO, LearnerStyle, learner_label, learner_styles, model_style
from icl_curriculum.figures.notes import fewer_prompts, last_of_several
from icl_curriculum.figures.panels import FULL_WIDTH, PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import count_scale, error_label, error_scale, zero_line
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
def error_by_examples(evaluation: pd.DataFrame, *, variant: str | None = None, baselines: Baselines = "best") -> Figure:
    """Models, oracle and baselines against the examples in context: a panel per cell.

    ``evaluation``: the table; ``variant``: the one whose models are drawn; None: those of all variants, with a line
    for each. ``baselines``: ``"best"``, the two or three of each panel that come closest to the best one at
    every length; ``"all"``; or ids as in the column ``learner``. Oracles and the zero predictor's line are
    always there. Learners that were asked at a few lengths have markers. The table need not hold a model.

    Raises UserError for a baseline that the table does not have, NothingToDraw if it has no errors without a shift.
    """
    asked = asked_baselines(evaluation, baselines)
    styles = learner_styles(evaluation)
    rows = final(evaluation if variant is None else of_variant(evaluation, variant))
    plain = rows[rows["shift"] == "none"]
    panels = [panel for cell in evaluated_cells(plain) if len((panel := _panel(cell, plain, asked)).errors)]
    if not panels:
        raise NothingToDraw("no errors without a shift")

    crowded = max(len(panel.choice.shown) for panel in panels) >= _MANY
    columns = columns_for(len(panels), most=2 if crowded else 4)
    if crowded:
        grid = PanelGrid.of(len(panels), columns=columns, height=2.6, width=FULL_WIDTH)
    else:
        grid = PanelGrid.of(len(panels), columns=columns, height=2.2 if columns == 1 else 1.45)
    models = trained_models(plain)
    if any(model.name for model in models):
        styles |= {model.gid: model_style(i) for i, model in enumerate(models)}
    drawn: list[pd.Series | pd.DataFrame] = []
    for axes, panel in zip(grid.axes, panels, strict=True):
        for model in models:
            if len(errors := model.of(panel.errors)):
                drawn.append(draw_model(axes, errors, "n_context", styles[model.gid], model))
        zero_line(axes, "y")
        drawn += _draw_references(axes, panel, styles)

    grid.title_cells([panel.cell for panel in panels])
    note = [*last_of_several(evaluation), *_left_out(panels), *_prompts(panels), *error_scale(grid.axes[0], "y", drawn)]
    # The axis shows all lengths, even if the learners that are drawn were asked at some of them only.
    lengths = plain["n_context"]
    grid.axes[0].update_datalim([(lengths.min(), 1), (lengths.max(), 1)])
    grid.axes[0].autoscale_view(scaley=False)
    count_scale(grid.axes[0].xaxis)
    grid.label("in-context examples k", [error_label(panel.metric) for panel in panels])
    return grid.finish("Error by number of in-context examples", variant, note)


def _panel(cell: Cell, plain: pd.DataFrame, asked: frozenset[str] | None) -> CellPanel:
    metric, errors = with_metric(cell.of(plain))
    others = errors[(errors["learner_kind"] != "model") & (errors["learner"] != ZERO)]
    curves = {
        str(learner): group.groupby("n_context")["value"].mean()
        for learner, group in others.groupby("learner", observed=True)
    }
    oracles = distinct(others.loc[others["learner_kind"] == "oracle", "learner"])
    return CellPanel(cell, metric, errors, curves, choose(curves, oracles, asked))


def _draw_references(axes: Axes, panel: CellPanel, styles: dict[str, LearnerStyle]) -> list[pd.Series]:
    for learner in panel.choice.shown:
        style = styles[learner]
        if learner in panel.few:
            draw_reference(axes, panel.curves[learner], style.thin, learner, marker=style.marker)
        else:
            draw_reference(axes, panel.curves[learner], style, learner)
    return [panel.curves[learner] for learner in panel.choice.shown]


def _left_out(panels: Sequence[CellPanel]) -> list[str]:
    """The sentence in the note about baselines that are not drawn."""
    said = []
    alike = sorted({learner for panel in panels for learner in panel.choice.alike})
    if alike:
        names = ", ".join(map(learner_label, alike))
        said.append(f"Left out where indistinguishable from a line that is shown: {names}.")
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
