"""The figures of training methods compared: how they carry over, and what they learn from as many operations."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_transfer import CAUCHY, Told, errors, ladder, write_folder
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.results.tables import read_table

MAML = Told(
    "maml", errors((0.15, 0.2, 0.16), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5)), method="maml", operations=1500,
    adapted={"model/adapted=20/rate=0.1": errors((0.1, 0.1, 0.1), (0.5, 0.6, 0.5), (0.4, 0.5, 0.5))},
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    limited = dataclasses.replace(MAML, variant="maml $64", fixed_prompts=64, adapted={})
    made = write_folder(tmp_path_factory.mktemp("transfer") / "meta", [*ladder()[1:], MAML, limited])
    icl_curriculum.transfer(made)
    return made


def titled(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title().replace("\n", " "): axes for axes in figure.axes}


def line(axes: Axes, gid: str) -> np.ndarray:
    (found,) = (each for each in axes.get_lines() if each.get_gid() == gid)
    return np.asarray(found.get_xydata())


def test_a_panel_for_each_domain_with_limited_data_apart(folder: Path) -> None:
    table = read_table(folder, "transfer")
    figure = figures.transfer(table)
    panels = titled(figure)
    names = ["seen cells", "unseen classes", "unseen inputs"]
    assert list(panels) == [*names, *(f"{name} 64 fixed prompts a cell" for name in names)]
    axes = panels["unseen classes"]
    assert [label.get_text() for label in panels["seen cells"].get_yticklabels()] == ["plain_100", "plain_200", "maml"]
    alone = table[
        (table["comparison"] == "none") & (table["domain"] == "unseen_classes") & table["fixed_prompts"].isna()
    ]
    for adaptation in ("unadapted", "adapted=20"):
        own = alone[alone["adaptation"] == adaptation]
        assert line(axes, adaptation)[:, 0] == pytest.approx(own["error"])
        ends = line(axes, f"{adaptation} intervals").reshape(-1, 3, 2)[:, :2, 0]
        assert ends == pytest.approx(own[["ci_low", "ci_high"]].to_numpy())
    # Both of one variant stand in its row, the adapted model below.
    heights = [line(axes, adaptation)[-1, 1] for adaptation in ("unadapted", "adapted=20")]
    assert 1.5 < heights[0] < 2 < heights[1] < 2.5
    assert line(axes, "zero")[:, 0] == pytest.approx([1, 1])
    limited = panels["seen cells 64 fixed prompts a cell"]
    assert [label.get_text() for label in limited.get_yticklabels()] == [r"maml \$64"]
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == {"unadapted", "adapted = 20"}
    assert "at k = 8 in-context examples" in " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_medians_have_panels_of_their_own(tmp_path: Path) -> None:
    told = [
        dataclasses.replace(each, errors={**each.errors, CAUCHY: [0.5, 0.6, 0.7]}, medians=(CAUCHY,), adapted={})
        for each in (*ladder(), MAML)
    ]
    table = icl_curriculum.transfer(write_folder(tmp_path, told))
    panels = titled(figures.transfer(table))
    assert list(panels) == ["seen cells", "unseen classes", "unseen inputs", "unseen inputs (median error)"]
    with pytest.raises(figures.NothingToDraw):
        figures.transfer(table.iloc[:0])


def of_training(folder: Path) -> list[pd.DataFrame]:
    return [read_table(folder, name) for name in ("learning", "exposure", "curriculum")]


def test_errors_by_operations_are_means_over_seen_cells(folder: Path) -> None:
    axes = titled(figures.error_by_operations(*of_training(folder)))["seen cells"]
    drawn = line(axes, "maml")
    # 1500 operations for each of 50 and 100 updates; nothing was spent at step 0.
    assert drawn[:, 0] == pytest.approx([75_000, 150_000])
    end = np.mean([0.15, 0.2, 0.16]) * 1.1
    assert drawn[:, 1] == pytest.approx([0.5 + 0.5 * end, end])
    assert line(axes, "plain_200")[:, 0] == pytest.approx([100_000, 200_000])
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_learning_shifts_have_panels_of_their_own(folder: Path) -> None:
    learning, exposure, curriculum = of_training(folder)
    parts = [learning.assign(shift="none")]
    for cell, shift, factor in (
        ({"function_class": "decision_tree"}, "none", 2), ({"input_distribution": "skewed"}, "none", 3),
        ({}, "label_noise/0.5", 4),
    ):  # fmt: skip
        parts.append(learning.assign(shift=shift, value=learning["value"] * factor, **cell))
    panels = titled(figures.error_by_operations(pd.concat(parts), exposure, curriculum))
    assert list(panels) == ["seen cells", "unseen classes", "unseen inputs", "other shifts"]
    seen = line(panels["seen cells"], "maml")[:, 1]
    for panel, factor in (("unseen classes", 2), ("unseen inputs", 3), ("other shifts", 4)):
        assert line(panels[panel], "maml")[:, 1] == pytest.approx(factor * seen)


def test_updates_that_cost_the_same_are_not_drawn_twice(folder: Path) -> None:
    plain = [table[table["variant"].str.startswith("plain")] for table in of_training(folder)]
    with pytest.raises(figures.NothingToDraw, match="different numbers of operations"):
        figures.error_by_operations(*plain)
    # Balanced positions are measured on so many classes as a curriculum offers.
    learning, exposure, curriculum = plain
    exposure = exposure.assign(
        flops=exposure["flops"].where(exposure["variant"] == "plain_200", exposure["flops"] * 1.02)
    )
    with pytest.raises(figures.NothingToDraw):
        figures.error_by_operations(learning, exposure, curriculum)
    with pytest.raises(figures.NothingToDraw):
        figures.error_by_operations(*(table[table["variant"] == "maml"] for table in of_training(folder)))


def test_both_are_among_the_figures_of_an_experiment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
    monkeypatch.setattr(drawing, "ACROSS_VARIANTS", ())
    # Others take longer.
    own = {name: drawing.FIGURES[name] for name in ("error_by_operations", "transfer")}
    monkeypatch.setattr(drawing, "FIGURES", own)
    assert [path.stem for path in figures.draw_all(folder)] == [*own]


def test_adaptations_of_fewer_steps_are_left_out(tmp_path: Path) -> None:
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    ways = ("adapted=5", "adapted=20", "adapted=5/optimizer=adam")
    told = Told("maml", given, method="maml", adapted={f"model/{way}": given for way in ways})
    folder = write_folder(tmp_path / "meta", [*ladder(), told])
    figure = figures.transfer(icl_curriculum.transfer(folder))
    drawn = {line.get_gid() for axes in figure.axes for line in axes.get_lines()}
    assert {"unadapted", "adapted=20", "adapted=5/optimizer=adam"} <= drawn
    assert "adapted=5" not in drawn
    assert "Adaptations of fewer steps are left out." in " ".join(text.get_text() for text in figure.texts).replace(
        "\n", " "
    )


def test_many_adapted_variants_are_drawn_by_domain(tmp_path: Path) -> None:
    """Nine variants adapted in one way: a panel for each domain, and the interquartile mean over its cells."""
    given = errors((0.05, 0.06, 0.04), (0.6, 0.7, 0.8), (0.5, 0.6, 0.5))
    better = errors((0.05, 0.06, 0.04), (0.3, 0.35, 0.4), (0.5, 0.6, 0.5))
    told = [Told(f"v{i}", given, adapted={"model/adapted=5": given, "model/adapted=20": better}) for i in range(9)]
    figure = figures.adaptation(read_table(write_folder(tmp_path / "many", told), "evaluation"))
    panels = {axes.get_title().split("\n")[0]: axes for axes in figure.axes}
    assert list(panels) == ["seen cells", "unseen classes", "unseen inputs"]
    (line,) = [line for line in panels["unseen classes"].get_lines() if line.get_gid() == "v3"]
    assert list(line.get_xdata()) == [0, 5, 20]
    # The second of its two cells is a tenth worse; at the longest prompts all errors are seven times those at 4 d.
    assert list(line.get_ydata()) == pytest.approx([7 * 0.7 * 1.05, 7 * 0.7 * 1.05, 7 * 0.35 * 1.05])
