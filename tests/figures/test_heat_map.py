"""The heat map, as a reader would notice it: its numbers, colours, marks and layout, from made-up tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import FOUR, SHIFTS, K, make_tables, model_error, write
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from reading_figures import legend_labels, said

from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.figures.coloured_cells import COLOURS, NumberTable, error_text, table_figure, text_colour

MANY_SHIFTS = [
    "half_subspace", "random_quadrants", "opposite_quadrants", "orthogonal_queries", "overlapping_queries",
    *(f"scaled_inputs/{factor}" for factor in (0.333, 0.5, 2, 3)), "scaled_outputs/0.5", "scaled_outputs/2",
    "label_noise/0.1", "label_noise/0.5", "label_noise/flips=0.1", "longer_prompts/1.5", "longer_prompts/2",
    *(f"my_own/{strength}" for strength in range(5)),
]  # fmt: skip


def table(classes: Sequence[str] = FOUR, seeds: Sequence[int] = (0,), **options: object) -> pd.DataFrame:
    return make_tables(classes, seeds, **options)["evaluation"]  # type: ignore[arg-type]


def columns(figure: Figure) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]


def rows(figure: Figure) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in figure.axes[0].get_yticklabels()]


def numbers(figure: Figure) -> dict[str, dict[str, str]]:
    """Row -> column -> what the cell says."""
    found: dict[str, dict[str, str]] = {row: {} for row in rows(figure)}
    for text in figure.axes[0].texts:
        x, y = text.get_position()
        found[rows(figure)[int(y)]][columns(figure)[int(x)]] = text.get_text()
    return found


def marked(figure: Figure, gid: str) -> list[tuple[str, str]]:
    """Row and column of the cells under a patch."""
    patches = [item for item in figure.axes[0].patches if item.get_gid() == gid and isinstance(item, Rectangle)]
    middles = [(item.get_x() + item.get_width() / 2, item.get_y() + item.get_height() / 2) for item in patches]
    return [(rows(figure)[int(y)], columns(figure)[int(x)]) for x, y in middles]


@pytest.fixture(scope="module")
def four() -> Figure:
    return figures.heat_map(table(seeds=[0, 1, 2], untrained=["decision_tree"]))


def test_every_class_has_a_row_and_every_way_to_draw_prompts_a_column(four: Figure) -> None:
    assert rows(four) == ["linear", "sparse linear", "quadratic", "ReLU network", "decision tree (not trained on)"]
    assert columns(four) == [
        "no shift", "skewed inputs", "inputs ×1/3", "inputs ×2", "random quadrants", "label noise, σ = 0.5",
        "longer prompts ×2 (k = 10)", "longer prompts ×2 (k = 20)",
    ]  # fmt: skip
    assert columns(figures.heat_map(table(shifts=())))[0] == "in distribution"


def test_cells_say_the_models_mean_error_over_seeds(four: Figure) -> None:
    mean = 1.2  # of the factors of the three seeds
    of_quadratic = numbers(four)["quadratic"]
    assert of_quadratic["no shift"] == error_text(mean * model_error("quadratic", K, 0))
    assert of_quadratic["inputs ×2"] == error_text(mean * model_error("quadratic", K, 0, 6))
    assert of_quadratic["longer prompts ×2 (k = 20)"] == error_text(mean * model_error("quadratic", 2 * K, 0, 3))
    assert "mean of 3 seeds, at k = 10 in-context examples unless a column says otherwise" in said(four)
    assert four.axes[1].get_xlabel() == "normalized error (1 = predicting zero)"


def test_cells_in_distribution_are_outlined(four: Figure) -> None:
    assert marked(four, "in distribution") == [(row, "no shift") for row in rows(four)[:-1]]
    assert "in distribution" in legend_labels(four)


def test_undefined_cells_say_so(four: Figure) -> None:
    assert marked(four, "n/a") == [("ReLU network", "random quadrants")]
    assert [row for row, cells in numbers(four).items() if "n/a" in cells.values()] == ["ReLU network"]
    assert "n/a: undefined, or not evaluated" in legend_labels(four)
    complete = figures.heat_map(table(["linear"]))
    assert not marked(complete, "n/a")
    assert legend_labels(complete) == ["in distribution"]


def test_medians_are_marked_where_other_cells_are_means() -> None:
    inputs = ["gaussian", "student_t/df=5"]
    mixed = figures.heat_map(table(["linear"], inputs=inputs, shifts=SHIFTS[:1], median=inputs[1:]))
    of_row = numbers(mixed)
    daggers = {row: "".join(cells.values()).count("†") for row, cells in of_row.items()}
    assert daggers == {"linear, Gaussian inputs": 0, "linear, Student t inputs (df = 5)": 2}
    assert "† median error, as the mean is infinite." in said(mixed)
    medians = figures.heat_map(table(["linear"], median=["linear"]))
    assert not any("†" in text for cells in numbers(medians).values() for text in cells.values())
    assert medians.axes[1].get_xlabel() == "median error (1 = predicting zero)"


def test_a_model_that_overflowed_has_the_worst_colour() -> None:
    evaluation = table(["linear"])
    overflowed = (evaluation["learner"] == "model") & (evaluation["shift"] == "scaled_inputs/2")
    figure = figures.heat_map(evaluation.assign(value=evaluation["value"].mask(overflowed)))
    assert numbers(figure)["linear"]["inputs ×2"] == "∞"
    assert "∞: the model's predictions overflowed." in said(figure)
    FigureCanvasAgg(figure).draw()
    colours = figure.axes[0].collections[0].get_facecolor()
    assert np.asarray(colours)[columns(figure).index("inputs ×2")] == pytest.approx(COLOURS(1.0))


def test_the_zero_predictor_is_marked_on_the_scale(four: Figure) -> None:
    bar = four.axes[1]
    assert [label.get_text() for label in bar.get_xticklabels()] == ["0.03", "0.1", "0.3", "1", "3"]
    (mark,) = [item for item in bar.lines if item.get_gid() == "zero"]
    assert np.asarray(mark.get_xdata())[0] == 1


def test_colours_span_the_errors_of_the_figure() -> None:
    evaluation = table(["linear", "quadratic"])
    models = evaluation["learner"] == "model"
    values = np.where(evaluation["shift"] == "none", 0.22, 0.45)
    narrow = figures.heat_map(evaluation.assign(value=evaluation["value"].mask(models, values)))
    assert narrow.axes[0].collections[0].norm.vmin == pytest.approx(0.2)  # type: ignore[attr-defined]
    assert narrow.axes[0].collections[0].norm.vmax == pytest.approx(1.0)  # type: ignore[attr-defined]
    assert [label.get_text() for label in narrow.axes[1].get_xticklabels()] == ["0.2", "0.5", "1"]
    wide = figures.heat_map(evaluation.assign(value=evaluation["value"].mask(models, values**12)))
    assert next(label.get_text() for label in wide.axes[1].get_xticklabels()) == "≤0.001"


def test_rows_without_a_number_are_folded_into_the_note() -> None:
    none = float("nan")
    table_of = NumberTable(
        rows=["one class", "ridge", "costly", "another class", "undefined"], columns=["k = 1", "k = 2"],
        numbers=np.array([[none, none], [0.1, none], [none, none], [none, none], [none, none]]),
        by_median=np.zeros((5, 2), dtype=bool), outlined=frozenset({(1, 0)}), outline="closest",
        headings=frozenset({0, 3}),
    )  # fmt: skip
    figure = table_figure(table_of, "normalized_error", title="Table", note=[])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one class", "ridge"]
    assert "Undefined or not evaluated throughout, and left out: costly, undefined." in said(figure)
    assert len([item for item in figure.axes[0].patches if item.get_gid() == "closest"]) == 1
    assert "n/a: undefined, or not evaluated" in legend_labels(figure)


def test_colours_work_in_grey_and_text_stands_out() -> None:
    shades = [COLOURS(level) for level in np.linspace(0, 1, 50)]
    luminances = np.array([np.dot(np.array(to_rgb(shade)) ** 2.2, (0.2126, 0.7152, 0.0722)) for shade in shades])
    assert (np.diff(luminances) > 0).all()
    text = np.array([text_colour(shade) == "black" for shade in shades], dtype=float)
    contrast = (np.maximum(luminances, text * luminances) + 0.05) / 0.05 * text
    contrast += (1.05 / (luminances + 0.05)) * (1 - text)
    assert contrast.min() > 4.4


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (0.0, "0"),
        (0.00034, "3e-4"),
        (0.0055, "0.0055"),
        (0.0553, "0.055"),
        (0.0996, "0.10"),
        (0.996, "1.0"),
        (13.2, "13"),
        (134.0, "130"),
        (9960.0, "1e4"),
        (float("inf"), "∞"),
        (float("nan"), "n/a"),
    ],
)
def test_errors_have_two_digits(error: float, expected: str) -> None:
    assert error_text(error) == expected


# layout


def made(case: str) -> pd.DataFrame:
    if case == "smallest":
        return table(["linear"], shifts=())
    if case == "large":
        return table([*FOUR, *(f"hermite/{degree}" for degree in range(10))], shifts=MANY_SHIFTS)
    names = ["linear", "a_rather_long_name_of_a_class/parameter=2.5"]
    shifts = ["my_very_long_shift/with_a_parameter=2.5/and_more=3", "x" * 40, *SHIFTS]
    return table(names, inputs=["gaussian", "student_t/df=5"], median=["student_t/df=5"], shifts=shifts,
                 untrained=["decision_tree"], variants=["a_$_in_a_long_name" * 5])  # fmt: skip


def corners(text: Text) -> np.ndarray:
    """The corners of a text, turned as it is, in pixels: (4, 2)."""
    turned = text.get_rotation()
    anchor = text.get_transform().transform(text.get_unitless_position())
    text.set_rotation(0)
    box = text.get_window_extent().padded(-1)
    text.set_rotation(turned)
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    square = np.array([[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]])
    return np.asarray((square - anchor) @ np.array([[c, s], [-s, c]]) + anchor)


def apart(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether an edge of one of two boxes separates them."""
    for box in (one, other):
        for axis in (box[1] - box[0], box[3] - box[0]):
            a, b = one @ axis, other @ axis
            if a.max() < b.min() or b.max() < a.min():
                return True
    return False


