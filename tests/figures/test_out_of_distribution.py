"""Errors out of distribution, as a reader would notice them: a row per shift, the model beside its best rival."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_up_tables import FOUR, K, make_scores, make_tables, model_error
from matplotlib.figure import Figure
from reading_figures import check_layout, draw, drawn, line, panels, said, small, tick_labels

from icl_curriculum.results.shown_metric import ShownMetric, showing


def categories(figure: Figure) -> list[str]:
    return [label.get_text() for label in tick_labels(figure.axes[0], "y")]


def test_every_shift_is_a_row() -> None:
    assert categories(drawn("out_of_distribution")) == [
        "in distribution",
        "skewed inputs",
        "inputs ×1/3",
        "inputs ×2",
        "random quadrants",
        "label noise, σ = 0.5",
        "longer prompts ×2 (k = 10)",
        "longer prompts ×2 (k = 20)",
    ]


def test_rows_hold_the_model_beside_the_oracle_or_the_best_baseline() -> None:
    figure = drawn("out_of_distribution")
    rows = categories(figure)
    axes = panels(figure)["quadratic"]
    assert axes.get_xscale() == "log"
    xs, ys = line(axes, "model")
    places = dict(zip((rows[round(y)] for y in ys), xs, strict=True))
    mean = 1.2  # of the factors of the three seeds
    assert places["in distribution"] == pytest.approx(mean * model_error("quadratic", K, 0))
    assert places["inputs ×2"] == pytest.approx(mean * model_error("quadratic", K, 0, 6))
    assert places["longer prompts ×2 (k = 20)"] == pytest.approx(mean * model_error("quadratic", 2 * K, 0, 3))
    xs, ys = line(axes, "model range")
    whisker = sorted(xs[(np.round(ys) == rows.index("inputs ×2")) & ~np.isnan(xs)])
    assert whisker == pytest.approx([model_error("quadratic", K, seed, 6) for seed in (0, 2)])
    assert len(line(axes, "oracle")[0]) == len(rows)
    best = line(panels(figure)["ReLU network"], "least_squares")
    assert best[0] == pytest.approx(0.3)
    # At 20 examples averaging is better, and is what the model is compared with.
    assert [rows[round(y)] for y in line(panels(figure)["ReLU network"], "averaging")[1]] == rows[-1:]
    assert [np.asarray(item.get_xdata())[0] for item in axes.lines if item.get_gid() == "zero"] == [1]


def test_where_more_is_better_the_best_baseline_is_the_one_with_most() -> None:
    evaluation = small()["evaluation"]
    evaluation = evaluation[evaluation["learner_kind"] != "oracle"]
    with showing(ShownMetric({"normalized_error": "mark"}, "up", None, None, "normalized_error")):
        figure = draw("out_of_distribution", {"evaluation": evaluation})
    plain = evaluation[(evaluation["shift"] == "none") & (evaluation["learner_kind"] == "baseline")]
    for name, axes in panels(figure).items():
        own = plain[(plain["function_class"] == name.lower().replace(" ", "_")) & (plain["n_context"] == K)]
        own = own[(own["metric"] == "normalized_error") & (own["learner"] != "zero")]
        if len(own):
            best = own.groupby("learner")["value"].mean().idxmax()
            assert best in {item.get_gid() for item in axes.lines}


def test_an_oracle_is_shown_even_where_a_baseline_is_better() -> None:
    evaluation = small()["evaluation"]
    knn = evaluation[evaluation["learner"] == "knn"]
    oracle = knn.assign(learner="oracle", learner_kind="oracle", value=0.9)
    axes = draw("out_of_distribution", {"evaluation": pd.concat([evaluation, oracle])}).axes[0]
    assert {item.get_gid() for item in axes.lines} == {"model", "model range", "oracle", "zero"}


def test_an_undefined_shift_says_so() -> None:
    figure = drawn("out_of_distribution")
    missing = {title: [(text.get_text(), text.get_position()[1]) for text in axes.texts]
               for title, axes in panels(figure).items()}  # fmt: skip
    assert missing.pop("ReLU network") == [("n/a", categories(figure).index("random quadrants"))]
    assert not any(missing.values())


def test_many_rows_stand_side_by_side() -> None:
    many = [f"scaled_inputs/{factor}" for factor in range(2, 20)]
    figure = draw("out_of_distribution", make_tables(FOUR, [0], shifts=many))
    assert len(categories(figure)) == 20
    assert figure.get_figheight() < 8
    check_layout(figure, "out_of_distribution")
    assert len({axes.get_subplotspec().rowspan.start for axes in figure.axes}) == 1  # type: ignore[union-attr]


# rivals that were asked at few lengths or on few prompts


def rivals(curves: dict[str, dict[int, float]], **prompts: int) -> Figure:
    """Of a model with these under two shifts."""
    model = {"model score score 0": dict.fromkeys(range(5), 0.5), "knn": dict.fromkeys(range(5), 0.4)}
    parts = [make_scores(model | curves, shift=shift, prompts=prompts) for shift in ("none", "scaled_inputs/2")]
    return draw("out_of_distribution", {"evaluation": pd.concat(parts)})


def rival(figure: Figure) -> set[str]:
    return {str(item.get_gid()) for item in figure.axes[0].lines} - {"model", "model range", "zero"}


def test_the_best_rival_may_rest_on_fewer_prompts_which_the_note_says() -> None:
    figure = rivals({"greedy_tree": {2: 0.5, 4: 0.1}}, greedy_tree=128)
    assert rival(figure) == {"greedy_tree"}
    assert "On 128 prompts instead of 640: greedy tree." in said(figure)


def test_rivals_without_an_error_at_the_longest_prompts_are_none() -> None:
    figure = rivals({"greedy_tree": {2: 0.01}, "lasso/1": {2: 0.01, 4: float("nan")}})
    assert rival(figure) == {"knn"}
    assert "prompts instead" not in said(figure)


def test_longer_prompts_that_only_a_baseline_was_asked_are_not_shown() -> None:
    figure = rivals({"ridge": dict.fromkeys(range(9), 0.45)})
    assert categories(figure) == ["in distribution", "inputs ×2"]
    assert "At k = 4 in-context examples" in said(figure)


def test_as_many_rivals_as_rows_have_room_in_the_legend() -> None:
    names = ["ridge", "knn", "averaging", "gradient_boosting", "sklearn/RandomForestRegressor", *"abcdefghi"]
    parts = []
    for i in range(len(names)):
        errors = {name: {4: 0.3 if i == j else 0.4} for j, name in enumerate(names)} | {"model score score 0": {4: 0.5}}
        parts.append(make_scores(errors, shift=f"scaled_inputs/{i}" if i else "none"))
    figure = draw("out_of_distribution", {"evaluation": pd.concat(parts)})
    assert rival(figure) == {*names}
    check_layout(figure, "many rivals")
