"""Error by number of in-context examples beside the errors that a paper prints for its own transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.figures.choosing import Choice, choose, within_legend
from icl_curriculum.figures.curves import FEW, ModelCurves, draw_model, draw_reference, spread_note, trained_models
from icl_curriculum.figures.emphasis import MOST_ENTRIES
from icl_curriculum.figures.names import (
    BLACK,
    FIXED,
    YELLOW,
    ZERO,
    LearnerStyle,
    inputs_label,
    learner_styles,
    pretty,
    shift_label,
    styles_apart,
)
from icl_curriculum.figures.notes import fewer_prompts, last_of_several
from icl_curriculum.figures.panels import PanelGrid, columns_for, styled
from icl_curriculum.figures.scales import (
    bounded,
    count_scale,
    error_label,
    error_scale,
    reaching_down_to,
    without_empty_decades,
    zero_line,
)
from icl_curriculum.results import printed as numbers
from icl_curriculum.results.printed import Printed
from icl_curriculum.results.run_setting import RunSetting
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import NothingToDraw, distinct, final, of_variant, with_metric

_METRIC = "normalized_error"

#: The least error that is drawn where it lies: printed ones are as small as 0.0005.
_LOWEST = 1e-4

#: Shifts that are printed at one length for each of several factors: curves over lengths would say little of them.
_PRINTED_BY_FACTOR = ("scaled_inputs", "scaled_outputs")


@dataclass(frozen=True)
class ConditionPanel:
    """What was asked in a panel, the errors that are printed of it, and those of our table.

    ``curves``: the errors of the learners that do not train; ``choice``: which of these are drawn.
    """

    printed: Sequence[Printed]
    errors: pd.DataFrame
    curves: dict[str, pd.Series]
    choice: Choice

    @property
    def n_prompts(self) -> dict[str, set[int]]:
        """How many prompts each of the learners that are drawn was asked."""
        drawn = (self.errors["learner"] == "model") | self.errors["learner"].isin(self.choice.shown)
        counts = self.errors[drawn].groupby("learner", observed=True)["n_prompts"]
        return {str(learner): {*map(int, own)} for learner, own in counts}

    @property
    def title(self) -> list[str]:
        """The lines of the panel's title."""
        asked = self.printed[0]
        if asked.function_class not in ("", asked.trained_on):
            return [pretty(asked.function_class), "(not trained on)"]
        if asked.input_distribution != "gaussian":
            return [inputs_label(asked.input_distribution)]
        if asked.shift != "none":
            return [shift_label(asked.shift)]
        return [f"{pretty(asked.trained_on)}, in distribution"]


@styled
@reaching_down_to(_LOWEST)
@without_empty_decades
def published(
    evaluation: pd.DataFrame, exposure: pd.DataFrame, *, settings: Mapping[str, RunSetting], variant: str | None = None
) -> Figure:
    """Our models' errors beside those that Garg et al. 2022 print: a panel for each condition.

    Curves are ours, markers theirs. ``evaluation``, ``exposure``: the tables; ``settings``: those of the runs behind
    them, by variant, since errors are comparable in the published number of dimensions alone; ``variant``: the one that
    is drawn, which need not be named where there is one. Conditions that are printed at one length for each of several
    factors are left out; `icl verify published` shows them.
    Raises NothingToDraw where nothing is printed for what the variant's models were trained on.
    """
    rows = final(of_variant(evaluation, variant))
    panels = _panels(rows, _printed_for(rows, settings))
    if not panels:
        raise NothingToDraw("nothing is printed for such models")
    ours = rows[rows["learner"] == "model"]
    (model,) = (replace(model, name="ours") for model in trained_models(ours))
    setting = settings[model.variant]
    oracles = {name for panel in panels for name in panel.choice.shown if name not in panel.choice.ranked}
    # Beside our model and the printed ones.
    choices, _ = within_legend([panel.choice for panel in panels], MOST_ENTRIES - 2 - len(oracles))
    panels = [replace(panel, choice=choice) for panel, choice in zip(panels, choices, strict=True)]
    baselines = [name for panel in panels for name in panel.choice.shown if name not in FIXED]
    styles = styles_apart(learner_styles(evaluation), baselines)

    columns = columns_for(len(panels), most=3)
    grid = PanelGrid.of(len(panels), columns=columns, height=2.2 if columns == 1 else 1.6)
    values = [
        value for axes, panel in zip(grid.axes, panels, strict=True) for value in _draw(axes, panel, styles, model)
    ]
    scale_note = error_scale(grid.axes[0], "y", values)
    for axes, panel in zip(grid.axes, panels, strict=True):
        grid.title_panel(axes, *panel.title)
    count_scale(grid.axes[0].xaxis)
    grid.label("in-context examples k", [error_label(_METRIC)] * len(panels))
    noted = [(panel.title[0], each.note) for panel in panels for each in panel.printed if each.note]
    left_open = [f"{title[:1].upper()}{title[1:]}: printed as {text}." for title, text in noted]
    note = [
        _what_ours_took(setting, ours, exposure), *spread_note(ours["seed"].nunique()), *last_of_several(evaluation),
        *fewer_prompts(panel.n_prompts for panel in panels), *left_open, *scale_note,
    ]  # fmt: skip
    return grid.finish("Error beside published results", variant, note)