@pytest.mark.parametrize("case", ["smallest", "large", "long names"])
def test_nothing_overlaps_or_leaves_the_figure(case: str) -> None:
    evaluation = made(case)
    figure = figures.heat_map(evaluation, variant=str(evaluation["variant"].iloc[0]))
    FigureCanvasAgg(figure).draw()
    cells, bar = figure.axes
    (legend,) = figure.legends
    shown = [*figure.texts, *cells.texts, *cells.get_xticklabels(), *cells.get_yticklabels(),
             *bar.get_xticklabels(), bar.xaxis.label, *legend.get_texts()]  # fmt: skip
    boxes = [corners(text) for text in shown]
    low, high = np.min([box.min(axis=0) for box in boxes], axis=0), np.max([box.max(axis=0) for box in boxes], axis=0)
    assert (low >= -1).all()
    assert (high <= np.array([figure.bbox.x1, figure.bbox.y1]) + 1).all()
    centres = np.array([box.mean(axis=0) for box in boxes])
    reach = np.array([np.ptp(box, axis=0).max() for box in boxes])
    near = np.abs(centres[:, None] - centres).max(axis=2) < reach[:, None] + reach
    overlaps = [(i, j) for i, j in np.argwhere(near) if i < j and not apart(boxes[i], boxes[j])]
    assert not [(shown[i], shown[j]) for i, j in overlaps]
    for text in cells.texts:
        assert text.get_window_extent().width < cells.bbox.width / len(columns(figure))
    assert not bar.get_window_extent().overlaps(cells.get_window_extent())
    assert min(float(text.get_fontsize()) for text in shown) >= 8
    assert figure.get_figwidth() < 16
    assert figure.get_figheight() < 9


