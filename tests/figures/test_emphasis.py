"""Of many lines a few have colours and names, and the others are grey and counted; all can be asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from made_up_tables import make_scores, make_tables, write
from matplotlib.figure import Figure
from outcomes_to_draw import LINEAR, QUADRATIC, VARIANTS, make_outcomes
from reading_figures import check_layout, legend_labels, panels, said

from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.figures.emphasis import MOST_ENTRIES, OTHER, emphasised, variant_entries
from icl_curriculum.results.comparison.outcomes import Outcomes

BOTH = VARIANTS["mixed"]
#: Two on each class alone, and seven on both; `best` and `worst` are what they are called.
MANY = {
    **{f"{kind}_{cell[0]}": {cell: (0.0, 400.0)} for kind in ("single", "brief") for cell in (LINEAR, QUADRATIC)},
    **dict.fromkeys(("one", "two", "best", "three", "worst", "four", "five"), BOTH),
}
FACTORS = {"best": 0.1, "worst": 5.0, "one": 0.9, "brief_linear": 3.0, "brief_quadratic": 3.0}


def many(**changes: object) -> Outcomes:
    return dataclasses.replace(make_outcomes(MANY, errors=(0.1, 0.2), factors=FACTORS), **changes)  # type: ignore[arg-type]


def entries(figure: Figure) -> list[str]:
    return legend_labels(figure)


@pytest.mark.parametrize("name", ["curves_by_variant", "error_by_exposure", "errors_under_shifts"])
@pytest.mark.parametrize("optimum", [{}, {LINEAR: 0.01}], ids=["", "optimum"])
def test_a_legend_has_six_entries(name: str, optimum: dict[tuple[str, str], float]) -> None:
    draw: Callable[..., Figure] = getattr(figures, name)
    figure = draw(many(optimum=optimum))
    labels = entries(figure)
    assert len(labels) <= MOST_ENTRIES
    # What others are compared with, the best and the worst, and how many others there are.
    assert {"single…: one class each", "best", "worst"} < {*labels}
    assert any(label.endswith("others") for label in labels)
    assert "icl plot made_up --variant NAME, or all, gives them colours and names." in said(figure)
    check_layout(figure, name)


def test_the_others_are_thin_grey_and_as_many_as_the_legend_says() -> None:
    figure = figures.curves_by_variant(many(optimum={LINEAR: 0.01}))
    axes = panels(figure)["linear"]
    lines = {str(item.get_gid()): item for item in axes.lines if item.get_gid() in MANY}
    grey = {name for name, item in lines.items() if item.get_color() == OTHER.colour}
    assert grey == {"brief_linear", "two", "three", "four", "five"}
    # And the one of the other panel.
    assert "6 others" in entries(figure)
    assert all(lines[name].get_linewidth() < 1 for name in grey)
    assert not [area for area in axes.collections if str(area.get_gid()).split()[0] in grey]
    assert {item.get_color() for name, item in lines.items() if name not in grey}.isdisjoint({OTHER.colour})


def test_few_variants_are_all_named() -> None:
    figure = figures.curves_by_variant(make_outcomes())
    assert entries(figure) == list(VARIANTS)
    assert "icl plot" not in said(figure)


def test_those_that_are_asked_for_are_named() -> None:
    figure = figures.curves_by_variant(many(named=("four", "five", "brief_linear")))
    assert {"four", "five", "brief…: one class each"} < {*entries(figure)}
    everything = figures.curves_by_variant(many(named=tuple(MANY)))
    assert not any("other" in label for label in entries(everything))
    assert "icl plot" not in said(everything)
    assert len(entries(everything)) == 9


def test_names_without_a_word_in_common_share_an_entry_too() -> None:
    found = make_outcomes({"a": {LINEAR: (0, 400)}, "b": {QUADRATIC: (0, 400)}, **dict.fromkeys("cdefgh", BOTH)})
    alone = {"a": LINEAR, "b": QUADRATIC}
    words = variant_entries(found, ["a", "b", *"cdefgh"], alone)
    assert words["a"] == words["b"] == "one class each"
    assert len({*words.values()}) == MOST_ENTRIES - 1


def test_the_order_of_importance() -> None:
    names = list("abcdefgh")
    assert emphasised(names, 4) == ["a", "b", "h"]
    assert emphasised(names, 4, first=["d"], always=["g"]) == ["a", "d", "g"]
    assert emphasised(names, 2, always=["f", "g"]) == ["f", "g"]
    assert emphasised(names, 8) == names


def test_models_in_one_panel_are_few_and_the_others_grey() -> None:
    falls = {f"model m{i} m{i} 0": {k: (0.8 - 0.05 * i) ** k for k in range(1, 9)} for i in range(13)}
    table = make_scores(falls | {"oracle": dict.fromkeys(range(1, 9), 0.05), "ridge": dict.fromkeys(range(1, 9), 0.3)})
    figure = figures.error_by_examples(table)
    labels = entries(figure)
    assert len(labels) == MOST_ENTRIES
    assert {"model: m0", "model: m12"} < {*labels}
    assert "10 others" in labels
    grey = [item for item in figure.axes[0].lines if item.get_color() == OTHER.colour]
    assert len(grey) == 10


def test_baselines_that_are_rarely_the_best_share_an_entry() -> None:
    shifts = [f"scaled_outputs/{n}" for n in range(2, 11)]
    table = make_tables(["quadratic"], (0,), shifts=shifts)["evaluation"]
    table = table[table["learner_kind"] != "oracle"]
    bests = {shift: f"own_{i}" for i, shift in enumerate(shifts)}
    ridge = table[table["learner"] == "least_squares"]
    rows = [ridge[ridge["shift"] == shift].assign(learner=name, value=0.001) for shift, name in bests.items()]
    figure = figures.out_of_distribution(pd.concat([table, *rows], ignore_index=True))
    labels = entries(figure)
    assert len(labels) == MOST_ENTRIES
    assert "other baselines, each the best there" in labels
    assert {str(item.get_gid()) for item in figure.axes[0].lines} > {*bests.values()}


def test_variants_that_are_named_on_the_command_line_reach_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: dict[str, Figure] = {}
    monkeypatch.setattr(drawing, "FIGURES", {})
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: saved.update({stem.name: figure}) or stem)
    variants = [f"v{i}" for i in range(8)]
    directory = write(make_tables(["linear"], [0], variants=variants, shifts=()), tmp_path)
    for asked, named in ((None, False), (["v4"], True), ("all", True)):
        figures.draw_all(directory, variants=asked)
        assert ("v4" in entries(saved["curves_by_variant"])) == named, asked
    assert entries(saved["curves_by_variant"])[:8] == variants


def test_progress_speaks_of_figures_that_are_drawn_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
    heard: list[str] = []
    directory = write(make_tables(["linear"], [0], variants=["a", "b"], shifts=()), tmp_path)
    drawn = figures.draw_all(directory, tell=heard.append)
    assert heard == [path.stem for path in drawn]
    assert "adaptation" not in heard
