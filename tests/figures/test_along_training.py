"""Errors with and without shifts along training, as a reader would notice them, from made-up tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import STEPS, K, Tables, make_tables, write
from reading_figures import band, check_layout, legend_labels, line, panels, said

from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.figures.emphasis import OTHER
from icl_curriculum.figures.panels import PanelGrid

SHIFTS = ("random_quadrants", "scaled_inputs/2", "label_noise/0.5", "longer_prompts/2")
MANY = (*SHIFTS, *(f"scaled_outputs/{factor}" for factor in range(2, 9)))


def evaluations(*, shifts: tuple[str, ...] = SHIFTS, seeds: tuple[int, ...] = (0,)) -> pd.DataFrame:
    """A run at four steps; errors halve from each to the next. Quadratic is trained on from the third."""
    last = make_tables(["linear", "quadratic"], seeds, shifts=shifts)["evaluation"]
    found = []
    for number, step in enumerate((0, 200, 700, STEPS)):
        rows = last.assign(step=step)
        rows.loc[rows["learner"] == "model", ["value", "ci_low", "ci_high"]] *= 2 ** (3 - number)
        begun = {"linear": 1, "quadratic": 2}
        rows["in_distribution"] &= rows["function_class"].map(begun) <= number
        found.append(rows)
    return pd.concat(found, ignore_index=True)


def with_learning_shifts(seeds: tuple[int, ...] = (0, 1, 2), shifts: tuple[str, ...] = SHIFTS) -> Tables:
    """Two classes, with errors while training under a shift and with other inputs, twice as high."""
    tables = dict(make_tables(["linear", "quadratic"], seeds, shifts=shifts))
    plain = tables["learning"]
    twice = plain.assign(value=2 * plain["value"])
    others = [twice.assign(shift="random_quadrants"), twice.assign(shift="none", input_distribution="skewed")]
    return tables | {"learning": pd.concat([plain.assign(shift="none"), *others], ignore_index=True)}


def test_a_line_for_each_shift_over_the_steps() -> None:
    table = evaluations()
    figure = figures.along_training(table)
    assert list(panels(figure)) == ["linear", "quadratic"]
    axes = panels(figure)["linear"]
    model = table[(table["learner"] == "model") & (table["function_class"] == "linear") & (table["n_context"] == K)]
    model = (
        model[model["metric"] == "normalized_error"]
        .set_index(["input_distribution", "shift", "step"])["value"]
        .sort_index()
    )
    for gid, bank in (
        ("UNSHIFTED none", ("gaussian", "none")), ("SHIFT scaled_inputs/2", ("gaussian", "scaled_inputs/2")),
        ("INPUTS skewed", ("skewed", "none")),
    ):  # fmt: skip
        steps, values = line(axes, gid)
        assert steps.tolist() == [0, 200, 700, STEPS]
        assert values == pytest.approx(model.loc[bank].to_numpy())
    at_end = model.loc[("gaussian", "none", STEPS)]
    assert band(axes, "UNSHIFTED none range")[STEPS] == pytest.approx((0.9 * at_end, 1.2 * at_end))
    labels = legend_labels(figure)
    assert labels[0] == "in distribution"
    assert len(labels) == 6
    # Of six lines beside it, four are named.
    assert labels[-1] == "2 others"
    assert "Band: confidence interval over prompts." in said(figure)
    assert "At k = 10 in-context examples." in said(figure)
    check_layout(figure, "along_training")


def test_markers_are_hollow_before_a_class_is_trained_on() -> None:
    figure = figures.along_training(evaluations())
    hollow = {title: line(axes, "not trained on yet")[0].tolist() for title, axes in panels(figure).items()}
    assert hollow == {"linear": [0], "quadratic": [0, 200]}
    assert "Hollow: not trained on yet." in said(figure)


def test_of_many_shifts_those_are_drawn_that_differ_most() -> None:
    table = evaluations(shifts=MANY)
    table.loc[(table["shift"] == "scaled_outputs/8") & (table["learner"] == "model"), "value"] *= 100
    figure = figures.along_training(table)
    drawn = [item.get_gid() for item in figure.axes[0].lines]
    assert "SHIFT scaled_outputs/8" in drawn
    lines = [each for each in figure.axes[0].lines if str(each.get_gid()).startswith(("SHIFT", "INPUTS", "BEYOND"))]
    grey = [each for each in lines if each.get_color() == OTHER.colour]
    assert (len(lines), len(grey)) == (13, 9)
    labels = legend_labels(figure)
    assert (len(labels), labels[0], labels[-1]) == (6, "in distribution", "9 others")
    assert "outputs ×8" in labels
    assert "Grey: shifts whose errors keep closest to those without one." in said(figure)
    check_layout(figure, "along_training")


def test_one_step_is_nothing_to_draw() -> None:
    with pytest.raises(figures.NothingToDraw, match="at several steps"):
        figures.along_training(make_tables(["linear"], (0, 1))["evaluation"])


def test_other_figures_of_several_steps_say_which_they_show() -> None:
    table = evaluations()
    for draw in (figures.heat_map, figures.out_of_distribution, figures.error_by_examples):
        assert "After 1400 training steps, the last in the table." in said(draw(table))
    assert "After" not in said(figures.heat_map(table[table["step"] == STEPS]))


def test_errors_under_shifts_during_training() -> None:
    tables = with_learning_shifts()
    figure = figures.learning_under_shifts(tables["learning"], tables["curriculum"])
    axes = panels(figure)["linear"]
    steps, plain = line(axes, "UNSHIFTED none")
    assert steps[-1] == STEPS
    for gid in ("SHIFT random_quadrants", "INPUTS skewed"):
        assert line(axes, gid)[1] == pytest.approx(2 * plain)
    for text in ("Lines: mean of 3 seeds.", "Band: minimum to maximum over seeds.", "Dotted: the curriculum moves on.",
                 "Shaded: the panel's class in training."):  # fmt: skip
        assert text in said(figure)
    check_layout(figure, "learning_under_shifts")
    with pytest.raises(figures.NothingToDraw, match="no errors under shifts"):
        figures.learning_under_shifts(*(make_tables(["linear"])[name] for name in ("learning", "curriculum")))


def test_learning_curves_do_not_mix_shifts_up() -> None:
    tables, plain = with_learning_shifts(), make_tables(["linear", "quadratic"], (0, 1, 2))
    found, expected = (figures.learning_curves(each["learning"], each["curriculum"]) for each in (tables, plain))
    assert list(panels(found)) == list(panels(expected))
    for title, axes in panels(found).items():
        for one, other in zip(axes.lines, panels(expected)[title].lines, strict=True):
            assert np.array_equal(np.asarray(one.get_xydata()), np.asarray(other.get_xydata()))


def test_heads_stand_below_curves_that_do_not_mix_shifts_up() -> None:
    """Not even where prompts under a shift are longer."""
    tables, plain = with_learning_shifts(), make_tables(["linear", "quadratic"], (0, 1, 2))
    longer = plain["learning"].assign(shift="longer_prompts/2", n_context=2 * plain["learning"]["n_context"])
    tables["learning"] = pd.concat([tables["learning"], longer], ignore_index=True)
    scores = [(step, head, step / STEPS / head) for step in (0, STEPS) for head in (1, 2)]
    heads = pd.DataFrame(scores, columns=["step", "head", "value"]).assign(layer=1, score="retrospective")
    found, expected = (
        figures.heads_along_training(heads, each["learning"], each["curriculum"]) for each in (tables, plain)
    )
    for name in ("linear", "quadratic"):
        for one, other in zip(line(found.axes[0], name), line(expected.axes[0], name), strict=True):
            assert np.array_equal(one, other)


def test_results_with_learning_shifts_have_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
    new = {name: drawing.FIGURES[name] for name in ("along_training", "learning_under_shifts")}
    monkeypatch.setattr(drawing, "FIGURES", new)
    drawn = figures.draw_all(write(with_learning_shifts((0,), ()), tmp_path))
    assert [path.stem for path in drawn] == ["learning_under_shifts"]


def test_a_block_of_panels_has_a_row_and_a_y_axis_of_its_own() -> None:
    """With room for other quantities below errors."""
    grid = PanelGrid.of([2, 1], columns=2, height=1.0)
    above, beside, below = grid.axes
    for axes in grid.axes:
        axes.plot([0, 5], [0, 1])
        axes.set_title("title")
    below.set_ylim(0, 100)
    below.set_xlim(0, 5)
    grid.label("step", ["error", "error", "score"])
    grid.finish("Title", None, [])
    assert above.get_ylim() == beside.get_ylim() != below.get_ylim()
    assert above.get_xlim() == below.get_xlim() == (0, 5)
    assert below.get_position().y1 < above.get_position().y0
    assert below.get_position().x0 == above.get_position().x0
    assert [axes.get_xlabel() for axes in grid.axes] == ["", "step", "step"]
