"""Error by a swept parameter, as a reader would notice it."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_tables import make_tables, write
from reading_figures import band, legend_labels, line, panels, said, tick_labels

from icl_curriculum import figures
from icl_curriculum.figures import drawing, parameter_axis
from icl_curriculum.figures.drawing import NothingToDraw

K = 8


def make_sweep(
    variants: Mapping[str, Mapping[str, str]],
    *,
    entries: Mapping[str, str] | None = None,
    classes: tuple[str, ...] = ("linear",),
    once: bool = False,
    references: Mapping[str, float] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables of variants, each with its values by parameter: the n-th has the error (n + 1) / 10, times 1 + the seed.

    ``once``: learners that do not train stand once, without a variant, rather than with each; ``references``: the error
    of least squares by variant.
    """
    rows: list[dict[str, Any]] = []
    for number, variant in enumerate(variants):
        for seed in (0, 1):
            errors = {("model", "model"): (number + 1) / 10 * (1 + seed)}
            if not once or (number, seed) == (0, 0):
                errors |= {("zero", "baseline"): 1.0, ("oracle", "oracle"): 0.02}
                errors["least_squares", "baseline"] = (references or {}).get(variant, 0.05)
            for ((learner, kind), error), k in ((item, k) for item in errors.items() for k in range(K + 1)):
                own = kind == "model" or not once
                rows += [
                    {
                        "experiment": "swept", "run": f"{variant}-seed{seed}" if own else np.nan,
                        "variant": variant if own else np.nan, "seed": seed if own else np.nan,
                        "step": 100 if own else np.nan, "learner": learner, "learner_kind": kind,
                        "function_class": name, "input_distribution": "gaussian", "shift": "none",
                        "in_distribution": True, "n_context": k, "metric": "normalized_error",
                        "value": error * (2 if k < K else 1), "ci_low": error, "ci_high": error, "n_prompts": 64,
                    }
                    for name in classes
                ]  # fmt: skip
    swept = [
        {
            "experiment": "swept", "variant": variant, "swept_variant": (entries or {}).get(variant, np.nan),
            "parameter": parameter, "value": value,
        }
        for variant, values in variants.items() for parameter, value in values.items()
    ]  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(swept)


WIDTHS = {f"width={width}": {"model.width": str(width)} for width in (8, 16, 64)}


@pytest.mark.parametrize("once", [False, True])
def test_errors_stand_over_the_values_beside_the_best_baseline_and_the_oracle(once: bool) -> None:
    figure = figures.error_by_parameter(*make_sweep(WIDTHS, once=once))
    assert list(panels(figure)) == ["linear\nk = 2", "linear\nk = 4", "linear\nk = 8"]
    axes = panels(figure)["linear\nk = 8"]
    xs, ys = line(axes, "model")
    assert xs.tolist() == [8, 16, 64]
    assert ys == pytest.approx([0.15, 0.3, 0.45])
    assert band(axes, "model range")[64] == pytest.approx((0.3, 0.6))
    assert [line(axes, name)[1][0] for name in ("least_squares", "oracle", "zero")] == [0.05, 0.02, 1]
    assert axes.get_xscale() == "log", "16 is twice 8 and 64 is four times 16"
    assert [label.get_text() for label in tick_labels(axes, "x")] == ["8", "16", "64"]
    assert {"model, mean of 2 seeds", "least squares", "optimum (oracle)"} <= set(legend_labels(figure))
    assert figure.get_suptitle() == "Error by width"
    assert "Swept: model.width." in said(figure)


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(parameter_axis).attempted
    assert not doctest.testmod(parameter_axis).failed


def test_numbers_of_even_steps_stand_on_an_even_axis_in_their_order() -> None:
    swept = {f"dims={dims}": {"dims": str(dims)} for dims in (3, 1, 2)}
    axes = figures.error_by_parameter(*make_sweep(swept)).axes[0]
    assert axes.get_xscale() == "linear"
    xs, ys = line(axes, "model")
    assert xs.tolist() == [1, 2, 3]
    assert ys == pytest.approx([2 * 0.3, 2 * 0.45, 2 * 0.15]), "at k = 2"


def test_values_that_are_no_numbers_stand_beside_each_other() -> None:
    values = ("mixed", "single/linear", "random")
    figure = figures.error_by_parameter(*make_sweep({name: {"curriculum.function_classes": name} for name in values}))
    axes = figure.axes[-1]
    assert [label.get_text() for label in tick_labels(axes, "x")] == ["mixed", "single linear", "random"]
    (drawn,) = [item for item in axes.lines if item.get_gid() == "model"]
    assert drawn.get_linestyle() == "None", "nothing lies between two words"
    assert line(axes, "model")[1] == pytest.approx([0.15, 0.3, 0.45])


