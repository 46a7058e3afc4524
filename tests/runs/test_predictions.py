"""What everyone answered to each prompt, written on request: the same answers that the errors are taken over."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_runs import Finished
from resealed import reseal
from tiny_runs import Icl

import icl_curriculum as icl_package
from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation import Bank, LearnerAnswers
from icl_curriculum.evaluation.gathering import gathered
from icl_curriculum.function_classes import LinearMap, MulticlassLinear
from icl_curriculum.inputs import Gaussian
from icl_curriculum.results.columns import TABLES, RunColumns
from icl_curriculum.results.predictions import check_format, write_predictions
from icl_curriculum.runs.execution import execute
from icl_curriculum.runs.predictions import predictions_of_run
from icl_curriculum.runs.results import Results
from icl_curriculum.tasks import Task

BANK = ["learner", "function_class", "input_distribution", "shift", "n_context"]


@pytest.fixture
def written(copied: Finished) -> pd.DataFrame:
    """The predictions of a finished run."""
    path = predictions_of_run(copied.run, copied.results, "csv")
    assert path == copied.path / "predictions.csv"
    return pd.read_csv(path)


def test_their_mean_squared_errors_are_those_of_the_evaluation(written: pd.DataFrame, copied: Finished) -> None:
    errors = copied.table("evaluation").query("metric == 'squared_error'").set_index(BANK)
    assert list(written) == TABLES["predictions"].header
    found = written.groupby(BANK)
    assert set(found.groups) == set(errors.index)
    np.testing.assert_allclose(found["squared_error"].mean()[errors.index], errors["value"], rtol=1e-4, atol=1e-9)
    assert (found.size()[errors.index] == errors["n_prompts"]).all()
    np.testing.assert_allclose(written["squared_error"], (written["prediction"] - written["target"]) ** 2, atol=1e-6)
    assert (found["in_distribution"].first()[errors.index] == errors["in_distribution"]).all()


def test_keys_tell_the_rows_apart_and_a_prompt_is_the_same_for_all(written: pd.DataFrame) -> None:
    keys = [name for name, column in TABLES["predictions"].columns.items() if column.key]
    assert not written.duplicated(keys).any()
    asked = ["function_class", "input_distribution", "shift", "prompt", "n_context"]
    assert (written.groupby(asked)["target"].nunique() == 1).all()


def test_parquet_holds_the_same(written: pd.DataFrame, copied: Finished) -> None:
    path = predictions_of_run(copied.run, copied.results, "parquet")
    assert not (copied.path / "predictions.csv").exists()
    found = pd.read_parquet(path)
    assert list(found) == list(written)
    for column in found:
        if found[column].dtype == "float64":
            np.testing.assert_allclose(found[column], written[column], rtol=1e-8)
        else:
            assert list(found[column]) == list(written[column])
    pd.testing.assert_frame_equal(Results(copied.path).predictions, found)


def test_those_of_an_earlier_evaluation_are_removed(copied: Finished) -> None:
    path = predictions_of_run(copied.run, copied.results, "csv")
    reseal(copied.path / "manifest.json", {"status": "trained"})
    execute(copied.run, copied.results)
    assert not path.exists()


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_those_that_were_edited_or_cut_off_are_written_anew(copied: Finished, name: str) -> None:
    path = predictions_of_run(copied.run, copied.results, name)
    whole = path.read_bytes()
    for content in (whole.replace(b"0.", b"1."), whole[:-9]):
        path.write_bytes(content)
        predictions_of_run(copied.run, copied.results, name)
        assert path.read_bytes() == whole


def test_a_finished_run_gets_them_without_being_trained_again(copied: Finished, undrawn: None) -> None:
    before = (copied.path / "model.safetensors").stat().st_mtime_ns
    results = icl_package.run(copied.run.experiment, results=copied.results, predictions="csv")
    assert (results / copied.path.name / "predictions.csv").is_file()
    assert (copied.path / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="they stand in the folder of each run"):
        _ = results.predictions
    assert "predictions" in Results(copied.path).tables
    assert len(Results(copied.path).predictions) == len(pd.read_csv(copied.path / "predictions.csv"))


def test_evaluate_and_score_write_them_of_what_was_asked(icl: Icl, copied: Finished, tmp_path: Path) -> None:
    asked = icl_package.evaluate(
        copied.path, shifts=["skewed"], n_prompts=8, output=tmp_path / "asked", predictions="csv"
    )
    assert set(asked.predictions["input_distribution"]) == {"gaussian", "skewed"}
    assert set(asked.predictions["prompt"]) == set(range(8))
    options = ("--function-class", "linear", "--n-prompts", "8", "--output", tmp_path / "score", "--predictions", "csv")
    code, _, err = icl("score", "ridge", *options)
    assert code == 0, err
    assert f"answers: {tmp_path / 'score/predictions.csv'}\n" in err
    scored = pd.read_csv(tmp_path / "score/predictions.csv")
    assert set(scored["learner"]) == {"ridge", "oracle"}
    assert set(scored["run"]) == {"score"}


@pytest.mark.parametrize(("wrong", "said"), [("parket", "did you mean 'parquet'"), ("excel", "known: csv, parquet")])
def test_another_format_is_refused_before_anything_is_done(icl: Icl, copied: Finished, wrong: str, said: str) -> None:
    code, _, err = icl("evaluate", copied.path, "--predictions", wrong)
    assert code == 2
    assert said in err
    assert "--predictions: unknown format" in err
    assert not (copied.path / "evaluate/evaluation.csv").exists()


def test_without_pyarrow_parquet_names_the_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert check_format("csv") == "csv"
    with pytest.raises(UserError, match=r"pip install 'icl_curriculum\[parquet\]', or take csv"):
        check_format("parquet")


@pytest.mark.parametrize("function_class", [LinearMap(label_dims=3), MulticlassLinear(n_classes=3)])
def test_labels_of_several_numbers_and_classes_have_a_row_for_each(function_class: object, tmp_path: Path) -> None:
    bank = Bank(Task(function_class, Gaussian(), 2), None, 4, 3, 0)
    prompts = bank.draw()
    answer = np.log(np.full(prompts.targets.shape, 1 / 3, dtype=np.float32))
    answer[0, 0] = np.nan
    run = RunColumns("e", "a-seed0", "a", 0)
    found = gathered(run, bank, prompts, [LearnerAnswers("knn", "baseline", answer)], step=1, trained_points=2)
    table = pd.read_csv(write_predictions(tmp_path, "csv", found))
    assert len(table) == 3 * (4 * 3 - 1)
    assert set(table["output"]) == {0, 1, 2}
    expected = 1 / 3 if prompts.classes else np.log(1 / 3)
    np.testing.assert_allclose(table["prediction"], expected, rtol=1e-6)
    np.testing.assert_allclose(table["target"], prompts.targets.numpy().reshape(-1, 3)[1:].ravel(), rtol=1e-6)
    assert list(table.loc[table["in_distribution"], "n_context"].unique()) == [1, 0]