def _printed_for(rows: pd.DataFrame, settings: Mapping[str, RunSetting]) -> list[Printed]:
    """The printed errors of models that were trained as these, but for their size and the length of training."""
    models = rows[(rows["learner"] == "model") & (rows["metric"] == _METRIC)]
    of_training = models[models["in_distribution"] == True]  # noqa: E712 (a column that may hold missing values)
    classes, inputs = distinct(of_training["function_class"]), distinct(of_training["input_distribution"])
    setting = settings.get(next(iter(distinct(models["variant"])), ""))
    if shown_metric().chosen is not None or setting is None or setting.dims != numbers.DIMS or inputs != ["gaussian"]:
        return []
    own = [each for each in numbers.PRINTED if [each.trained_on] == classes and each.metric == _METRIC]
    return [each for each in own if Identifier.parse(each.shift).name not in _PRINTED_BY_FACTOR]


def _panels(rows: pd.DataFrame, printed: Sequence[Printed]) -> list[ConditionPanel]:
    """A panel for each condition that something is printed of and that a model of ours was asked, too."""
    conditions: dict[tuple[str, ...], list[Printed]] = {}
    for each in printed:
        conditions.setdefault(each.asked[:3], []).append(each)
    panels = []
    for (function_class, inputs, shift), of_condition in conditions.items():
        asked = (rows["function_class"] == function_class) & (rows["input_distribution"] == inputs)
        metric, errors = with_metric(rows[asked & (rows["shift"] == shift)])
        if metric != _METRIC or not (errors["learner"] == "model").any():
            continue
        others = errors[(errors["learner_kind"] != "model") & (errors["learner"] != ZERO)]
        curves = {
            str(learner): group.groupby("n_context")["value"].mean()
            for learner, group in others.groupby("learner", observed=True)
        }
        oracles = distinct(others.loc[others["learner_kind"] == "oracle", "learner"])
        panels.append(ConditionPanel(of_condition, errors, curves, choose(curves, oracles, None)))
    return panels


def _draw(
    axes: Axes, panel: ConditionPanel, styles: Mapping[str, LearnerStyle], model: ModelCurves
) -> list[pd.Series | pd.DataFrame]:
    """Draw a panel's curves, and the printed errors on top of them. Returns all errors that were drawn."""
    drawn = [draw_model(axes, model.of(panel.errors), "n_context", styles["model"], model, spread=False)]
    zero_line(axes, "y")
    for learner in panel.choice.shown:
        curve, style = panel.curves[learner], styles[learner]
        if len(curve) < max(FEW + 1, panel.errors["n_context"].nunique() / 2):
            draw_reference(axes, curve, style.thin, learner, marker=style.marker)
        else:
            draw_reference(axes, curve, style, learner)
    theirs = pd.Series({each.n_context: each.value for each in panel.printed})
    look: dict[str, Any] = {"color": BLACK, "zorder": 6, "linewidth": 0.8}
    for each in panel.printed:
        if each.interval is not None:
            axes.vlines(each.n_context, *bounded(each.interval), gid="printed interval", **look)
    axes.plot(
        theirs.index, bounded(theirs), linestyle="none", marker="D", markersize=5, markerfacecolor=YELLOW,
        markeredgecolor=BLACK, markeredgewidth=0.8, label=_label(panel.printed), gid="printed", zorder=6.5,
    )  # fmt: skip
    return [*drawn, *(panel.curves[learner] for learner in panel.choice.shown), theirs]


def _label(printed: Sequence[Printed]) -> str:
    """The legend's words for the printed errors."""
    intervals = "no interval printed" if not any(each.interval for each in printed) else "bars: printed intervals"
    return f"{numbers.PAPER}, {numbers.WEIGHTS / 1e6:.1f}M weights, {numbers.STEPS:,} steps ({intervals})"


def _what_ours_took(setting: RunSetting, ours: pd.DataFrame, exposure: pd.DataFrame) -> str:
    """The sentence of the note on the size and the training of our models."""
    steps = int(ours["step"].max())
    spent = of_variant(exposure, distinct(ours["variant"])[0])
    of_run = spent[spent["step"] == spent["step"].max()].groupby("run", observed=True)[["prompts", "flops"]].sum()
    taken = [setting.size, f"{steps:,} steps"]
    if len(of_run):  # Of imported weights nobody knows.
        prompts, operations = of_run.mean()
        taken.append(f"{prompts:,.0f} prompts ({100 * prompts / numbers.PROMPTS:.2g}% of theirs)")
        taken.append(f"{operations:.1e} floating-point operations")
    return f"Ours: {', '.join(taken)}."
