"""Error by examples, as a reader would notice it: models, oracle and baselines in a panel per class."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_tables import STEPS, K, make_scores, make_tables, model_error
from reading_figures import axes_hold, band, draw, drawn, legend_labels, line, panels, said, small, tick_labels


def test_examples_have_a_labelled_panel_per_class() -> None:
    figure = drawn("error_by_examples")
    assert list(panels(figure)) == ["linear", "sparse linear", "quadratic", "ReLU network"]
    assert figure.get_suptitle() == "Error by number of in-context examples"
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        assert axes.get_xlabel() == "in-context examples k"
        assert axes.get_ylim() == figure.axes[0].get_ylim()
    assert figure.axes[0].get_ylabel() == "normalized error\n(1 = predicting zero)"


def test_model_line_is_the_mean_and_its_band_the_range_over_seeds() -> None:
    axes = panels(drawn("error_by_examples"))["quadratic"]
    ks, values = line(axes, "model")
    by_seed = np.array([[model_error("quadratic", k, seed) for k in range(K + 1)] for seed in range(3)])
    assert ks.tolist() == list(range(K + 1))
    assert values == pytest.approx(by_seed.mean(axis=0))
    spans = band(axes, "model range")
    assert [spans[k][0] for k in ks] == pytest.approx(by_seed.min(axis=0))
    assert [spans[k][1] for k in ks] == pytest.approx(by_seed.max(axis=0))
    thin = sorted(np.asarray(item.get_ydata())[0] for item in axes.lines if item.get_gid() == "model seed")
    assert thin == pytest.approx(by_seed[:, 0])


def test_a_single_seed_has_its_interval_over_prompts() -> None:
    figure = draw("error_by_examples", small())
    spans = band(panels(figure)["Hermite 3"], "model range")
    assert axes_hold(figure.axes[0], spans[0])
    assert spans[0] == pytest.approx((0.9 * model_error("hermite/3", 0, 0), 1.2 * model_error("hermite/3", 0, 0)))
    assert "Bands: confidence interval over prompts." in said(figure)
    assert not any(item.get_gid() == "model seed" for item in figure.axes[0].lines)


def test_a_perfect_oracle_runs_along_the_floor() -> None:
    figure = drawn("error_by_examples")
    axes = panels(figure)["linear"]
    _, values = line(axes, "oracle")
    assert values == pytest.approx([max(1e-2, 1 - k / 5) for k in range(K + 1)])
    assert axes.get_ylim()[0] < 1e-2
    assert "≤0.01" in [label.get_text() for label in tick_labels(axes, "y")]
    assert "Errors below 0.01 are drawn at 0.01." in said(figure)


def test_a_diverged_seed_runs_along_the_ceiling() -> None:
    tables = make_tables(["linear"], [0, 1], shifts=())
    evaluation = tables["evaluation"]
    tables["evaluation"] = evaluation.assign(
        value=evaluation["value"].mask((evaluation["learner"] == "model") & (evaluation["seed"] == 1))
    )
    for name, which in (("error_by_examples", 1), ("out_of_distribution", 0)):
        figure = draw(name, tables)
        errors = line(figure.axes[0], "model")[which]
        ceiling = float(np.max(errors))
        assert ceiling >= 5
        assert f"Errors above {ceiling:g} are drawn at {ceiling:g}." in said(figure)


def test_only_the_best_baselines_that_can_be_told_apart_are_shown() -> None:
    figure = drawn("error_by_examples")
    shown = {
        title: {item.get_gid() for item in axes.lines} - {"model", "model seed"}
        for title, axes in panels(figure).items()
    }
    assert shown == {
        "linear": {"oracle", "zero", "averaging"},
        "sparse linear": {"informed_oracle", "zero", "least_squares", "averaging"},
        "quadratic": {"oracle", "zero", "least_squares", "averaging"},
        "ReLU network": {"zero", "least_squares", "averaging"},
    }
    # Least squares is as good as the oracle: it is named there, and no worse one stands in its place.
    assert [text.get_text() for text in panels(figure)["linear"].texts] == ["= least squares"]
    assert "After “=” on a line: baselines whose lines would lie on it." in said(figure)
    assert {"optimum (oracle)", "least squares", "averaging"} <= {*legend_labels(figure)}
    assert "predicting zero" not in legend_labels(figure)


# tables of scores, and of several runs


def test_without_a_model_baselines_and_oracle_are_alone() -> None:
    of_class = {"zero": dict.fromkeys(range(5), 1.0), "ridge": dict.fromkeys(range(5), 0.5)}
    oracle = {"oracle": dict.fromkeys(range(5), 0.1)}
    parts = [make_scores(of_class | oracle), make_scores(of_class, "quadratic")]
    figure = draw("error_by_examples", {"evaluation": pd.concat(parts)})
    assert list(panels(figure)) == ["linear", "quadratic"]
    assert figure.get_suptitle() == "Error by number of in-context examples"
    assert legend_labels(figure) == ["optimum (oracle)", "ridge"]
    inputs = pd.concat([make_scores(of_class), make_scores(of_class, inputs="laplace")])
    assert list(panels(draw("error_by_examples", {"evaluation": inputs}))) == [
        "linear\nGaussian inputs",
        "linear\nLaplace inputs",
    ]


@pytest.mark.parametrize(
    ("trained", "names"),
    [
        (["mixed a 0", "longer a 0"], ["model: mixed", "model: longer"]),
        (["mixed a 0", "mixed b 0"], ["model: a", "model: b"]),
        (["mixed a 0", "mixed b 0", "longer a 0"], ["model: mixed, a", "model: mixed, b", "model: longer, a"]),
        (["mixed a 0", "mixed a 1"], ["model, mean of 2 seeds"]),
        (["mixed a 0", "mixed a 1", "longer a 0"], ["model: mixed, mean of 2 seeds", "model: longer"]),
    ],
)
def test_models_of_several_experiments_or_variants_have_lines_of_their_own(
    trained: list[str], names: list[str]
) -> None:
    errors = {f"model {which}": {k: 0.5 / (i + k + 1) for k in range(6)} for i, which in enumerate(trained)}
    figure = draw("error_by_examples", {"evaluation": make_scores(errors | {"knn": dict.fromkeys(range(6), 0.6)})})
    assert [label for label in legend_labels(figure) if label.startswith("model")] == names
    lines = [item for item in figure.axes[0].lines if str(item.get_label()) in names]
    assert len({(item.get_color(), item.get_linestyle()) for item in lines}) == len(names)
    last = {str(item.get_label()): np.asarray(item.get_ydata())[-1] for item in lines}
    seeds = sum(which.startswith("mixed a") for which in trained)
    assert last[names[0]] == pytest.approx(np.mean([0.5 / (i + 6) for i in range(seeds)]))


def test_runs_of_one_name_end_where_their_own_experiment_does() -> None:
    evaluation = make_scores({"model mixed a 0": {1: 0.3, 2: 0.2}, "model longer a 0": {1: 0.2, 2: 0.1}})
    evaluation["step"] = evaluation["step"].mask(evaluation["experiment"] == "longer", 10 * STEPS)
    figure = draw("error_by_examples", {"evaluation": evaluation})
    assert line(figure.axes[0], "model mixed")[1].tolist() == [0.3, 0.2]


def test_models_that_were_scored_under_names_of_their_own_have_these() -> None:
    evaluation = make_scores({"model score score 0": {1: 0.3, 2: 0.2}, "other score score 0": {1: 0.2, 2: 0.1}})
    figure = draw("error_by_examples", {"evaluation": evaluation})
    assert [label for label in legend_labels(figure) if "interval" not in label][:2] == ["model", "other"]
    colours = {item.get_color() for item in figure.axes[0].lines if item.get_gid() in ("model", "other")}
    assert len(colours) == 2
