"""Figures that set variants side by side, as a reader would notice them, from made-up outcomes and tables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_tables import make_tables, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from outcomes_to_draw import BATCH, FIVE, LINEAR, QUADRATIC, STEPS, VARIANTS, make_outcomes
from reading_figures import band, check_layout, legend_labels, line, panels, said, tick_labels

from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.figures import drawing
from icl_curriculum.figures.variants import NARROW, variant_styles
from icl_curriculum.results.comparison.outcomes import Outcomes, outcomes
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.statistics.seeds import estimate

NAMES = ("curves_by_variant", "errors_by_seed", "error_by_exposure", "trained_by_asked", "forgetting",
         "errors_under_shifts")  # fmt: skip
IQM = float(np.mean(FIVE[1:4]))


def draw(name: str, found: Outcomes, *cells: tuple[str, str]) -> Figure:
    function: Callable[..., Figure] = getattr(figures, name)
    return function(found, cells or None)


@functools.cache
def drawn(name: str) -> Figure:
    return draw(name, make_outcomes())


def names(axes: Axes) -> list[str]:
    return [label.get_text() for label in tick_labels(axes, "y")]


def gids(axes: Axes) -> set[str]:
    return {str(item.get_gid()) for item in axes.lines}


@pytest.mark.parametrize("name", ["curves_by_variant", "error_by_exposure"])
def test_a_panel_has_a_line_for_each_variant_trained_on_its_cell(name: str) -> None:
    shown = panels(drawn(name))
    assert list(shown) == ["linear", "quadratic"]
    assert gids(shown["linear"]) == {"single_linear", "sequential", "mixed", "brief_linear", "threshold", "zero"}
    assert gids(shown["quadratic"]) == {"single_quadratic", "sequential", "mixed", "threshold", "zero"}
    assert legend_labels(drawn(name))[:5] == list(VARIANTS)


def test_curves_are_means_in_bands_over_seeds_against_steps() -> None:
    axes = panels(drawn("curves_by_variant"))["linear"]
    for variant, last in (("mixed", 400), ("brief_linear", 300)):
        steps, values = line(axes, variant)
        assert steps.tolist() == [step for step in STEPS if step <= last]
        assert values[[0, -1]].tolist() == pytest.approx([1, np.mean(FIVE)])
        assert band(axes, f"{variant} range")[last] == pytest.approx((min(FIVE), max(FIVE)))
    assert line(axes, "threshold")[1].tolist() == [0.5, 0.5]
    assert "Lines: mean of 5 seeds; bands: from the least to the greatest." in said(drawn("curves_by_variant"))


def test_few_seeds_have_lines_of_their_own() -> None:
    axes = draw("curves_by_variant", make_outcomes(errors=(0.1, 0.3)), LINEAR).axes[0]
    ends = [np.asarray(item.get_ydata())[-1] for item in axes.lines if item.get_gid() == "mixed seed"]
    assert ends == pytest.approx([0.1, 0.3])
    one = draw("curves_by_variant", make_outcomes(errors=(0.1,)))
    assert "One seed." in said(one)
    assert not one.axes[0].collections


def test_exposure_counts_prompts_of_the_class_as_far_as_all_seeds_got() -> None:
    axes = panels(drawn("error_by_exposure"))["linear"]
    assert axes.get_xscale() == "log"
    prompts, values = line(axes, "mixed")
    # The first seed saw 4,000 prompts in all, and the last 1,400 when it was first measured.
    assert prompts.min() == pytest.approx(140 * BATCH)
    assert prompts.max() == pytest.approx(400 * BATCH)
    steps = 140 / (1 + np.arange(5) / 10)
    assert values[0] == pytest.approx(np.mean(1 + (np.array(FIVE) - 1) * steps / 400))
    # While another class is trained nothing is spent on this one: the error right after the last prompt counts.
    spent, after = line(axes, "sequential")
    assert spent.max() == pytest.approx(200 * BATCH)
    steps = np.minimum(200, 200 / (1 + np.arange(5) / 10))
    assert after[-1] == pytest.approx(np.mean(1 + (np.array(FIVE) - 1) * steps / 400))


def test_every_seed_has_a_dot_and_their_statistic_its_interval() -> None:
    axes = panels(drawn("errors_by_seed"))["linear"]
    assert names(axes) == ["single_linear", "sequential", "mixed", "brief_linear"]
    assert names(panels(drawn("errors_by_seed"))["quadratic"]) == ["single_quadratic", "sequential", "mixed"]
    errors, heights = line(axes, "mixed seeds")
    assert errors.tolist() == pytest.approx(FIVE)
    assert set(np.round(heights)) == {2}
    assert line(axes, "mixed")[0].tolist() == pytest.approx([IQM])
    found = estimate([FIVE])
    low, high = line(axes, "mixed interval")[0]
    assert high == pytest.approx(found.high)
    # Below zero there is nothing on an axis of powers.
    assert (low == pytest.approx(found.low)) if found.low > 0 else (0 < low < axes.get_xlim()[0])
    assert line(axes, "threshold")[0].tolist() == [0.5, 0.5]
    assert [text.get_text() for text in axes.texts] == ["4/5"] * 4


def test_a_single_seed_has_no_statistic_and_overflow_none_either() -> None:
    axes = draw("errors_by_seed", make_outcomes(errors=(0.1,)), LINEAR).axes[0]
    assert "mixed" not in gids(axes)
    assert line(axes, "mixed seeds")[0].tolist() == [0.1]
    axes = draw("errors_by_seed", make_outcomes(errors=(0.1, np.inf)), LINEAR).axes[0]
    assert "mixed interval" not in gids(axes)
    assert line(axes, "mixed seeds")[0].tolist() == [0.1, 5]
    assert [text.get_text() for text in axes.texts] == ["1/2"] * 4


def test_models_that_overflowed_are_drawn_as_the_worst() -> None:
    found = make_outcomes(errors=(0.1, np.inf))
    shown = {name: draw(name, found, LINEAR) for name in NAMES}
    for name in ("curves_by_variant", "error_by_exposure"):
        assert line(shown[name].axes[0], "mixed")[1][-1] == 5
        assert "Errors above 5 are drawn at 5." in said(shown[name])
    assert {text.get_text() for text in shown["trained_by_asked"].axes[0].texts} == {"∞"}
    assert line(shown["forgetting"].axes[0], "sequential end")[0].tolist() == [0.1, 5]
    assert line(shown["errors_under_shifts"].axes[0], "mixed")[0].tolist() == [5] * 3


def test_all_variants_are_asked_on_all_cells_and_the_trained_ones_outlined() -> None:
    axes = drawn("trained_by_asked").axes[0]
    assert names(axes) == list(VARIANTS)
    assert [label.get_text() for label in tick_labels(axes, "x")] == ["linear", "quadratic"]
    texts = {(int(t.get_position()[1]), int(t.get_position()[0])): t.get_text() for t in axes.texts}
    trained = [[cell in cells for cell in (LINEAR, QUADRATIC)] for cells in VARIANTS.values()]
    assert texts == {(i, j): "0.30" if inside else "3.0" for (i, j), inside in np.ndenumerate(trained)}
    boxes = [patch.get_window_extent() for patch in axes.patches if patch.get_gid() == "trained on"]
    middles = [axes.transData.inverted().transform((box.x0 + box.x1, box.y0 + box.y1) / np.array(2)) for box in boxes]
    assert {(int(y), int(x)) for x, y in middles} == {(i, j) for (i, j), inside in np.ndenumerate(trained) if inside}


def test_forgetting_joins_the_end_of_a_block_with_the_end_of_the_run() -> None:
    figure = drawn("forgetting")
    (axes,) = figure.axes
    assert (axes.get_title(), names(axes)) == ("linear", ["sequential"])
    assert line(axes, "sequential after block")[0].tolist() == pytest.approx(np.array(FIVE) / 2)
    assert line(axes, "sequential end")[0].tolist() == pytest.approx(FIVE)
    joined, heights = (values.reshape(5, 3)[:, :2] for values in line(axes, "sequential change"))
    assert joined.tolist() == pytest.approx(np.column_stack([np.array(FIVE) / 2, FIVE]))
    assert (np.diff(heights) == 0).all()
    assert len(set(heights[:, 0])) == 5


def test_shifts_have_a_row_each_after_that_without_one() -> None:
    shown = panels(drawn("errors_under_shifts"))
    axes = shown["linear"]
    assert names(axes) == ["no shift", "skewed inputs", "inputs ×2"]
    places = {}
    for variant in ("single_linear", "sequential", "mixed", "brief_linear"):
        errors, heights = line(axes, variant)
        assert errors.tolist() == pytest.approx([IQM, 1.5 * IQM, 2 * IQM])
        assert np.round(heights).tolist() == [0, 1, 2]
        places[variant] = heights[0]
    assert list(places) == sorted(places, key=places.__getitem__)
    assert gids(shown["quadratic"]) == {"single_quadratic", "sequential", "mixed", "zero"}
    assert legend_labels(drawn("errors_under_shifts")) == list(VARIANTS)


def test_there_may_be_nothing_to_draw() -> None:
    untrained = make_outcomes()
    untrained.rows["trained"] = False
    for name in NAMES:
        with pytest.raises(figures.NothingToDraw, match="any of the cells"):
            draw(name, make_outcomes(), ("cubic", "gaussian"))
        if name != "trained_by_asked":
            with pytest.raises(figures.NothingToDraw):
                draw(name, untrained)
    with pytest.raises(figures.NothingToDraw, match=r"exposure\.csv"):
        draw("error_by_exposure", make_outcomes(ledger=False))
    with pytest.raises(figures.NothingToDraw, match="ended before the run"):
        draw("forgetting", make_outcomes(), QUADRATIC)
    with pytest.raises(figures.NothingToDraw, match="under a shift"):
        draw("errors_under_shifts", make_outcomes(shifts=()))


def test_where_only_the_median_is_finite_it_is_shown() -> None:
    found = make_outcomes(metrics={QUADRATIC: "median_error"})
    labels = [axes.get_ylabel().split()[0] for axes in draw("curves_by_variant", found).axes]
    assert labels == ["normalized", "median"]
    for name in ("errors_by_seed", "errors_under_shifts"):
        assert list(panels(draw(name, found))) == ["linear", "quadratic\n(median error)"]
    assert "† median error" in said(draw("trained_by_asked", found))


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_is_as_wide_as_a_telephone_and_has_no_title(name: str) -> None:
    figure = draw(name, make_outcomes(), LINEAR)
    assert figure.get_figwidth() == NARROW
    assert figure.get_suptitle() == ""
    assert drawn(name).get_suptitle()
    assert "At k = 10 in-context examples." in said(figure)


#: As many as the experiments on curricula have, and a name that no row has room for.
MANY = {
    **{f"{kind}_{cell[0]}": {cell: (0.0, 400.0)} for kind in ("single", "brief") for cell in (LINEAR, QUADRATIC)},
    **dict.fromkeys(("sequential", "when_converged"), VARIANTS["sequential"]),
    **dict.fromkeys(("mixed", "random", "bandit", "a_$_in_a_name_that_is_long" * 2), VARIANTS["mixed"]),
}
MANY_SHIFTS = [
    ("inputs", "student_t/df=5", 2.0),
    *(("shift", name, 3.0) for name in ("scaled_inputs/0.5", "label_noise/flips=0.1", "overlapping_queries")),
]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_or_leaves_the_figure_at_either_size(name: str) -> None:
    found = make_outcomes(MANY, errors=(0.01, 0.2, 0.9), shifts=MANY_SHIFTS)
    for figure in (draw(name, found), draw(name, found, LINEAR)):
        check_layout(figure, name, lowest=0.05 if name == "trained_by_asked" else 0.3)


def test_thirteen_variants_look_different() -> None:
    variants = [f"{kind}_{i}" for kind in ("single", "brief") for i in range(4)] + [f"multi_{i}" for i in range(5)]
    alone = {name: (name[-1], "gaussian") for name in variants[:8]}
    styles = variant_styles(variants, alone)
    assert len({(style.colour, str(style.line), style.marker) for style in styles.values()}) == 13
    for i in range(4):
        # What can stand in one panel differs by colour, and without it by line or marker.
        together = [
            styles[name] for name in variants if not name[-1].isdigit() or name[-1] == str(i) or "multi" in name
        ]
        assert len({style.colour for style in together}) == len(together) == 7
        assert len({(str(style.line), style.marker) for style in together}) == 7
    unknown = variant_styles(variants)
    assert len({(style.colour, str(style.line)) for style in unknown.values()}) == 13


def test_a_variant_looks_the_same_in_every_figure() -> None:
    shown = [panels(drawn(name))["quadratic"] for name in ("curves_by_variant", "error_by_exposure", "errors_by_seed",
                                                           "errors_under_shifts")]  # fmt: skip
    shown.append(draw("curves_by_variant", make_outcomes(), QUADRATIC).axes[0])
    for variant in ("single_quadratic", "sequential", "mixed"):
        looks = {(i.get_color(), i.get_marker()) for axes in shown for i in axes.lines if i.get_gid() == variant}
        assert len(looks) == 1


@pytest.mark.parametrize("name", NAMES)
def test_equal_outcomes_give_equal_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)  # which is most of the time
    found = make_outcomes(errors=(0.1, 0.2))
    paths = [drawing._save(draw(name, found, LINEAR), tmp_path / f"{i}") for i in range(2)]
    for suffix in (".png", ".svg"):
        first, again = (path.with_suffix(suffix).read_bytes() for path in paths)
        assert first == again


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three variants that train on one class after another."""
    tables = make_tables(["linear", "quadratic"], [0, 1], variants=["a", "b", "c"], shifts=("scaled_inputs/2",))
    return write(tables, tmp_path_factory.mktemp("results"))


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))


