"""Errors beside published ones, as a reader would notice them: which points stand beside which curves, and when."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_tables import make_scores, make_tables, write
from matplotlib.figure import Figure
from reading_figures import band, check_layout, legend_labels, line, panels, said

from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.results import printed
from icl_curriculum.results.printed import PRINTED, Printed
from icl_curriculum.results.run_setting import RunSetting
from icl_curriculum.results.shown_metric import ShownMetric, showing

SMALL = {"name": "transformer", "layers": 4, "width": 64, "heads": 2, "tokens": "joint"}
SETTINGS = {"mixed": RunSetting(20, SMALL)}
LABEL = "Garg et al. 2022, 9.5M weights, 500,000 steps (no interval printed)"


def ours(k: int, difficulty: float = 1.0) -> float:
    return difficulty * (0.01 + float(np.exp(-0.15 * k)))


def asked(
    function_class: str, inputs: str = "gaussian", shift: str = "none", *, longest: int = 40, seeds: int = 1,
    oracle: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """What models, least squares and an oracle answer under one condition at every length."""
    curves: dict[str, dict[int, float]] = {
        f"model garg mixed {seed}": {k: ours(k, 1 + seed) for k in range(longest + 1)} for seed in range(seeds)
    }
    curves["least_squares"] = {k: max(0.05, 1 - k / 20) for k in range(longest + 1)}
    curves["averaging"] = {k: 20 / (k + 20) for k in range(longest + 1)}
    if oracle:
        curves["oracle"] = {k: max(0.0, 1 - k / 20) for k in range(longest + 1)}
    table = make_scores(curves, function_class, inputs=inputs, shift=shift)
    is_model = table["learner_kind"] == "model"
    inside = is_model & (inputs == "gaussian") & (shift == "none")
    # Learners without training stand for the variant's runs here.
    return table.assign(
        experiment="garg", variant="mixed", run=table["run"].where(is_model, "mixed-seed0"), in_distribution=inside,
        step=1000, ci_low=0.9 * table["value"], ci_high=1.2 * table["value"],
    )  # fmt: skip


def linear(seeds: int = 1) -> pd.DataFrame:
    conditions = {(each.asked.input_distribution, each.shift) for each in PRINTED if each.trained_on == "linear"}
    conditions |= {("skewed", "none")}
    return pd.concat(
        [asked("linear", *condition, longest=10 if "orth" in condition[1] else 40, seeds=seeds)
         for condition in sorted(conditions)]
    )  # fmt: skip


def relu() -> pd.DataFrame:
    other = asked("linear", longest=100).assign(in_distribution=False)
    return pd.concat([asked("relu_network", longest=100, oracle=False), other])


def exposure(variant: str = "mixed") -> pd.DataFrame:
    run = {"experiment": "garg", "run": f"{variant}-seed0", "variant": variant, "seed": 0}
    cell = {"function_class": "linear", "input_distribution": "gaussian"}
    return pd.DataFrame(
        [run | cell | {"step": step, "prompts": 64 * step, "flops": 10**9 * step} for step in (0, 1000)]
    )


def drawn(evaluation: pd.DataFrame, settings: Mapping[str, RunSetting] = SETTINGS, **options: Any) -> Figure:
    return figures.published(evaluation, exposure(), settings=settings, **options)


def test_printed_points_stand_beside_our_curves_under_each_condition() -> None:
    figure = drawn(linear())
    assert list(panels(figure)) == [
        "linear, in distribution", "half-subspace inputs", "random quadrants", "overlapping queries",
        "orthogonal queries",
    ]  # fmt: skip
    axes = panels(figure)["half-subspace inputs"]
    xs, ys = line(axes, "printed")
    assert dict(zip(xs, ys, strict=True)) == {10: 0.036, 20: 0.0014, 40: 0.00057}
    xs, ys = line(axes, "model ours")
    assert ys == pytest.approx([ours(int(k)) for k in xs])
    assert band(axes, "model ours range")[20] == pytest.approx((0.9 * ours(20), 1.2 * ours(20)))
    assert axes.get_yscale() == "log"
    assert {str(item.get_gid()) for item in axes.lines} >= {"oracle", "least_squares", "zero"}
    check_layout(figure, "published")


def test_the_smallest_printed_errors_are_drawn_where_they_lie() -> None:
    axes = panels(drawn(linear()))["overlapping queries"]
    assert min(line(axes, "printed")[1]) == 0.0005
    assert axes.get_ylim()[0] < 0.0005
    # As everywhere, errors of 0 stand at the lower edge.
    assert axes.get_ylim()[0] < line(axes, "oracle")[1].min() < 0.0005


def test_legend_and_note_say_whose_errors_these_are_and_what_they_took() -> None:
    figure = drawn(linear())
    assert legend_labels(figure) == ["model: ours", "optimum (oracle)", "least squares", "averaging", LABEL]
    assert "Ours: 4 layers of 64, 2 heads, joint tokens, 1,000 steps, 64,000 prompts (0.2% of theirs), 1.0e+12" in (
        note := said(figure)
    )
    assert "Bands: confidence interval over prompts." in note
    assert "Orthogonal queries: printed as about 1 at every k." in note


def test_of_imported_weights_nobody_knows_what_training_took() -> None:
    figure = figures.published(linear(), exposure().iloc[:0], settings=SETTINGS)
    assert "Ours: 4 layers of 64, 2 heads, joint tokens, 1,000 steps. Bands" in said(figure)


def test_a_costly_baseline_has_markers_and_the_note_says_on_how_few_prompts_it_rests() -> None:
    boosting = make_scores({"gradient_boosting": {k: 0.5 - k / 400 for k in (10, 20, 100)}}, "decision_tree",
                           prompts={"gradient_boosting": 128})  # fmt: skip
    tree = asked("decision_tree", longest=100, oracle=False)
    boosting = boosting.assign(experiment="garg", variant="mixed", run="mixed-seed0", step=1000)
    figure = drawn(pd.concat([tree[tree["learner"] != "least_squares"], boosting]))
    (item,) = [each for each in figure.axes[0].lines if each.get_gid() == "gradient_boosting"]
    assert item.get_marker() not in ("", "None")
    assert "On 128 prompts instead of 640: gradient boosting." in said(figure)


def test_several_seeds_are_averaged_within_their_range() -> None:
    axes = panels(figure := drawn(linear(seeds=2)))["linear, in distribution"]
    assert line(axes, "model ours")[1][20] == pytest.approx(1.5 * ours(20))
    assert band(axes, "model ours range")[20] == pytest.approx((ours(20), 2 * ours(20)))
    assert "model: ours, mean of 2 seeds" in legend_labels(figure)


def test_a_class_that_was_not_trained_on_has_a_panel_where_its_errors_are_printed() -> None:
    figure = drawn(relu())
    assert list(panels(figure)) == ["ReLU network, in distribution", "linear\n(not trained on)"]
    assert list(line(panels(figure)["linear\n(not trained on)"], "printed")[1]) == [0.34, 0.05, 0.01]
    check_layout(figure, "published")


def test_a_printed_interval_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "PRINTED", [Printed("linear", 20, 0.02, interval=(0.01, 0.04))])
    figure = drawn(linear())
    (bar,) = [item for item in figure.axes[0].collections if item.get_gid() == "printed interval"]
    assert [list(point) for point in bar.get_paths()[0].vertices] == [[20, 0.01], [20, 0.04]]  # type: ignore[union-attr]
    label = LABEL.replace("no interval printed", "bars: printed intervals")
    assert label in " | ".join(legend_labels(figure)).replace("\n", " ")


def _two_classes() -> pd.DataFrame:
    return pd.concat([asked("linear"), asked("sparse_linear")])


@pytest.mark.parametrize(
    ("evaluation", "settings"),
    [
        (linear, {"mixed": RunSetting(5, SMALL)}),
        (linear, {}),
        (_two_classes, SETTINGS),
        (lambda: asked("quadratic"), SETTINGS),
        (lambda: asked("linear", "skewed").assign(in_distribution=True), SETTINGS),
        (lambda: linear().query("learner_kind != 'model'"), SETTINGS),
    ],
    ids=["other dimensions", "unknown dimensions", "two classes", "another class", "other inputs", "no model"],
)  # fmt: skip
def test_nothing_is_drawn_where_nothing_is_printed(evaluation: Any, settings: dict[str, RunSetting]) -> None:
    with pytest.raises(figures.NothingToDraw, match="nothing is printed"):
        drawn(evaluation(), settings)


def test_another_metric_is_not_printed() -> None:
    with (
        showing(ShownMetric({"normalized_error": "mark"}, "down", None, None, "normalized_error")),
        pytest.raises(figures.NothingToDraw),
    ):
        drawn(linear())


def test_icl_plot_draws_it_for_runs_in_the_printed_dimensions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "FIGURES", {"published": drawing.FIGURES["published"]})
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
    tables = make_tables(["linear"], [0], variants=["mixed"], shifts=())
    tables["evaluation"] = pd.concat([linear()])[tables["evaluation"].columns]
    directory = write({**tables, "exposure": exposure()}, tmp_path)
    assert figures.draw_all(directory) == []  # a copy of the tables alone does not say in how many dimensions
    config = directory / "mixed-seed0" / "config.toml"
    config.parent.mkdir()
    model = 'model = { name = "transformer", layers = 4, width = 64 }\n'
    config.write_text(f"dims = 20\n{model}")
    assert [path.stem for path in figures.draw_all(directory)] == ["published"]
    config.write_text(f"dims = 5\n{model}")
    assert figures.draw_all(directory) == []
