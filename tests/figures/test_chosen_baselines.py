"""Which baselines stand beside a model by default, and how to see the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import make_scores, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from reading_figures import check_layout, legend_labels, line, panels, said, tick_labels

from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.figures.names import learner_styles

LENGTHS = range(21)
FEW = (2, 5, 10, 20)
COSTLY = ("greedy_tree", "gradient_boosting", "mlp_gd", "sklearn/RandomForestRegressor")
FIFTEEN = (
    "averaging", "least_squares", "ridge", "knn", "kernel_ridge", *COSTLY,
    *(f"lasso/{alpha}" for alpha in ("1", "0.1", "0.01", "0.001", "0.0001")), "quadratic_features",
)  # fmt: skip


def falling(rate: float, ks: Sequence[int] = LENGTHS, start: float = 1.0) -> dict[int, float]:
    return {k: start * float(np.exp(-rate * k)) for k in ks}


def flat(error: float, ks: Sequence[int] = LENGTHS) -> dict[int, float]:
    return dict.fromkeys(ks, error)


def fifteen(function_class: str = "linear") -> pd.DataFrame:
    rates = {name: 0.01 + 0.01 * i for i, name in enumerate(FIFTEEN)}
    curves = {name: falling(rate, FEW if name in COSTLY else LENGTHS) for name, rate in rates.items()}
    others = {"zero": flat(1.0), "oracle": falling(0.3), "model mixed mixed 0": falling(0.2)}
    return make_scores(curves | others, function_class, prompts=dict.fromkeys(COSTLY, 128))


def shown(axes: Axes) -> list[str]:
    """The baselines with a curve of their own."""
    gids = [str(item.get_gid()) for item in axes.lines]
    return [gid for gid in gids if gid.split()[0] not in ("model", "oracle", "informed_oracle", "zero")]


def chosen(curves: Mapping[str, Mapping[int, float]]) -> list[str]:
    return shown(figures.error_by_examples(make_scores(curves)).axes[0])


def test_the_best_on_short_prompts_and_the_best_on_long_ones_are_shown() -> None:
    short = {k: 0.3 if k else 1.0 for k in LENGTHS}
    long = {k: 1.0 if k < 12 else 0.02 for k in LENGTHS}
    # Its mean error is less than that of the latter, but it is never the best.
    middling = {k: 0.4 if k else 1.0 for k in LENGTHS}
    assert chosen({"middling": middling, "short": short, "long": long, "zero": flat(1.0)}) == ["long", "short"]


def test_up_to_three_are_shown_if_each_is_best_somewhere_and_else_two() -> None:
    thirds = {f"third_{i}": {k: 0.1 * (i + 1) if k // 7 == i else 1.0 for k in LENGTHS} for i in range(3)}
    assert sorted(chosen(thirds | {"near": flat(0.8)})) == sorted(thirds)
    surpassed = {"best": falling(0.2), "second": falling(0.15), "third": falling(0.1)}
    assert chosen(surpassed) == ["best", "second"]


def test_what_is_no_better_than_zero_is_not_shown() -> None:
    assert chosen({"good": falling(0.1), "bad": flat(3.0), "as_zero": flat(1.0)}) == ["good"]
    nothing = figures.error_by_examples(make_scores({"bad": flat(3.0)}))
    assert shown(nothing.axes[0]) == []
    assert nothing.axes[0].get_xlim() == pytest.approx((-1, 21))


def test_of_several_settings_of_one_estimator_the_best_is_shown() -> None:
    lassos = {f"lasso/{alpha}": falling(rate) for alpha, rate in (("1", 0.05), ("0.01", 0.2), ("0.0001", 0.15))}
    assert chosen(lassos | {"knn": falling(0.02)}) == ["lasso/0.01", "knn"]
    trees = {"sklearn/SVR": falling(0.1), "sklearn/Ridge": falling(0.2), "sklearn/Ridge/alpha=3": falling(0.19)}
    assert chosen(trees) == ["sklearn/Ridge", "sklearn/SVR"]


def test_learners_are_compared_at_the_lengths_that_they_were_asked_at() -> None:
    dense = {"ridge": falling(0.2), "knn": falling(0.1)}
    # Asked on long prompts alone, where all have small errors, its mean error is the least of all.
    worse = falling(0.05, (10, 20), start=0.5)
    assert np.mean([*worse.values()]) < np.mean([*dense["knn"].values()])
    assert chosen(dense | {"mlp_gd": worse}) == ["ridge", "knn"]
    assert chosen(dense | {"mlp_gd": falling(0.3, FEW)}) == ["mlp_gd", "ridge"]


def test_the_choice_does_not_depend_on_the_order_of_rows_and_ties_go_by_name() -> None:
    evaluation = make_scores({"b": {0: 1.0, 1: 0.2, 2: 0.8}, "a": {0: 1.0, 1: 0.8, 2: 0.2}, "c": flat(0.9, (0, 1, 2))})
    for table in (evaluation, evaluation.iloc[::-1], evaluation.sample(frac=1, random_state=1)):
        assert shown(figures.error_by_examples(table).axes[0]) == ["a", "b"]


def test_the_note_says_how_many_are_left_out_and_how_to_see_them() -> None:
    one = figures.error_by_examples(fifteen())
    left_out = 15 - len(shown(one.axes[0]))
    assert f"the best of each panel; {left_out} others are left out (icl plot --baselines all shows them)" in said(one)
    two = figures.error_by_examples(pd.concat([fifteen(), make_scores({"knn": falling(0.1)}, "quadratic")]))
    assert f"up to {left_out} others are left out" in said(two)
    assert "left out" not in said(figures.error_by_examples(make_scores({"knn": falling(0.1)})))


def test_a_baseline_that_lies_on_a_line_keeps_a_worse_one_out() -> None:
    curves = {"least_squares": falling(0.3), "ridge": falling(0.3), "knn": falling(0.05), "oracle": falling(0.3)}
    figure = figures.error_by_examples(make_scores(curves))
    assert shown(figure.axes[0]) == []
    assert [text.get_text() for text in figure.axes[0].texts] == ["= least squares, ridge"]
    # Where it is best on long prompts alone, the one that is best on short ones is drawn beside it.
    late = {k: 1.0 if k < 10 else falling(0.3)[k] for k in LENGTHS}
    early = dict.fromkeys(LENGTHS, 0.3)
    assert shown(figures.error_by_examples(make_scores({"ridge": late, "oracle": late, "knn": early})).axes[0]) == [
        "knn"
    ]


def test_the_legend_has_six_entries_and_every_panel_its_best_baseline() -> None:
    classes = ["linear", "quadratic", "relu_network", "sparse_linear", "hermite/1", "hermite/2", "hermite/3"]
    parts = []
    for i, name in enumerate(classes):
        own = {f"own_{i}": falling(0.2), f"next_{i}": {k: 0.5 if k < 3 else 0.9 for k in LENGTHS}}
        parts.append(make_scores({**own, "oracle": falling(0.4), "model mixed mixed 0": falling(0.1)}, name))
    figure = figures.error_by_examples(pd.concat(parts))
    assert len(legend_labels(figure)) == 6
    for i, axes in enumerate(figure.axes):
        assert f"own_{i}" in shown(axes)
        # Those without room in the legend have their names on their lines.
        named = f"own {i}" in legend_labels(figure) or [text.get_text() for text in axes.texts] == [f"own {i}"]
        assert named, i
    assert any(axes.texts for axes in figure.axes)
    check_layout(figure, "many panels")


def test_baselines_of_a_figure_differ_in_colour_and_in_line() -> None:
    # Of the fixed styles, these share a colour or a line.
    names = ["kernel_ridge", "least_squares", "lasso/0.0001", "knn"]
    parts = [make_scores({name: falling(0.2)}, f"hermite/{i + 1}") for i, name in enumerate(names)]
    figure = figures.error_by_examples(pd.concat(parts))
    lines = [item for axes in figure.axes for item in axes.lines if item.get_gid() in names]
    assert len({item.get_color() for item in lines}) == 4
    assert len({str(item._dash_pattern) for item in lines}) == 4  # type: ignore[attr-defined]


def test_no_baseline_has_the_colour_of_a_second_model() -> None:
    curves = {"mlp_gd": falling(0.3), "model mixed mixed 0": falling(0.2), "model other other 0": falling(0.1)}
    axes = figures.error_by_examples(make_scores(curves)).axes[0]
    models = {item.get_color() for item in axes.lines if str(item.get_gid()).startswith("model")}
    (baseline,) = [item.get_color() for item in axes.lines if item.get_gid() == "mlp_gd"]
    assert len(models) == 2
    assert baseline not in models


def test_no_power_of_ten_stays_empty() -> None:
    steep = {k: 1.0 if k < 3 else 1e-12 for k in LENGTHS}
    figure = figures.error_by_examples(make_scores({"oracle": steep, "model mixed mixed 0": falling(0.15)}))
    lowest = falling(0.15)[20]
    assert 0.01 < lowest < 0.1
    assert figure.axes[0].get_ylim()[0] == pytest.approx(0.02 / 1.3)
    assert "Errors below 0.02 are drawn at 0.02." in said(figure)
    assert "≤0.02" in [label.get_text() for label in tick_labels(figure.axes[0], "y")]
    far = figures.error_by_examples(make_scores({"oracle": steep, "model mixed mixed 0": falling(0.3)}))
    assert falling(0.3)[20] < 0.005
    assert "Errors below 0.001 are drawn at 0.001." in said(far)


# on request


@pytest.mark.parametrize("panel_count", [1, 4])
def test_all_fifteen_can_be_told_apart_and_nothing_overlaps(panel_count: int) -> None:
    classes = ["linear", "quadratic", "relu_network", "sparse_linear"][:panel_count]
    figure = figures.error_by_examples(pd.concat([fifteen(name) for name in classes]), baselines="all")
    assert all(sorted(shown(axes)) == sorted(FIFTEEN) for axes in figure.axes)
    assert len(legend_labels(figure)) == 15 + 2  # model and oracle
    lines = [item for item in figure.axes[0].lines if item.get_gid() in FIFTEEN]
    assert (
        len({(item.get_color(), item.get_linestyle(), item.get_marker(), str(item._dash_pattern)) for item in lines})
        == 15
    )  # type: ignore[attr-defined]
    assert "left out" not in said(figure)
    check_layout(figure, "all")
    assert figure.get_figheight() < 9
    assert min(axes.get_window_extent().width / figure.dpi for axes in figure.axes) > 2.5


def test_twenty_baselines_have_styles_of_their_own() -> None:
    twenty = [*FIFTEEN, "dmmse", "sparse_posterior", "mine", "yours", "theirs"]
    styles = learner_styles(make_scores(dict.fromkeys(twenty, flat(0.5))))
    assert len({(styles[name].colour, str(styles[name].line)) for name in twenty}) == 20
    assert len({(styles[name].colour, styles[name].marker) for name in twenty}) == 20
    fewer = learner_styles(make_scores(dict.fromkeys(["knn", "mine", "lasso/0.01"], flat(0.5))))
    assert all(fewer[name] == styles[name] for name in ("knn", "lasso/0.01"))


@pytest.mark.parametrize("asked", ["knn", ["knn"], ("knn",)])
def test_baselines_are_shown_as_asked_beside_oracle_and_zero(asked: str | Sequence[str]) -> None:
    figure = figures.error_by_examples(fifteen(), baselines=asked)
    gids = {item.get_gid() for item in figure.axes[0].lines}
    assert gids == {"model", "oracle", "zero", "knn"}
    assert line(figure.axes[0], "knn")[0].tolist() == [*LENGTHS]


def test_what_looks_like_another_line_is_shown_on_request() -> None:
    alike = make_scores({"least_squares": falling(0.2), "ridge": falling(0.2), "oracle": falling(0.2)})
    default, asked, everyone = (
        figures.error_by_examples(alike, baselines=baselines) for baselines in ("best", ["ridge"], ["all"])
    )
    assert shown(default.axes[0]) == []
    assert [text.get_text() for text in default.axes[0].texts] == ["= least squares, ridge"]
    assert not asked.axes[0].texts
    assert shown(asked.axes[0]) == ["ridge"]
    assert shown(everyone.axes[0]) == ["least_squares", "ridge"]


def test_a_baseline_that_is_not_in_the_table_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    evaluation = make_scores({"ridge": falling(0.1), "lasso/0.01": falling(0.2), "oracle": falling(0.3)})
    with pytest.raises(UserError, match=r"no baseline 'rigde'; did you mean 'ridge'\? known: lasso/0.01, ridge$"):
        figures.error_by_examples(evaluation, baselines=["ridge", "rigde"])
    with pytest.raises(UserError, match=r"no baseline 'oracle'; known: lasso/0.01, ridge$"):
        figures.error_by_examples(evaluation, baselines="oracle")
    write({"evaluation": evaluation}, tmp_path)
    for draw in (figures.draw_all, figures.draw_scores):
        with pytest.raises(UserError, match="no baseline 'lasso'; did you mean"):
            draw(tmp_path, baselines=["lasso"])
    assert not (tmp_path / "figures").exists()


def test_files_show_the_baselines_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("icl_curriculum.figures.drawing._save", lambda figure, stem: drawn.append(figure) or stem)
    write({"evaluation": fifteen()}, tmp_path)
    for baselines, count in (("all", 15), (["knn", "ridge"], 2)):
        drawn.clear()
        figures.draw_all(tmp_path, baselines=baselines)
        assert len(shown(drawn[0].axes[0])) == count


# learners that were asked at few lengths


def test_few_lengths_are_markers_joined_by_a_thin_line() -> None:
    axes = panels(figures.error_by_examples(fifteen(), baselines=["mlp_gd", "knn"]))["linear"]
    found = {item.get_gid(): item for item in axes.lines}
    assert np.asarray(found["mlp_gd"].get_xdata()).tolist() == [*FEW]
    assert found["mlp_gd"].get_marker() != "None"
    assert found["mlp_gd"].get_linewidth() < found["knn"].get_linewidth()
    assert found["knn"].get_marker() in ("", "None")


def test_a_single_length_is_a_marker() -> None:
    alone = make_scores({"knn": falling(0.1), "mlp_gd": {5: 0.2}, "model mixed mixed 0": {5: 0.3}})
    axes = figures.error_by_examples(alone).axes[0]
    found = {item.get_gid(): item for item in axes.lines}
    assert line(axes, "mlp_gd") == ([5], [0.2])
    assert {found[name].get_marker() for name in ("mlp_gd", "model")}.isdisjoint({"", "None"})
    (interval,) = [item for item in axes.collections if item.get_gid() == "model range"]
    assert interval.get_paths()[0].vertices[:, 1].tolist() == pytest.approx([0.27, 0.33])


def test_missing_lengths_are_joined_and_no_marks_are_made_of_them() -> None:
    gaps = falling(0.1) | {4: float("nan"), 9: float("nan")}
    del gaps[7]
    axes = figures.error_by_examples(make_scores({"knn": gaps, "ridge": falling(0.05)})).axes[0]
    ks, values = line(axes, "knn")
    assert ks.tolist() == [k for k in LENGTHS if k not in (4, 7, 9)]
    assert values == pytest.approx([gaps[int(k)] for k in ks])
    (drawn,) = [item for item in axes.lines if item.get_gid() == "knn"]
    assert drawn.get_marker() in ("", "None")


def test_the_note_says_what_rests_on_fewer_prompts() -> None:
    note = "On 128 prompts instead of 640: {}."
    assert note.format("lines with markers") in said(figures.error_by_examples(fifteen(), baselines="all"))
    assert "prompts instead" not in said(figures.error_by_examples(fifteen(), baselines=["knn", "ridge"]))
    dense = make_scores({"knn": falling(0.1), "ridge": falling(0.2)}, prompts={"knn": 128})
    assert note.format("nearest neighbours") in said(figures.error_by_examples(dense))
