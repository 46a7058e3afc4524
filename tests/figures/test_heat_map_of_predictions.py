"""The heat map of whom a model answers like, as a reader would notice it, from made-up differences."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from made_up_differences import differences
from made_up_tables import make_tables, write
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from reading_figures import legend_labels, said

from icl_curriculum import figures
from icl_curriculum.figures import drawing

LENGTHS = (0, 2, 5, 10, 20)
LONGER = (*LENGTHS, 40)
SEEDS = 3


def values(scale: float, lengths: tuple[int, ...] = LENGTHS) -> dict[int, list[float]]:
    return {k: [scale * (1 + 0.1 * seed) for seed in range(SEEDS)] for k in lengths}


def table() -> pd.DataFrame:
    prompts = {"mlp_gd": 128}
    of_linear = {"zero": values(0.8), "ridge": values(0.01), "oracle": values(0.01), "lasso/0.1": values(0.2)}
    of_relu = {"zero": values(0.5), "mlp_gd": values(0.1, (2, 5, 10, 20))}
    outside = {"zero": values(0.05, LONGER), "ridge": values(0.6, LONGER)}
    heavy = {"zero": values(2.0), "ridge": values(1.0)}
    return pd.concat([
        differences(of_linear, prompts=prompts),
        differences(of_relu, "relu_network", prompts=prompts),
        differences(outside, shift="longer_prompts/2", inside=False),
        differences({"zero": values(0.3), "ridge": values(0.4)}, inputs="skewed", inside=False),
        differences(heavy, inputs="cauchy", inside=False, metric="median_difference"),
    ])  # fmt: skip


def rows(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def columns(figure: Figure) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]


def outlined(figure: Figure) -> set[tuple[str, str]]:
    """Row and column of the cells that are marked."""
    boxes = [item for item in figure.axes[0].patches if item.get_gid() == "closest to the model"]
    assert all(isinstance(item, Rectangle) for item in boxes)
    middles = [(item.get_x() + item.get_width() / 2, item.get_y() + item.get_height() / 2) for item in boxes]
    return {(rows(figure)[int(y)], columns(figure)[int(x)]) for x, y in middles}


def number(figure: Figure, row: int, column: str) -> str:
    (found,) = [
        text.get_text()
        for text in figure.axes[0].texts
        if (int(text.get_position()[1]), columns(figure)[int(text.get_position()[0])]) == (row, column)
    ]
    return found


@pytest.fixture(scope="module")
def figure() -> Figure:
    return figures.prediction_differences(table())


def test_a_block_of_learners_for_each_class_and_a_column_for_each_way_to_draw(figure: Figure) -> None:
    assert rows(figure) == [
        "linear", "predicting zero", "ridge", "optimum (oracle)", "lasso (α = 0.1)",
        "ReLU network", "predicting zero", "MLP by gradient descent",
    ]  # fmt: skip
    assert columns(figure) == [
        "k = 2", "k = 5", "k = 10", "k = 20", "skewed inputs", "Cauchy inputs", "longer prompts ×2",
        "longer prompts ×2 (k = 40)",
    ]  # fmt: skip
    bold = [label.get_text() for label in figure.axes[0].get_yticklabels() if label.get_fontweight() == "bold"]
    assert bold == ["linear", "ReLU network"]


def test_numbers_are_means_over_seeds_and_the_closest_are_marked(figure: Figure) -> None:
    assert number(figure, 1, "k = 5") == "0.88"
    assert number(figure, 2, "Cauchy inputs") == "1.1†"
    assert number(figure, 4, "skewed inputs") == "n/a"
    inside = {("ridge", f"k = {k}") for k in (2, 5, 10, 20)} | {
        ("optimum (oracle)", f"k = {k}") for k in (2, 5, 10, 20)
    }
    outside = {("predicting zero", name) for name in columns(figure) if name[0] in "sl"} | {("ridge", "Cauchy inputs")}
    networks = {("MLP by gradient descent", f"k = {k}") for k in (2, 5, 10, 20)}
    assert outlined(figure) == inside | outside | networks


def test_the_note_and_the_scale_say_what_the_numbers_are(figure: Figure) -> None:
    note = said(figure)
    assert "Mean squared difference between the model's predictions and those of each learner, over E f²" in note
    assert "mean of 3 seeds" in note
    assert "at k = 20 in-context examples unless a column says otherwise" in note
    assert "On 128 prompts instead of 640: MLP by gradient descent." in note
    assert "† median difference, as the mean is infinite." in note
    assert "numbers or probabilities are compared" not in note
    assert figure.axes[1].get_xlabel() == "normalized difference of predictions (0 = alike)"
    assert not figure.axes[1].lines
    assert legend_labels(figure) == ["closest to the model", "n/a: undefined, or not evaluated"]
    signs = differences({"ridge": values(0.1)}, metric="disagreement")
    assert "numbers or probabilities are compared" in said(figures.prediction_differences(pd.concat([table(), signs])))


def test_nothing_overlaps_or_leaves_the_figure(figure: Figure) -> None:
    FigureCanvasAgg(figure).draw()
    cells, bar = figure.axes
    shown = [*cells.texts, *cells.get_yticklabels(), *bar.get_xticklabels(), *figure.texts]
    boxes = [text.get_window_extent() for text in shown if text.get_text()]
    assert all(box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= -1 for box in boxes)
    overlaps = [(i, j) for i, one in enumerate(boxes) for j, other in enumerate(boxes[:i]) if one.overlaps(other)]
    assert not overlaps
    assert min(float(text.get_fontsize()) for text in shown) >= 8
    assert figure.get_figwidth() < 8


def test_several_models_have_blocks_of_their_own() -> None:
    masked = table().assign(learner="model/masked=1.1")
    headings = rows(figures.prediction_differences(pd.concat([table(), masked])))
    assert headings[0] == "linear: model"
    assert "linear: model (masked = 1.1)" in headings


def test_nothing_to_draw() -> None:
    for nothing in (table().iloc[:0], table().assign(learner_kind="baseline"), table().assign(other_kind="model")):
        with pytest.raises(figures.NothingToDraw, match="no predictions of a model that were compared"):
            figures.prediction_differences(nothing)


def test_it_is_drawn_where_there_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older results have none, and runs without it may stand beside others."""
    monkeypatch.setattr(drawing, "FIGURES", {"prediction_differences": drawing.FIGURES["prediction_differences"]})
    monkeypatch.setattr(drawing, "ACROSS_VARIANTS", ())
    write(make_tables(["linear"], [0], shifts=(), variants=["mixed", "older"]), tmp_path)
    assert figures.draw_all(tmp_path) == []
    write({"prediction_differences": differences({"ridge": values(0.1)})}, tmp_path)
    path = tmp_path / "figures/prediction_differences.png"
    assert figures.draw_all(tmp_path) == figures.draw_scores(tmp_path) == [path]
    assert figures.draw_prediction_differences(tmp_path) == path