def test_references_that_differ_by_value_follow_it() -> None:
    """As where dimensions are swept, so that every value has prompts of its own."""
    references = {"width=8": 0.05, "width=16": 0.2, "width=64": 0.6}
    axes = panels(figures.error_by_parameter(*make_sweep(WIDTHS, references=references)))["linear\nk = 8"]
    assert line(axes, "least_squares")[1] == pytest.approx([0.05, 0.2, 0.6])


def test_variants_and_other_parameters_have_a_line_each() -> None:
    variants = {
        f"{entry},width={width},steps={steps}": {"model.width": str(width), "training.steps": str(steps)}
        for entry in ("a", "b") for width in (8, 16, 32) for steps in (10, 20)
    }  # fmt: skip
    classes = ("linear", "quadratic", "parity")
    tables = make_sweep(variants, entries={name: name[0] for name in variants}, classes=classes)
    figure = figures.error_by_parameter(*tables)
    assert list(panels(figure)) == ["linear", "quadratic", "parity"]
    assert "At k = 8 in-context examples." in said(figure)
    lines = [f"{entry}, steps = {steps}" for entry in ("a", "b") for steps in (10, 20)]
    assert [label for label in legend_labels(figure) if label.startswith("model")] == [
        f"model: {name}, mean of 2 seeds" for name in lines
    ]
    for number, name in enumerate(lines):
        place = number // 2 * 6 + number % 2 + 1
        expected = [0.15 * (place + 2 * width) for width in range(3)]
        assert line(figure.axes[0], f"model {name}")[1] == pytest.approx(expected)


def test_of_many_lines_some_are_drawn_and_the_note_says_so() -> None:
    swept = {f"{w},{s}": {"model.width": str(w), "dims": str(s)} for w in range(1, 13) for s in range(1, 11)}
    figure = figures.error_by_parameter(*make_sweep(swept))
    assert "4 of 10 lines are drawn" in said(figure)
    assert len([label for label in legend_labels(figure) if label.startswith("model")]) == 4


def test_a_legend_has_six_entries_and_the_rarer_baselines_share_one() -> None:
    evaluation, sweep = make_sweep(WIDTHS, classes=tuple("abcdef"))
    # The best baseline of each class is another.
    for name in "abcde":
        theirs = evaluation["function_class"].eq(name) & evaluation["learner"].eq("least_squares")
        evaluation.loc[theirs, "learner"] = f"ridge/alpha={ord(name) - 96}"
    labels = legend_labels(figures.error_by_parameter(evaluation, sweep))
    assert len(labels) == 6
    assert "other baselines, each the best there" in labels
    assert any("oracle" in label for label in labels)


def test_two_parameters_have_their_errors_in_numbers() -> None:
    grid = {f"{w},{s}": {"model.width": str(w), "dims": str(s)} for s in (3, 2) for w in (8, 16, 32)}
    figure = figures.heat_map_by_parameters(*make_sweep(grid, classes=("linear", "quadratic")))
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["width = 8", "width = 16", "width = 32"]
    assert [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()] == [
        f"{name}, dims = {dims}" for name in ("linear", "quadratic") for dims in (2, 3)
    ]
    numbers = [text.get_text() for text in axes.texts]
    assert numbers[:6] == ["0.60", "0.75", "0.90", "0.15", "0.30", "0.45"]
    assert figure.get_suptitle() == "Error by width and dims"
    assert "Swept: model.width, dims. At k = 8 in-context examples. Means over seeds." in said(figure)


def test_one_parameter_or_three_have_no_heat_map() -> None:
    three = {f"{w}": {"model.width": str(w), "dims": str(w), "points": str(w)} for w in (1, 2)}
    for swept in (WIDTHS, three):
        with pytest.raises(NothingToDraw):
            figures.heat_map_by_parameters(*make_sweep(swept))


def test_one_value_draws_nothing() -> None:
    with pytest.raises(NothingToDraw):
        figures.error_by_parameter(*make_sweep({"width=8": {"model.width": "8"}}))


def test_values_that_have_no_cell_in_common_draw_nothing() -> None:
    evaluation, swept = make_sweep({"a": {"c": "1"}, "b": {"c": "2"}})
    evaluation["function_class"] = np.where(evaluation["variant"] == "a", "linear", "quadratic")
    with pytest.raises(NothingToDraw):
        figures.error_by_parameter(evaluation, swept)


def test_it_is_drawn_from_the_tables_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "ACROSS_VARIANTS", ())
    monkeypatch.setattr(drawing, "FIGURES", {"error_by_parameter": drawing.FIGURES["error_by_parameter"]})
    folder = tmp_path / "made"
    tables = make_tables(["linear"], [0], variants=["width=8", "width=16"])
    write(tables, folder)
    assert not figures.draw_all(folder)
    swept = make_sweep({name: {"model.width": name[6:]} for name in ("width=8", "width=16")})[1]
    swept.to_csv(folder / "sweep.csv", index=False)
    assert figures.draw_all(folder) == [folder / "figures/error_by_parameter.png"]
