"""The figures of a scorecard: every score, interval and seed where it belongs, and gaps where nothing was measured."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from colour_vision import VISIONS, closest, distance
from made_up_scorecard import ABOVE, ABOVE_MEAN, RULE, card_of, told, write_card
from made_up_tables import make_scores, make_tables, write
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from reading_figures import check_layout, legend_labels, said, tick_labels

from icl_curriculum import figures
from icl_curriculum.figures import drawing, scorecard_bars
from icl_curriculum.figures.panels import NARROW
from icl_curriculum.results.scorecard.axes import AXES

#: The module, whose function has the same name.
scorecard_radar = importlib.import_module("icl_curriculum.figures.scorecard_radar")
TITLES = ["mean", *(axis.title for axis in AXES.values())]
#: The apart of lines that are seen beside each other, as in test_colour_vision.
APART = 14.0


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return card_of(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def bars(card: pd.DataFrame) -> Figure:
    return figures.scorecard(card)


@pytest.fixture(scope="module")
def radar(card: pd.DataFrame) -> Figure:
    return figures.scorecard_radar(card)


def titled(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title().replace("\n", " "): axes for axes in figure.axes}


def item(axes: Axes, gid: str) -> Line2D:
    (found,) = (each for each in axes.lines if each.get_gid() == gid)
    return found


def xs(axes: Axes, gid: str) -> np.ndarray:
    return np.asarray(item(axes, gid).get_xdata(), dtype=float)


def row_of(axes: Axes, gid: str) -> int:
    return round(float(np.asarray(item(axes, gid).get_ydata())[0]))


def words(axes: Axes) -> dict[str, str]:
    return {str(text.get_gid()): text.get_text() for text in axes.texts}


def test_bars_have_a_panel_for_the_mean_and_each_axis_and_rows_by_the_mean(bars: Figure) -> None:
    panels = titled(bars)
    assert list(panels) == TITLES
    names = ["gru", "knn", "lstm", "partial", "cheat"]
    assert [label.get_text() for label in tick_labels(panels["mean"], "y")] == names
    assert panels["mean"].get_ylim()[0] > panels["mean"].get_ylim()[1]  # the first one stands above
    for place, name in enumerate(names):
        assert row_of(panels["linear functions"], f"{name} linear_functions") == place


def test_bars_show_scores_with_intervals_and_seeds(bars: Figure, card: pd.DataFrame) -> None:
    panels = titled(bars)
    for axis, title, above in (("mean", "mean", ABOVE_MEAN), ("kept", "what is kept", ABOVE["kept"])):
        axes = panels[title]
        assert xs(axes, f"gru {axis}") == pytest.approx([0.62 + above])
        assert xs(axes, f"gru {axis} seeds") == pytest.approx(np.array([0.6, 0.62, 0.64]) + above)
        row = card[(card["learner"] == "gru") & (card["axis"] == axis) & card["versus"].isna() & card["seed"].isna()]
        assert xs(axes, f"gru {axis} interval") == pytest.approx(row[["ci_low", "ci_high"]].to_numpy()[0])
    # No score is below zero, so no whisker is: Student's t alone would have it go down to -0.04.
    assert xs(panels["linear functions"], "lstm linear_functions interval")[0] == 0
    assert panels["mean"].get_xlim() == pytest.approx((-0.06, 1.06))
    # A baseline has neither, and another marker.
    gids = {str(line.get_gid()) for line in panels["mean"].lines}
    assert "knn mean" in gids
    assert not {"knn mean seeds", "knn mean interval"} & gids
    assert item(panels["mean"], "knn mean").get_marker() != item(panels["mean"], "gru mean").get_marker()


def test_bars_say_who_broke_a_rule_and_what_is_missing(bars: Figure) -> None:
    panels = titled(bars)
    hollow = {name: item(panels["linear functions"], f"{name} linear_functions").get_markerfacecolor() for name in
              ("gru", "knn", "cheat", "partial")}  # fmt: skip
    assert [name for name, face in hollow.items() if face == "white"] == ["cheat"]
    assert f"Hollow, and not ranked: cheat ({RULE})." in said(bars)
    missing = {gid for axes in bars.axes for gid, text in words(axes).items() if text == "—"}
    assert missing == {"knn data_efficiency missing", "knn kept missing", "lstm kept missing", "partial mean missing",
                       "partial few_examples missing"}  # fmt: skip
    assert "—: not measured." in said(bars)
    assert "0 is predicting zero, 1 the best predictions known" in said(bars)
    assert "Means over 3 seeds, with their 90% intervals over seeds." in said(bars)
    assert legend_labels(bars) == ["trained model", "baseline", "broke a rule", "one seed", "90% interval"]


def test_of_one_learner_the_axes_are_the_rows(tmp_path: Path) -> None:
    figure = figures.scorecard(card_of(tmp_path, told("gru", {0: 0.5})))
    (axes,) = figure.axes
    assert axes.get_title() == "gru"
    assert [label.get_text().replace("\n", " ") for label in tick_labels(axes, "y")] == TITLES
    assert xs(axes, "gru kept") == pytest.approx([0.6])
    assert "Of 1 seed, and so without intervals." in said(figure)
    assert legend_labels(figure) == ["trained model"]


def test_more_learners_than_there_is_room_for_are_counted(card: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorecard_bars, "MOST_SHOWN", 2)
    monkeypatch.setattr(scorecard_radar, "MOST_PANELS", 1)
    drawn = figures.scorecard(card)
    assert [label.get_text() for label in tick_labels(drawn.axes[0], "y")] == ["gru", "knn"]
    assert "Left out: 3 of 5 learners" in said(drawn)
    radar = figures.scorecard_radar(card)
    assert [axes.get_title().split("\n")[0] for axes in radar.axes] == ["gru"]
    assert "Left out: 4 of 5 learners" in said(radar)
    # The best are still those of all.
    assert radii(radar.axes[0], "best")[0] == pytest.approx(0.7)


def radii(axes: Axes, gid: str) -> np.ndarray:
    """The distances from the centre of all points of the lines of a name, one stretch after another."""
    found = [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines if line.get_gid() == gid]
    return np.hypot(*np.concatenate(found).T)


def test_a_profile_has_its_scores_in_the_order_of_the_axes(radar: Figure) -> None:
    assert radar.axes[1].get_title() == "knn (baseline)\n0.490"
    assert radar.axes[0].get_title().startswith("gru\n0.660 (0.6")
    assert radar.axes[4].get_title().endswith(", not ranked")
    axes = radar.axes[0]
    places = np.asarray(item(axes, "gru scores").get_xydata(), dtype=float)
    assert np.hypot(*places.T) == pytest.approx([0.62 + above for above in ABOVE.values()])
    # Clockwise from the top.
    turns = np.degrees(np.arctan2(places[:, 0], places[:, 1])) % 360
    assert turns == pytest.approx(np.arange(11) * 360 / 11)
    # The line is closed, and the shape is filled with these corners alone.
    assert radii(axes, "gru") == pytest.approx([*(0.62 + above for above in ABOVE.values()), 0.62])
    (area,) = (patch for patch in axes.patches if patch.get_gid() == "gru area")
    assert np.hypot(*area.get_path().vertices.T).min() > 0.6


def test_what_a_learner_lacks_is_a_gap_with_a_dash(radar: Figure) -> None:
    axes = radar.axes[1]
    # Nine of eleven axes: one open line, and a shape that begins and ends in the centre.
    assert radii(axes, "knn") == pytest.approx([0.45 + 0.01 * place for place in range(9)])
    (area,) = (patch for patch in axes.patches if patch.get_gid() == "knn area")
    assert np.hypot(*area.get_path().vertices.T).min() == pytest.approx(0)
    dashed = {gid.removeprefix("axis ") for gid, text in words(axes).items() if "—" in text}
    assert dashed == {"data_efficiency", "kept"}
    # A gap between the others divides neither the line nor the shape around the first axis.
    partial = radar.axes[3]
    lines = [line for line in partial.lines if line.get_gid() == "partial"]
    assert [len(line.get_xydata()) for line in lines] == [10]
    assert {gid for gid, text in words(partial).items() if "—" in text} == {"axis few_examples"}
    assert "—: not measured, and left open." in said(radar)


def test_behind_each_profile_stands_the_best_of_those_that_kept_to_the_rules(radar: Figure) -> None:
    """`cheat` is better than all; on few examples, which `partial` lacks, the best is gru."""
    best = [0.7 + above for above in ABOVE.values()]
    best[list(ABOVE).index("few_examples")] = 0.62 + ABOVE["few_examples"]
    for axes in radar.axes:
        assert radii(axes, "best") == pytest.approx([*best, best[0]])
    assert legend_labels(radar).count("best score of any ranked learner on each axis") == 1


def test_rings_are_named_once_and_axes_in_every_panel(radar: Figure) -> None:
    named = [[text for gid, text in words(axes).items() if gid.startswith("ring")] for axes in radar.axes]
    assert named == [[".25", ".5", ".75", "1"], *[[]] * 4]
    for axes in radar.axes:
        titles = [text.replace("\n", " ").replace(" —", "") for gid, text in words(axes).items() if "axis" in gid]
        assert titles == TITLES[1:]


@pytest.mark.parametrize("name", ["scorecard", "scorecard_radar"])
def test_nothing_overlaps(name: str, card: pd.DataFrame, bars: Figure, radar: Figure) -> None:
    check_layout({"scorecard": bars, "scorecard_radar": radar}[name], name)
    narrow = getattr(figures, name)(card, narrow=True)
    assert (narrow.get_figwidth(), narrow.get_suptitle()) == (NARROW, "")
    check_layout(narrow, name)


@pytest.mark.parametrize("name", ["scorecard", "scorecard_radar"])
def test_a_table_without_rows_has_nothing_to_draw(name: str, card: pd.DataFrame) -> None:
    with pytest.raises(figures.NothingToDraw):
        getattr(figures, name)(card.iloc[:0])


def test_all_looks_keep_apart_for_everybody() -> None:
    bars = [colour for colour, _ in scorecard_bars.LOOKS.values()]
    for vision in VISIONS:
        if vision != "grey":
            assert closest(bars, vision)[0] > APART, vision
            assert closest([*scorecard_radar.LOOKS.values(), scorecard_radar.BEST], vision)[0] > APART, vision
    for colour in scorecard_radar.LOOKS.values():
        assert distance(colour, scorecard_radar.BEST, "grey") > APART
    assert len({marker for _, marker in scorecard_bars.LOOKS.values()}) == 2


def test_both_are_among_the_figures_of_a_folder_with_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_save", lambda figure, stem: Path(f"{stem}.png"))
    own = {name: drawing.FIGURES[name] for name in ("scorecard", "scorecard_radar")}
    monkeypatch.setattr(drawing, "FIGURES", own)
    monkeypatch.setattr(drawing, "ACROSS_VARIANTS", ())
    learner = told("gru", {0: 0.5})
    experiment = write(make_tables(["linear"], [0], variants=["a", "b"], shifts=()), tmp_path / "experiment")
    assert figures.draw_all(experiment, variants=["a"]) == []
    # What `icl score` leaves: no table of training.
    scores = write({"evaluation": make_scores({"ridge": {1: 0.5}})}, tmp_path / "scores")
    for folder in (experiment, scores):
        write_card(folder, [learner])
        assert [path.stem for path in figures.draw_all(folder)] == ["scorecard", "scorecard_radar"]
