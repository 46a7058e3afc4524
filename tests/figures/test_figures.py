"""What all figures have in common: words, colours, metrics, and room for everything, from made-up tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_tables import SHIFTS, STEPS, make_tables
from matplotlib.colors import to_hex
from reading_figures import NAMES, check_layout, draw, drawn, legend_labels, line, panels, small

from icl_curriculum.figures.names import inputs_label, learner_styles, pretty, shift_label
from icl_curriculum.figures.panels import columns_for
from icl_curriculum.figures.scales import short_count

NINE = ["linear", "sparse_linear/sparsity=2", *(f"hermite/{p}" for p in range(1, 5)), "chebyshev", "sinusoid", "x" * 30]
CASES: dict[str, dict[str, Any]] = {
    "four": {"untrained": ["decision_tree"]},
    "small": {"classes": ["hermite/3"], "seeds": [0], "shifts": ()},
    "nine": {"classes": NINE, "seeds": [0, 1], "shifts": SHIFTS[:2], "variants": ["a_$_in_a_long_name" * 5]},
    "inputs": {"classes": ["linear", "quadratic"], "seeds": [0], "inputs": ["gaussian", "skewed", "student_t"],
               "median": ["student_t"], "shifts": SHIFTS[:1]},
}  # fmt: skip


def test_classes_without_training_say_so() -> None:
    tables = make_tables(["linear"], [0], untrained=["quadratic"])
    assert list(panels(draw("error_by_examples", tables))) == ["linear", "quadratic\n(not trained on)"]
    assert list(panels(draw("out_of_distribution", tables))) == ["linear", "quadratic\n(not trained on)"]
    tables["learning"] = make_tables(["linear", "quadratic"], [0])["learning"]
    assert list(panels(draw("learning_curves", tables))) == ["linear", "quadratic\n(not trained on)"]


def test_where_only_the_median_is_finite_it_is_shown() -> None:
    tables = make_tables(["quadratic"], [0, 1], median=["quadratic"])
    for name in ("error_by_examples", "learning_curves"):
        assert draw(name, tables).axes[0].get_ylabel() == "median error\n(1 = predicting zero)"
    assert draw("out_of_distribution", tables).axes[0].get_xlabel() == "median error\n(1 = predicting zero)"


def test_several_inputs_have_a_panel_each_and_their_own_metric() -> None:
    tables = make_tables(["linear"], [0], inputs=["gaussian", "student_t"], shifts=SHIFTS[:1], median=["student_t"])
    for name in ("error_by_examples", "learning_curves", "out_of_distribution"):
        figure = draw(name, tables)
        assert list(panels(figure)) == ["linear\nGaussian inputs", "linear\nStudent t inputs"]
        if name != "out_of_distribution":
            assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["normalized", "median"]
            continue
        assert any(label.startswith("hollow: median error") for label in legend_labels(figure))
        for axes, hollow in zip(figure.axes, (False, True), strict=True):
            at_first_row = [
                item for item in axes.lines if item.get_gid() == "model" and np.asarray(item.get_ydata())[0] < 0.5
            ]
            assert [item.get_markerfacecolor() == "white" for item in at_first_row] == [hollow]


def test_evaluations_before_the_last_step_are_left_out() -> None:
    late = small()["evaluation"]
    early = late[late["learner"] == "model"].assign(step=STEPS // 2, value=1.0)
    both = small() | {"evaluation": pd.concat([early, late])}
    for figure in ("error_by_examples", "out_of_distribution"):
        shown, expected = (line(draw(figure, tables).axes[0], "model") for tables in (both, small()))
        assert np.array_equal(shown, expected)


@pytest.mark.parametrize("case", CASES)
def test_nothing_overlaps_or_leaves_the_figure(case: str) -> None:
    tables = make_tables(**CASES[case])
    for name in NAMES:
        figure = draw(name, tables, variant=str(tables["evaluation"]["variant"].iloc[0]))
        check_layout(figure, name)


def test_colours_are_the_same_in_every_figure() -> None:
    shading: dict[str, str] = {}
    for title, axes in panels(drawn("learning_curves")).items():
        (shaded,) = [patch for patch in axes.patches if patch.get_gid() == "in training"]
        shading[title] = to_hex(np.asarray(shaded.get_facecolor()).tolist())
    stacked = {
        str(area.get_label()): to_hex(np.asarray(area.get_facecolor())[0].tolist())
        for area in drawn("curriculum").axes[0].collections
    }
    assert shading == stacked
    assert len(set(shading.values())) == 4
    colours = [
        {item.get_gid(): item.get_color() for axes in drawn(name).axes for item in axes.lines}
        for name in ("error_by_examples", "out_of_distribution")
    ]
    shared = {"model", "oracle", "zero", "least_squares", "averaging"}
    assert all(colours[0][learner] == colours[1][learner] for learner in shared)


def test_learners_can_be_told_apart_without_colour() -> None:
    styles = learner_styles(make_tables()["evaluation"])
    shown = [styles[name] for name in ("model", "oracle", "least_squares", "averaging", "knn", "ridge")]
    assert len({(str(style.line), style.width > 2) for style in shown}) == len(shown)
    assert len({style.marker for style in shown}) == len(shown)


def test_a_variant_must_be_named_where_there_are_several() -> None:
    tables = make_tables(["linear"], [0], variants=["single", "mixed"], shifts=())
    for name in NAMES:
        # Which shows the models of all variants at once.
        if name != "error_by_examples":
            with pytest.raises(ValueError, match="name one of the table's 2 variants: single, mixed"):
                draw(name, tables)
        assert draw(name, tables, variant="mixed").get_suptitle().endswith(": mixed")


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("relu_network", "ReLU network"),
        ("hermite/3", "Hermite 3"),
        ("sparse_linear/sparsity=2", "sparse linear (sparsity = 2)"),
        ("cost_$", r"cost \$"),
    ],
)
def test_identifiers_become_words(identifier: str, expected: str) -> None:
    assert pretty(identifier) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("scaled_inputs/0.333", "inputs ×1/3"),
        ("scaled_outputs/2", "outputs ×2"),
        ("label_noise/0.5", "label noise, σ = 0.5"),
        ("label_noise/flips=0.1", "flipped labels, p = 0.1"),
        ("label_noise/0.5/flips=0.2", "label noise 0.5 (flips = 0.2)"),
        ("opposite_quadrants", "opposite quadrants"),
        ("my_own/strength=2", "my own (strength = 2)"),
    ],
)
def test_shifts_become_words(identifier: str, expected: str) -> None:
    assert shift_label(identifier) == expected


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("gaussian", "Gaussian inputs"),
        ("half_subspace", "half-subspace inputs"),
        ("student_t/df=5", "Student t inputs (df = 5)"),
        ("scaled/2", "Gaussian inputs ×2"),
        ("scaled/0.333/of=student_t/df=5", "Student t inputs (df = 5) ×1/3"),
        ("shifted/1", "Gaussian inputs (mean = 1)"),
    ],
)
def test_inputs_become_words(identifier: str, expected: str) -> None:
    assert inputs_label(identifier) == expected


def test_panels_leave_few_gaps() -> None:
    assert [columns_for(count) for count in range(1, 11)] == [1, 2, 3, 4, 3, 3, 4, 4, 3, 4]


def test_counts_stay_short() -> None:
    assert [short_count(value) for value in (0, 1400, 250_000, 1.5e6)] == ["0", "1400", "250k", "1.5M"]
