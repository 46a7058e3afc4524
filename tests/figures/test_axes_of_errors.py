"""No axis of errors has decades without errors, in any figure, whatever the tables hold."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import STEPS, make_tables
from matplotlib.figure import Figure
from outcomes_to_draw import make_outcomes
from reading_figures import said, tick_labels

import icl_curriculum.figures.scales
from icl_curriculum import figures
from icl_curriculum.figures.scales import error_scale

#: A few errors, one that is nothing, and one that is without bound.
NOTHING, BOUNDLESS = (0.0, 0.3, 0.6), (0.3, 0.6, math.inf)


def spoiled(table: pd.DataFrame, rows: pd.Series, value: float) -> pd.DataFrame:
    """Where errors of models are between 0.3 and 0.6, and of the given rows as given."""
    columns = [name for name in ("value", "ci_low", "ci_high") if name in table]
    made = table.copy()
    made[columns] = np.clip(made[columns], 0.3, 0.6)
    made.loc[rows, columns] = value
    return made


def along_training(value: float) -> Figure:
    table = make_tables(["linear"], (0,))["evaluation"]
    table = pd.concat([table.assign(step=step) for step in (0, STEPS)], ignore_index=True)
    return figures.along_training(spoiled(table, table["shift"] == "scaled_inputs/2", value))


def adaptation(value: float) -> Figure:
    table = make_tables(["linear"], (0,), shifts=())["evaluation"]
    models = table[table["learner"] == "model"]
    table = pd.concat([table, models.assign(learner="model/adapted=20")], ignore_index=True)
    return figures.adaptation(spoiled(table, table["learner"] == "model/adapted=20", value))


def masked_heads(value: float) -> Figure:
    table = make_tables(["linear"], (0,), shifts=())["evaluation"]
    models = table[table["learner"] == "model"]
    table = pd.concat([table, models.assign(learner="model/masked=retrospective/n=2")], ignore_index=True)
    return figures.masked_heads(spoiled(table, table["learner"] == "model/masked=retrospective/n=2", value))


def transfer(value: float) -> Figure:
    row = {"comparison": "none", "domain": "seen", "metric": "normalized_error", "adaptation": "unadapted",
           "fixed_prompts": math.nan, "n_context": 10, "n_seeds": 2, "steps": 0}  # fmt: skip
    errors = {"a": 0.3, "b": 0.6, "c": value}
    rows = [row | {"variant": name, "error": e, "ci_low": e, "ci_high": e} for name, e in errors.items()]
    return figures.transfer(pd.DataFrame(rows))


def across(name: str) -> Callable[[float], Figure]:
    draw: Callable[..., Figure] = getattr(figures, name)
    return lambda value: draw(make_outcomes(errors=BOUNDLESS if value > 1 else NOTHING))


def under_shifts(value: float) -> Figure:
    return figures.errors_under_shifts(make_outcomes(errors=(0.3,), shifts=[("shift", "scaled_inputs/2", value)]))


DRAWN: dict[str, Callable[[float], Figure]] = {
    "along_training": along_training, "adaptation": adaptation, "masked_heads": masked_heads, "transfer": transfer,
    "errors_under_shifts": under_shifts,
    **{name: across(name) for name in ("curves_by_variant", "errors_by_seed", "error_by_exposure", "forgetting")},
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWN)
def test_what_is_out_of_bounds_lies_right_beside_the_others(name: str) -> None:
    on_x = name in ("masked_heads", "transfer", "errors_by_seed", "forgetting", "errors_under_shifts")
    low = DRAWN[name](0.0)
    limits = low.axes[0].get_xlim() if on_x else low.axes[0].get_ylim()
    # The level of who knows nothing is 1, and the least error above nothing 0.15.
    assert 0.03 < min(limits) < 0.16
    assert "Errors below" in said(low)
    high = DRAWN[name](math.inf)
    limits = high.axes[0].get_xlim() if on_x else high.axes[0].get_ylim()
    assert 3 < max(limits) < 20
    assert "Errors above" in said(high)


def test_a_bound_that_something_was_moved_to_is_marked() -> None:
    labels = [label.get_text() for label in tick_labels(DRAWN["along_training"](0.0).axes[0], "y")]
    assert labels[0].startswith("≤")
    assert labels[-1] == "1"


def test_side_by_side_no_label_is_too_close_to_that_of_a_bound() -> None:
    axes = Figure().subplots()
    error_scale(axes, "x", [[0.0, 1.0]], across=3)
    error_scale(axes, "y", [[0.0, 1.0]], across=3)
    assert [label.get_text() for label in tick_labels(axes, "x")] == ["≤0.001", "0.1", "1"]
    assert [label.get_text() for label in tick_labels(axes, "y")] == ["≤0.001", "0.01", "0.1", "1"]


def test_every_figure_with_an_axis_of_errors_leaves_empty_decades_out() -> None:
    """Whatever `error_scale` is called from is reached through a function with the decorator."""
    for path in Path(icl_curriculum.figures.scales.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
        if path.name == "scales.py" or "error_scale(" not in path.read_text(encoding="utf-8"):
            continue
        for function in functions:
            names = [ast.unparse(each) for each in function.decorator_list]
            assert "without_empty_decades" in names or "styled" not in names or function.name == "head_scores"


def test_learners_are_chosen_alike_however_the_axis_is_narrowed() -> None:
    """A figure that is drawn again has the same lines."""
    table = make_tables(["linear"], (0, 1), shifts=())["evaluation"]
    table.loc[table["learner"] == "oracle", "value"] = 0.0
    plain = figures.error_by_examples(table.assign(value=table["value"].clip(lower=0.002)))
    drawn = figures.error_by_examples(table)
    assert [item.get_gid() for item in drawn.axes[0].lines] == [item.get_gid() for item in plain.axes[0].lines]
