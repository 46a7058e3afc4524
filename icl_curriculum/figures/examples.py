"""Error against the number of in-context examples, in distribution."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from icl_curriculum.figures.curves import draw_model, draw_reference, look_alike
from icl_curriculum.figures.names import ZERO, learner_label, learner_styles
from icl_curriculum.figures.panels import (
    Grid,
    columns_for,
    count_scale,
    error_label,
    error_scale,
    styled,
    zero_line,
)
from icl_curriculum.figures.tables import (
    NothingToDraw,
    distinct,
    evaluated_cells,
    final,
    of_variant,
    with_metric,
)

#: Baselines in a panel, beside the zero predictor.
BASELINES = 2


@styled
def error_by_examples(evaluation: pd.DataFrame, *, variant: str | None = None) -> Figure:
    """Model, oracle and the best baselines against the examples in context: a panel per cell.

    ``evaluation``: the table; ``variant`` may be left out if it has only one.
    Raises NothingToDraw if it has no model's errors without a shift.
    """
    styles = learner_styles(evaluation)
    rows = final(of_variant(evaluation, variant))
    plain = rows[rows["shift"] == "none"]
    shown = [(cell, *with_metric(cell.of(plain))) for cell in evaluated_cells(plain)]
    shown = [item for item in shown if (item[2]["learner_kind"] == "model").any()]
    if not shown:
        raise NothingToDraw("no errors of a model without a shift")

    columns = columns_for(len(shown))
    grid = Grid.of(len(shown), columns=columns, height=2.2 if columns == 1 else 1.45)
    hidden: set[str] = set()
    drawn: list[pd.Series | pd.DataFrame] = []
    for axes, (_, _, errors) in zip(grid.axes, shown, strict=True):
        curves = _references(errors)
        chosen, same = _distinguishable(curves)
        hidden |= same
        models = errors[errors["learner_kind"] == "model"]
        for learner in distinct(models["learner"]):
            drawn.append(draw_model(axes, models[models["learner"] == learner], "n_context", styles[learner], learner))
        zero_line(axes, "y")
        for learner in chosen:
            draw_reference(axes, curves[learner], styles[learner], learner)
        drawn += [curves[learner] for learner in chosen]

    grid.title_cells([cell for cell, _, _ in shown])
    note = error_scale(grid.axes[0], "y", drawn)
    if hidden:
        names = ", ".join(learner_label(learner) for learner in sorted(hidden))
        note.insert(0, f"Left out where indistinguishable from a line that is shown: {names}.")
    count_scale(grid.axes[0].xaxis)
    grid.label("in-context examples k", [error_label(metric) for _, metric, _ in shown])
    return grid.finish("Error by number of in-context examples", variant, note)


def _references(errors: pd.DataFrame) -> dict[str, pd.Series]:
    """Error by k of each learner that does not train: oracles first, then by mean error."""
    rows = errors[(errors["learner_kind"] != "model") & (errors["learner"] != ZERO)]
    curves = {str(learner): group.groupby("n_context")["value"].mean() for learner, group in rows.groupby("learner")}
    oracles = set(rows.loc[rows["learner_kind"] == "oracle", "learner"])
    return dict(sorted(curves.items(), key=lambda item: (item[0] not in oracles, item[1].mean(), item[0])))


def _distinguishable(curves: dict[str, pd.Series]) -> tuple[list[str], set[str]]:
    """Learners to show, and those left out only because they look like one that is shown."""
    chosen: list[str] = []
    same: set[str] = set()
    baselines = 0
    for learner, curve in curves.items():
        ranked = learner not in ("oracle", "informed_oracle")
        if ranked and baselines == BASELINES:
            continue
        if ranked and any(look_alike(curve, curves[other]) for other in chosen):
            same.add(learner)
            continue
        baselines += ranked
        chosen.append(learner)
    return chosen, same
