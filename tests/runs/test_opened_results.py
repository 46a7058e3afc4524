"""Results in Python: what `run` returns and `Results.open` opens, and experiments given as dicts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from fewer_pictures import draw_two_figures
from finished_runs import Finished
from tiny_runs import tables, tiny_values, write_toml

import icl_curriculum
from icl_curriculum import Results, UserError
from icl_curriculum.function_classes import Linear
from icl_curriculum.results.columns import TABLES
from icl_curriculum.runs.execution import execute

VARIANTS = {"single": {"curriculum": {"function_classes": {"name": "single", "only": "linear"}}}, "both": {}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two variants by two seeds, drawn and reported."""
    values = tiny_values({"variants": VARIANTS, "seeds": [0, 1], "training.steps": 4})
    with pytest.MonkeyPatch.context() as patch:
        draw_two_figures(patch)
        return icl_curriculum.run(values, results=tmp_path_factory.mktemp("whole"), device="cpu")


@pytest.fixture
def moved(whole: Results, tmp_path: Path) -> Path:
    """The same in a place where it may be damaged."""
    return Path(shutil.copytree(whole.path, tmp_path / "tiny"))


def test_every_table_is_a_data_frame_with_the_columns_of_its_file(whole: Results) -> None:
    assert {"evaluation", "learning", "training", "curriculum", "runs", "summary"} <= {*whole.tables}
    for name in whole.tables:
        table = getattr(whole, name)
        expected = pd.read_csv(whole / f"{name}.csv", keep_default_na=False, na_values=[""])
        assert [column for column in table.columns if column in expected] == list(expected.columns)
        assert len(table) == len(expected)
    values = pd.read_csv(whole / "evaluation.csv")["value"]
    assert whole.evaluation["value"].equals(values)
    assert whole.evaluation is whole.evaluation
    assert Results.evaluation.__doc__ == TABLES["evaluation"].about


def test_results_stand_for_their_folder(whole: Results) -> None:
    assert Path(whole) == whole.path
    assert os.fspath(whole) == str(whole)
    assert (whole / "runs.csv").is_file()
    assert [figure.name for figure in whole.figures if figure.name == "heat_map_both.png"]
    assert whole.report == whole.path / "report.html"
    assert whole.finished == ["both-seed0", "both-seed1", "single-seed0", "single-seed1"]
    assert Results.open(whole) == whole
    assert Results.open("tiny", results=whole.path.parent) == whole
    shown = repr(whole)
    assert "4 runs: both-seed0, both-seed1" in shown
    assert "evaluation" in shown
    assert "report.html" in shown


def test_a_run_of_results_is_opened_too(whole: Results) -> None:
    run = Results.open(whole / "both-seed1")
    assert (run.finished, run.unfinished, run.damaged) == (["both-seed1"], {}, {})
    assert set(run.learning["run"]) == {"both-seed1"}
    assert run.notes == ()
    assert torch.equal(next(run.model().parameters()), next(whole.model("both", seed=1).parameters()))


def test_the_model_of_a_run_is_that_of_its_folder(whole: Results) -> None:
    expected = icl_curriculum.load_model(whole / "single-seed1").state_dict()
    assert repr(whole.model("single-seed1")).endswith(f"from {whole / 'single-seed1'})")
    for found in (whole.model("single", seed=1), whole.model("single-seed1")):
        assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    with pytest.raises(UserError, match="variant 'single' may be any of single-seed0, single-seed1; say which"):
        whole.model("single")
    with pytest.raises(UserError, match=r"no finished run of variant 'singel'; did you mean 'single-seed0'\?"):
        whole.model("singel")
    with pytest.raises(UserError, match="no finished run of seed 7"):
        whole.model(seed=7)


def test_a_run_of_results_is_a_learner_to_be_scored(whole: Results) -> None:
    task = icl_curriculum.Task("linear", "gaussian", dims=2)
    table = icl_curriculum.score(Results.open(whole / "both-seed1"), task, points=5, n_prompts=8)
    assert {"tiny/both-seed1"} == set(table.loc[table["learner_kind"] == "model", "run"])


def test_what_is_damaged_or_unfinished_is_named_and_the_rest_is_there(moved: Path, half: Finished) -> None:
    (moved / "both-seed0/learning.csv").write_text("nothing\n")
    shutil.copytree(half.path, moved / "mixed-seed0")
    found = Results.open(moved)
    assert found.finished == ["both-seed1", "single-seed0", "single-seed1"]
    assert list(found.damaged) == ["both-seed0"]
    assert "learning.csv" in found.damaged["both-seed0"]
    assert list(found.unfinished) == ["mixed-seed0"]
    assert set(found.learning["run"]) == {*found.finished}
    assert any("both-seed0" in note and "damaged" in note for note in found.notes)
    assert any("mixed-seed0" in note and "not finished" in note for note in found.notes)
    assert "damaged" in repr(found)
    assert "unfinished" in repr(found)
    with pytest.raises(UserError, match=r"learning\.csv"):
        found.model("both", seed=0)
    with pytest.raises(UserError, match=r"mixed-seed0 is .*, so that it has no model"):
        found.model("mixed")


