"""The page of an experiment with a scorecard: its answer comes first, and its section has every score."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_scorecard import RULE, told, write_card
from made_up_transfer import ladder, write_folder

from icl_curriculum.core.errors import UserError
from icl_curriculum.pages.content import gather
from icl_curriculum.pages.page import render
from icl_curriculum.pages.scorecard import scorecard_on_page
from icl_curriculum.pages.sections import Picture
from icl_curriculum.results.comparison.command import describe
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.scorecard.axes import AXES
from icl_curriculum.results.shown_metric import ShownMetric, showing

TITLES = ["mean", *(axis.title for axis in AXES.values())]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment without a scorecard."""
    return write_folder(tmp_path_factory.mktemp("plain") / "ladder", ladder()[:2])


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_card(write_folder(tmp_path_factory.mktemp("scored") / "ladder", ladder()[:2]))


@pytest.mark.usefixtures("unpictured")
def test_the_section_has_every_score_and_what_the_seeds_resolve(scored: Path) -> None:
    found = scorecard_on_page(open_source(scored))
    assert found is not None
    assert found.section.heading == "Scorecard"
    assert found.section.folded == "Figure: the profile of each learner"
    scores, axes = (table.sheet for table in found.section.tables)
    assert scores.columns == ["learner", "rank", *TITLES, "remark"]
    assert [row[0].text for row in scores.rows] == ["gru", "knn", "lstm", "partial", "cheat"]
    assert [row[1].text for row in scores.rows] == ["1", "2", "3", "–", "–"]
    # Half of the interval of 0.6, 0.62 and 0.64: by Student's t 2.92 times 0.02 over the root of three.
    gru = scores.rows[0]
    assert gru[2].text.startswith("0.660 ± 0.03")
    assert gru[2].value == pytest.approx(0.66)
    assert scores.rows[1][2].text == "0.490"  # a baseline, which has no seeds
    assert scores.rows[1][-2].text == "–"
    assert [row[-1].text for row in scores.rows] == ["–", "–", "–", "not asked few examples", RULE]
    assert scores.explained["what is kept"] == AXES["kept"].about
    assert [row[0].text for row in axes.rows] == TITLES
    assert [entry.text for entry in axes.rows[1][1:3]] == ["0.700 ± 0.000", "partial"]
    assert axes.rows[0][2].text == "gru"
    assert 0 < axes.rows[0][3].value < 0.4
    assert found.section.tables[1].caption.endswith("the smallest difference that 3 seeds resolve")
    assert found.section.sentences[1] == "`cheat` broke a rule and is not ranked; the last column says which."


@pytest.mark.usefixtures("unpictured")
def test_the_page_begins_with_the_answer_of_the_scorecard(plain: Path, scored: Path) -> None:
    usual, content = (gather(describe(folder)) for folder in (plain, scored))
    assert list(usual.first) == []
    assert usual.verdict is not None
    assert content.verdict is not None
    assert content.verdict.sentence.startswith("`gru` has the highest mean score, 0.660")
    # What is said otherwise stands below.
    assert content.findings[0].heading == "The errors behind the scores"
    assert usual.verdict.sentence in content.findings[0].sentences[0]
    assert ("few examples", AXES["few_examples"].about) in content.definitions
    assert "scorecard.csv" in dict(content.downloads)
    assert "scorecard.csv" not in dict(usual.downloads)
    text = render(describe(scored))
    places = [text.index(f'id="{anchor}"') for anchor in ("answer", "scorecard", "errors", "behind")]
    assert places == sorted(places)


def test_the_first_screen_has_the_bars_and_the_section_the_profiles(tmp_path: Path) -> None:
    folder = write_card(write_folder(tmp_path / "ladder", ladder()[:1]), [told("gru", {0: 0.5, 1: 0.6})])
    found = scorecard_on_page(open_source(folder))
    assert found is not None
    (bars,), (radar,) = found.main, found.section.pictures
    assert [getattr(each, "figure_name", "") for each in (bars, radar)] == ["scorecard", "scorecard_radar"]
    what = (
        "0 is predicting zero, 1 the best predictions known. Means over 2 seeds, with their 90% intervals over seeds."
    )
    for picture in (bars, radar):
        assert isinstance(picture, Picture)
        assert what in picture.caption
        assert picture.narrow_image
    # Of one learner, no difference can be resolved.
    assert len(found.section.tables) == 1


@pytest.mark.usefixtures("unpictured")
def test_without_a_scorecard_of_this_metric_nothing_is_there(plain: Path, scored: Path) -> None:
    assert scorecard_on_page(open_source(plain)) is None
    with showing(ShownMetric({"squared_error": "squared error"}, chosen="squared_error")):
        assert scorecard_on_page(open_source(scored)) is None


def test_a_damaged_scorecard_is_named(tmp_path: Path) -> None:
    folder = write_card(write_folder(tmp_path / "ladder", ladder()[:1]))
    (folder / "scorecard.csv").write_text("learner\ngru\n")
    with pytest.raises(UserError, match=r"scorecard\.csv lacks the column 'benchmark'; found: learner"):
        scorecard_on_page(open_source(folder))