def test_errors_under_shifts_are_tidy(directory: Path) -> None:
    found = outcomes(open_source(directory)).shifted
    assert len(found) == 3 * 2 * 2 * 2
    assert set(zip(found["shift"], found["shift_kind"], strict=True)) == {
        ("scaled_inputs/2", "shift"), ("skewed", "inputs")
    }  # fmt: skip
    assert set(found["input_distribution"]) == {"gaussian"}
    evaluation = pd.read_csv(directory / "evaluation.csv")
    own = evaluation.query(
        "variant == 'b' and seed == 1 and learner == 'model' and function_class == 'linear' and n_context == 10 "
        "and metric == 'normalized_error' and input_distribution == 'skewed'"
    )
    row = found.query("variant == 'b' and seed == 1 and function_class == 'linear' and shift == 'skewed'")
    assert row["value"].tolist() == own["value"].tolist()


@pytest.mark.usefixtures("unsaved")
def test_several_variants_are_drawn_side_by_side(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(drawing, "FIGURES", {"curriculum": drawing.FIGURES["curriculum"]})
    heard: list[str] = []
    stems = [path.stem for path in figures.draw_all(directory, say=said.append, tell=heard.append)]
    assert heard == stems
    # There is no exposure.csv.
    across = [name for name in NAMES if name != "error_by_exposure"]
    assert stems[-len(across) :] == across
    assert stems[: -len(across)] == ["curriculum_a", "curriculum_b", "curriculum_c"]
    assert not said
    monkeypatch.setattr(drawing, "_draw_across", lambda *_: [Path("across.png")])
    monkeypatch.setattr(drawing, "MOST_VARIANTS", 2)
    assert figures.draw_all(directory, say=said.append) == [Path("across.png")]
    assert said == [f"figures of each variant alone are left out; icl plot {directory} --variant all draws them"]
    asked = figures.draw_all(directory, variants=["b"])
    assert [path.stem for path in asked] == ["curriculum_b", "across"]
    assert [path.stem for path in figures.draw_all(directory, variants="all")] == [*stems[:3], "across"]
    with pytest.raises(UserError, match=r"has no variant 'd'.* known: a, b, c"):
        figures.draw_all(directory, variants="d")


def test_curves_stand_beside_the_oracle_where_there_is_one() -> None:
    found = dataclasses.replace(make_outcomes(), optimum={LINEAR: 1e-12})
    for name in ("curves_by_variant", "error_by_exposure"):
        figure = draw(name, found)
        shown = panels(figure)
        assert [item.get_gid() for item in shown["linear"].lines].count("oracle") == 1
        assert not [item for item in shown["quadratic"].lines if item.get_gid() == "oracle"]
        assert "optimum (oracle)" in legend_labels(figure)
        assert "Errors below 0.05 are drawn at 0.05." in said(figure)
    assert "optimum (oracle)" not in legend_labels(draw("curves_by_variant", make_outcomes()))
