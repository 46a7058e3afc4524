"""Tables of versions up to 0.3.0: finished runs keep them, and whatever is written now is written as it is now."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from finished_runs import Finished
from resealed import reseal

import icl_curriculum as icl
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import COLUMNS, OPTIONAL, TABLES, text_hash
from icl_curriculum.results.older_tables import as_written_now, is_older
from icl_curriculum.results.tables import read_table

HEADER = TABLES["evaluation"].header


def older(text: str) -> str:
    """A table as those versions wrote it: ``%.9g``, and Python's own words."""
    text = text.replace(",TRUE,", ",True,").replace(",FALSE,", ",False,")
    return re.sub(r"(?<=[,\d])\.0(?=[,e\n])", "", text)


def rewritten(folder: Path, tables: list[str]) -> dict[str, str]:
    """Make tables older ones; returns their hashes."""
    hashes = {}
    for name in tables:
        path = folder / f"{name}.csv"
        path.write_text(older(path.read_text()))
        hashes[name] = text_hash(path.read_text())
    return hashes


def test_its_rows_are_written_as_all_others() -> None:
    row = 'e,a-seed0,a,0,9,{},baseline,"f, ""g""",gaussian,none,{},0,error,{},2.0e-05,,4\n'
    then, now = row.format("knn", "True", "1").replace("2.0e", "2e"), row.format("knn", "TRUE", "1.0")
    assert (is_older(then), is_older(now)) == (True, False)
    assert as_written_now("evaluation", HEADER, then) == now
    assert as_written_now("evaluation", HEADER, now) == now


def test_an_experiment_of_older_runs_has_the_tables_of_one_of_now(copied: Finished) -> None:
    experiment, hashes = copied.path.parent, {copied.run.variant: copied.run.hash()}
    collect(experiment, hashes)
    names = [*COLUMNS, *OPTIONAL]
    expected = {name: (experiment / f"{name}.csv").read_bytes() for name in names}
    reseal(copied.path / "manifest.json", {"tables": rewritten(copied.path, names)})
    text = (copied.path / "evaluation.csv").read_text()
    assert ",True," in text
    assert ",TRUE," not in text
    collect(experiment, hashes)
    for name in names:
        assert (experiment / f"{name}.csv").read_bytes() == expected[name], name
    assert (copied.path / "evaluation.csv").read_text() == text


def test_older_tables_of_an_experiment_are_read_alike(copied: Finished) -> None:
    collect(copied.path.parent, {copied.run.variant: copied.run.hash()})
    found = read_table(copied.path.parent, "evaluation")
    (copied.path.parent / "evaluation.csv").write_text(older((copied.path / "evaluation.csv").read_text()))
    pd.testing.assert_frame_equal(read_table(copied.path.parent, "evaluation"), found)


def test_an_evaluation_that_grows_has_one_way_of_writing(copied: Finished) -> None:
    icl.evaluate(copied.path, shifts=["skewed"], n_prompts=8)
    folder = copied.path / "evaluate"
    hashes = rewritten(folder, ["evaluation", "prediction_differences"])
    reseal(
        folder / "manifest.json",
        {
            "tables": [hashes["evaluation"]],
            "more_tables": {"prediction_differences": [hashes["prediction_differences"]]},
        },
    )
    icl.evaluate(copied.path, shifts=["label_noise"], n_prompts=8)
    for name in ("evaluation", "prediction_differences"):
        text = (folder / f"{name}.csv").read_text()
        assert "skewed" in text
        assert "label_noise" in text
        assert not re.search(",(True|False),", text)
        values = pd.read_csv(folder / f"{name}.csv", dtype="str")["value"].dropna()
        assert values.str.contains(r"\.|inf").all()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn."""
    for name in ("draw_heat_map", "draw_prediction_differences"):
        monkeypatch.setattr(icl.figures, name, lambda output: None)
