"""Learning curves and the curriculum's shares, as a reader would notice them, from made-up tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_tables import LEARNING_EVERY, STEPS, make_tables, model_error
from matplotlib.axes import Axes
from reading_figures import (
    band,
    check_layout,
    draw,
    drawn,
    legend_labels,
    line,
    panels,
    said,
    small,
    tick_labels,
    vertices,
)

from icl_curriculum import figures


def test_learning_curves_show_three_context_lengths() -> None:
    figure = drawn("learning_curves")
    assert list(panels(figure)) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    axes = panels(figure)["linear"]
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "training step"
    for k in (10, 5, 2):
        steps, values = line(axes, f"k={k}")
        assert steps.tolist() == list(range(0, STEPS + 1, LEARNING_EVERY))
        last = [model_error("linear", k, seed) for seed in range(3)]
        assert values[-1] == pytest.approx(np.mean(last))
        assert band(axes, f"k={k} range")[STEPS] == pytest.approx((min(last), max(last)))
    assert {"k = 10 examples", "k = 5 examples", "k = 2 examples"} <= {*legend_labels(figure)}
    assert "1,400 steps, 89,600 prompts in all." in said(figure)


def test_the_oracle_is_a_line_at_the_longest_of_the_lengths() -> None:
    tables = make_tables()
    figure = figures.learning_curves(tables["learning"], tables["curriculum"], tables["evaluation"])
    evaluation = tables["evaluation"]
    optimum = evaluation[(evaluation["learner"] == "oracle") & (evaluation["n_context"] == 10)]
    known = set(optimum[optimum["shift"] == "none"]["function_class"])
    assert known == {"linear", "quadratic"}
    for name, axes in panels(figure).items():
        lines = [item for item in axes.lines if item.get_gid() == "oracle"]
        assert len(lines) == (name in known)
    assert "optimum (oracle), k = 10" in legend_labels(figure)
    # It lies below everything else, in the power of ten right below.
    assert line(panels(figure)["linear"], "oracle")[1][0] == pytest.approx(axes_floor(figure.axes[0]))
    check_layout(figure, "learning_curves")
    assert "optimum (oracle), k = 10" not in legend_labels(drawn("learning_curves"))


def axes_floor(axes: Axes) -> float:
    return 1.3 * axes.get_ylim()[0]


def test_a_narrow_figure_has_two_panels_in_a_row_and_is_as_wide_as_a_telephone() -> None:
    tables = make_tables()
    pictures = [
        figures.learning_curves(tables["learning"], tables["curriculum"], tables["evaluation"], narrow=True),
        figures.error_by_examples(tables["evaluation"], narrow=True),
    ]
    for figure in pictures:
        assert figure.get_figwidth() == 3.6
        assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == 2
        assert not figure.get_suptitle()
        check_layout(figure, "narrow")


def boundaries(axes: Axes) -> list[float]:
    return [float(np.asarray(item.get_xdata())[0]) for item in axes.lines if item.get_gid() == "boundary"]


def spans(axes: Axes) -> list[tuple[float, float]]:
    found = [patch.get_window_extent() for patch in axes.patches if patch.get_gid() == "in training"]
    return [tuple(axes.transData.inverted().transform(box.get_points())[:, 0]) for box in found]


def test_blocks_are_marked_and_the_panels_own_is_shaded() -> None:
    figure = drawn("learning_curves")
    for i, axes in enumerate(figure.axes):
        assert boundaries(axes) == [350, 700, 1050]
        assert spans(axes) == [pytest.approx((350 * i, 350 * (i + 1)))]
    assert {"panel's class in training", "curriculum moves on"} <= {*legend_labels(figure)}


@pytest.mark.parametrize("block", [333, 466, 470])
def test_a_block_may_end_between_logged_steps(block: int) -> None:
    tables = make_tables(["linear", "quadratic", "relu_network"], [0], block=block)
    assert boundaries(draw("learning_curves", tables).axes[0]) == pytest.approx([block, 2 * block])


def test_a_class_that_stays_in_training_is_shaded_to_the_end() -> None:
    tables = make_tables(["linear", "quadratic"], [0], block=333)
    curriculum = tables["curriculum"].set_index(["step", "function_class"])["planned_share"].unstack()
    mixed = pd.DataFrame({"linear": 1 - curriculum["quadratic"] / 2, "quadratic": curriculum["quadratic"] / 2})
    shares = mixed.melt(ignore_index=False, var_name="function_class", value_name="planned_share").reset_index()
    tables["curriculum"] = tables["curriculum"].drop(columns="planned_share").merge(shares)
    linear, quadratic = draw("learning_curves", tables).axes
    assert boundaries(linear) == pytest.approx([333])
    assert spans(linear) == [pytest.approx((0, 333)), pytest.approx((333, 1400))]
    assert spans(quadratic) == [pytest.approx((333, 1400))]


def test_a_wide_label_at_the_edge_has_room() -> None:
    tables = small()
    for name in ("learning", "curriculum"):
        tables[name] = tables[name].assign(step=tables[name]["step"] * (200_000 / STEPS))
    figure = draw("learning_curves", tables)
    assert [label.get_text() for label in tick_labels(figure.axes[0], "x")][-1] == "200k"
    check_layout(figure, "learning_curves")


def areas(axes: Axes, step: float) -> dict[str, float]:
    """Height of each stacked area at a step within an interval."""
    heights = {}
    for area in axes.collections:
        # The upper edge is traced in one direction and the lower one in the other.
        xs, ys = vertices(area).T
        crossed = (np.minimum(xs[:-1], xs[1:]) < step) & (step < np.maximum(xs[:-1], xs[1:]))
        heights[str(area.get_label())] = float(np.ptp(ys[:-1][crossed]))
    return heights


def test_curriculum_shows_planned_and_drawn_shares() -> None:
    figure = drawn("curriculum")
    assert list(panels(figure)) == ["as planned", "as drawn"]
    assert legend_labels(figure) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    for axes in figure.axes:
        assert axes.get_xlabel() == "training step"
        assert areas(axes, 345)["linear"] == pytest.approx(1)
        assert areas(axes, 355)["sparse linear"] == pytest.approx(1)
        assert areas(axes, 355)["linear"] == 0
    assert "Each value is a mean over 10 steps as planned, over 30 as drawn, and over 3 seeds." in said(figure)


def test_drawn_shares_are_the_mean_over_seeds() -> None:
    tables = make_tables(["linear"], [0, 1], inputs=["gaussian", "skewed"], shifts=())
    figure = draw("curriculum", tables)
    assert [axes.get_ylabel() for axes in figure.axes] == ["share of classes", "", "share of inputs", ""]
    table = tables["curriculum"]
    first = table[(table["step"] <= 30) & (table["input_distribution"] == "gaussian")]["drawn_share"].mean()
    assert areas(figure.axes[3], 20)["Gaussian inputs"] == pytest.approx(first)
    assert areas(figure.axes[2], 20)["Gaussian inputs"] == pytest.approx(0.5)