def test_results_without_a_finished_run_say_why_they_have_no_table(half: Finished) -> None:
    found = Results.open(half.path.parent)
    assert found.tables == []
    with pytest.raises(UserError, match=r"holds no evaluation\.csv: no run is finished \(mixed-seed0 is "):
        _ = found.evaluation
    assert any("mixed-seed0" in note for note in found.notes)


def test_what_is_no_results_is_refused(tmp_path: Path, whole: Results) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no results; expected the folder of an experiment"):
        Results.open(tmp_path / "empty")
    with pytest.raises(UserError, match=r"no results for .*tinny.*did you mean 'tiny'\?"):
        Results.open("tinny", results=whole.path.parent)
    with pytest.raises(UserError, match=r"there is no table 'evalution'; did you mean 'evaluation'\?"):
        whole.table("evalution")
    with pytest.raises(UserError, match=r"holds no transfer\.csv; there are: training"):
        _ = whole.transfer


# Experiments given in Python


def test_a_dict_and_an_experiment_are_the_runs_of_a_file_that_says_the_same(tmp_path: Path) -> None:
    values = tiny_values({"variants": VARIANTS})
    expected = icl_curriculum.load(write_toml(tmp_path / "tiny.toml", values))
    components = {**values, "function_classes": (Linear(), "quadratic"), "description": None}
    built = icl_curriculum.Experiment.model_validate(values)
    for given in (values, components, built):
        found = icl_curriculum.load(given)
        assert [(run.name, run.hash()) for run in found] == [(run.name, run.hash()) for run in expected]
    (slow,) = icl_curriculum.load({**tiny_values(), "recipe": "reference"})
    assert icl_curriculum.load(slow.experiment)[0].hash() == slow.hash() != icl_curriculum.load(tiny_values())[0].hash()
    inherited = icl_curriculum.load({"extends": "smoke.toml", "points": 9})
    assert inherited[0].experiment.points == 9
    assert inherited[0].experiment.name == "experiment"


def test_a_variant_by_itself_is_run_as_among_the_others(tmp_path: Path) -> None:
    """Not with what the other variants change."""
    values = tiny_values({"variants": {"small": {"dims": 1}, "both": {}}})
    runs = icl_curriculum.load(values)
    for run in runs:
        (alone,) = icl_curriculum.load(run.experiment)
        assert (alone.hash(), alone.variant) == (run.hash(), "mixed")


def test_a_dict_leaves_the_tables_of_a_file(tmp_path: Path, undrawn: None) -> None:
    values = tiny_values({"training.steps": 2})
    (run,) = icl_curriculum.load(write_toml(tmp_path / "tiny.toml", values))
    execute(run, tmp_path / "file")
    found = icl_curriculum.run(values, results=tmp_path / "dict", device="cpu")
    assert tables(found / run.name) == tables(tmp_path / "file/tiny" / run.name)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training": {"stepz": 3}}, r"the dict: training\.stepz: unknown key; did you mean 'steps'\?"),
        ({"function_classes": ["linaer"]}, r"the dict: function_classes\.0: .*did you mean 'linear'\?"),
        (
            {"extends": "smok.toml"},
            "the dict: extends: smok.toml is neither in the working directory nor",
        ),
        ({"plugins": ["no.py"]}, "the dict: plugins.0: plugin file no.py does not exist"),
        ({"dims": 2**70}, "dims: expected a whole number of at most 64 bits"),
    ],
)
def test_a_mistake_in_a_dict_names_its_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        icl_curriculum.load(values)


def test_a_made_experiment_cannot_be_given_another_recipe() -> None:
    with pytest.raises(UserError, match="recipe: the Experiment says 'reference' and was made without its values"):
        icl_curriculum.load(icl_curriculum.Experiment(recipe="reference"))
    values = tiny_values({"variants": {"slow": {"recipe": "reference"}, "quick": {}}})
    with pytest.raises(UserError, match="cannot choose another recipe"):
        icl_curriculum.load(icl_curriculum.Experiment.model_validate(values))


def test_progress_is_shown_where_it_is_asked_for(
    tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.core.notebook.LINE_EVERY", 0.0)
    values = tiny_values({"training.steps": 2})
    icl_curriculum.run(values, results=tmp_path / "quiet", device="cpu")
    assert capsys.readouterr() == ("", "")
    icl_curriculum.run(values, results=tmp_path, device="cpu", progress=True)
    out, lines = capsys.readouterr()
    assert out == ""
    assert "mixed-seed0: training 2/2  loss " in lines
    assert "mixed-seed0: done\n" in lines
    assert lines.endswith(f"tiny: results in {tmp_path / 'tiny'}\n")