def test_figures_are_written_alike_every_time(tmp_path: Path) -> None:
    write({"evaluation": table(["linear"])}, tmp_path)
    path = figures.draw_heat_map(tmp_path)
    assert path == tmp_path / "figures" / "heat_map.png"
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert sorted(files) == ["heat_map.png", "heat_map.svg"]
    figures.draw_heat_map(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()} == files


def test_one_column_is_no_heat_map(tmp_path: Path) -> None:
    evaluation = table(["linear"])
    inside = evaluation[evaluation["in_distribution"]]
    for nothing in (inside, evaluation[evaluation["learner"] != "model"], evaluation.iloc[:0]):
        with pytest.raises(figures.NothingToDraw, match="in more than one way to draw the prompts"):
            figures.heat_map(nothing)
    assert figures.draw_heat_map(write({"evaluation": inside}, tmp_path)) is None
    (tmp_path / "evaluation.csv").unlink()
    with pytest.raises(UserError, match=r"evaluation\.csv is missing"):
        figures.draw_heat_map(tmp_path)


def test_a_variant_must_be_named_where_there_are_several() -> None:
    evaluation = table(["linear"], variants=["single", "mixed"], shifts=())
    with pytest.raises(ValueError, match="name one of the table's 2 variants: single, mixed"):
        figures.heat_map(evaluation)
    assert figures.heat_map(evaluation, variant="mixed").get_suptitle().endswith(": mixed")
