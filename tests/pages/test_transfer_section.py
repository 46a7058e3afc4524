"""The report's section on how training methods carry over."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_transfer import Told, errors, ladder, write_folder

import icl_curriculum
from icl_curriculum.pages.adaptation import adaptation_sections
from icl_curriculum.pages.transfer import transfer_sections
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.transfer.sheets import READING


def test_the_section_is_there_where_the_table_is(tmp_path: Path) -> None:
    maml = Told("maml", errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5)), method="maml")
    folder = write_folder(tmp_path / "meta", [*ladder(), maml])
    assert transfer_sections(open_source(folder)) == []
    icl_curriculum.transfer(folder)
    (section,) = transfer_sections(open_source(folder))
    assert (section.anchor, section.heading) == ("transfer", "How training methods carry over")
    assert list(section.sentences) == [
        READING, "maml at equal seen error: the ladder's best seen error is 0.136, it is 0.059.",
    ]  # fmt: skip
    assert len(section.pictures) == 1
    assert [table.caption for table in section.tables] == [
        f"{domain}, unadapted: normalized error at 8 examples, {cells}"
        for domain, cells in (("seen cells", "2 cells"), ("unseen classes", "2 cells"), ("unseen inputs", "1 cell"))
    ]
    sheet = section.tables[1].sheet
    assert [row[0].text for row in sheet.rows] == ["plain_50", "plain_100", "plain_200", "maml"]
    difference = sheet.rows[3][5]
    assert difference.text.startswith("−0.2")
    assert difference.value == -0.2275
    assert sheet.rows[3][7].text == "–"


@pytest.mark.usefixtures("unpictured")
def test_long_tables_are_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "meta", ladder())
    icl_curriculum.transfer(folder)
    (section,) = transfer_sections(open_source(folder))
    assert section.folded_tables == ""
    monkeypatch.setattr("icl_curriculum.pages.transfer.MOST_ROWS", 8)
    (section,) = transfer_sections(open_source(folder))
    assert section.folded_tables == "3 tables: the numbers of every variant and adaptation"
    assert 8 < sum(len(table.sheet.rows) for table in section.tables) <= 24


def test_learning_at_equal_operations_is_drawn_where_updates_differ_in_them(tmp_path: Path) -> None:
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    folder = write_folder(tmp_path / "meta", [*ladder(), Told("maml", given, method="maml", operations=2000)])
    icl_curriculum.transfer(folder)
    (section,) = transfer_sections(open_source(folder))
    assert [picture.caption.split(";")[0] for picture in section.pictures][1:] == [
        "Error while training against the operations that training took so far"
    ]


def test_adapted_models_have_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = errors((0.05, 0.06, 0.05), (0.6, 0.75, 0.7), (0.5, 0.6, 0.5))
    assert adaptation_sections(open_source(write_folder(tmp_path / "plain", [Told("plain", given)]))) == []
    told = Told("plain", given, adapted={"model/adapted=5": given, "model/adapted=20": given})
    source = open_source(write_folder(tmp_path / "adapted", [told, Told("maml", given, method="maml")]))
    (section,) = adaptation_sections(source)
    assert (section.heading, section.folded) == ("Adapting at test time", "")
    monkeypatch.setattr("icl_curriculum.pages.adaptation.MOST_VARIANTS", 1)
    assert adaptation_sections(source)[0].folded == "Figure: error by the steps of the adaptation"
    (picture,) = section.pictures
    assert {axes.get_xlabel() for axes in picture.figure.axes} >= {"adaptation steps"}
