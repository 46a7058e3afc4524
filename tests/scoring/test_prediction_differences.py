"""Whom learners answer like: in Python, by ``icl score`` and ``icl evaluate``, and in what a run writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished_runs import Finished, executed
from helpers import shift_of, task_of
from resealed import unsealed
from tiny_runs import Icl

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.results.columns import TABLES

KEYS = [name for name, column in TABLES["prediction_differences"].columns.items() if column.key]


@pytest.fixture
def icl(icl: Icl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Icl:
    """``icl`` in a folder of its own, which draws nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    monkeypatch.setattr(figures, "draw_heat_map", lambda output: None)
    monkeypatch.setattr(figures, "draw_prediction_differences", lambda output: None)
    return icl


def read(folder: Path | str) -> pd.DataFrame:
    table = pd.read_csv(Path(folder) / "prediction_differences.csv", keep_default_na=False, na_values=[""])
    assert not table.duplicated(KEYS).any()
    return table


def pairs(table: pd.DataFrame) -> set[tuple[str, str]]:
    return set(table[["learner", "other_learner"]].itertuples(index=False, name=None))


def test_without_a_model_every_two_learners_are_compared_once() -> None:
    table = icl_curriculum.prediction_differences(
        {"mine": lambda xs, ys, query: ys[-1], "ridge": "ridge", "knn": "knn"},
        task_of("linear", dims=2), shifts=[shift_of("label_noise")], n_prompts=16, costly_prompts=4,
    )  # fmt: skip
    assert list(table.columns) == TABLES["prediction_differences"].header
    others = {("knn", "mine"), ("knn", "ridge"), ("mine", "ridge")}
    assert pairs(table) == others | {(name, "oracle") for name in ("knn", "mine", "ridge")}
    assert set(table["shift"]) == {"none", "label_noise/0.5"}
    mine = table[(table["learner"] == "mine") & (table["metric"] == "normalized_difference")]
    assert set(mine["n_context"]) == {1, 2, 4, 8}
    assert set(mine["n_prompts"]) == {4}
    plain = table[(table["learner"] == "ridge") & (table["shift"] == "none")]
    assert np.allclose(plain["value"], 0)
    assert not table["in_distribution"].any()


def test_a_trained_model_is_compared_with_each_other_learner(finished: Finished) -> None:
    """With the numbers that its own run has, where the prompts are the same."""
    table = icl_curriculum.prediction_differences(
        ["least_squares", "zero", finished.path], task_of("linear", dims=2), points=5, n_prompts=16
    )
    assert pairs(table) == {("model", "least_squares"), ("model", "zero"), ("model", "oracle")}
    own = finished.table("prediction_differences")
    own = own[(own["function_class"] == "linear") & (own["shift"] == "none")]
    keys = ["other_learner", "n_context", "metric"]
    merged = table.merge(own, on=keys, suffixes=("", "_own"))
    assert len(merged) == len(table) == len(own)
    for column in ("value", "ci_low", "ci_high"):
        assert merged[column].to_numpy() == pytest.approx(merged[f"{column}_own"].to_numpy(), rel=1e-6)
    assert (merged["n_prompts"] == merged["n_prompts_own"]).all()
    assert (merged["in_distribution"] == merged["in_distribution_own"]).all()


def test_what_a_run_writes(finished: Finished) -> None:
    table = read(finished.path)
    errors = finished.table("evaluation")
    assert pairs(table) == {("model", name) for name in set(errors["learner"]) - {"model"}}
    banks = ["function_class", "input_distribution", "shift", "n_context", "in_distribution"]
    model = errors[errors["learner"] == "model"]
    assert set(table[banks].itertuples(index=False)) == set(model[banks].itertuples(index=False))
    assert set(table["step"]) == {12}
    assert "prediction_differences" in finished.manifest()["tables"]


def test_models_are_compared_with_each_other_across_runs(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    other = executed(tmp_path / "others", seed=1)
    code, out, err = icl("score", other.path, finished.path, "ridge", "--function-class", "linear")
    assert code == 0, err
    table = read("results/score")
    models = table[table["other_kind"] == "model"]
    assert set(models["run"]) == {"tiny/mixed-seed0"}
    assert set(models["other_run"]) == {"tiny/mixed-seed1"}
    assert table.loc[table["other_kind"] != "model", "other_run"].isna().all()
    assert set(table.loc[table["other_learner"] == "ridge", "run"]) == {"tiny/mixed-seed0", "tiny/mixed-seed1"}
    assert "whom the model answers most like: normalized difference of predictions (0 = alike)\n" in out
    assert "table:   results/score/prediction_differences.csv\n" in err
    (row,) = (line.split() for line in out.splitlines() if " = oracle" in line)
    assert row[0] == "linear"


def test_the_table_grows_like_that_of_errors(icl: Icl) -> None:
    def score(*learners: str) -> pd.DataFrame:
        assert icl("score", *learners, "--n-prompts", "8", "--points", "5")[0] == 0
        return read("results/score")

    first = score("ridge", "averaging")
    assert pairs(first) == {("averaging", "ridge"), ("averaging", "oracle"), ("ridge", "oracle")}
    both = score("zero", "ridge")
    assert pairs(both) == {*pairs(first), ("ridge", "zero"), ("zero", "oracle")}
    pd.testing.assert_frame_equal(score("averaging", "ridge"), both)


def test_a_folder_of_an_earlier_version_goes_on_and_a_damaged_one_does_not(icl: Icl) -> None:
    options = ("score", "ridge", "knn", "--n-prompts", "8", "--points", "5")
    assert icl(*options)[0] == 0
    table, manifest = Path("results/score/prediction_differences.csv"), Path("results/score/manifest.json")
    whole = table.read_text()
    table.write_text(whole[:-20])
    code, _, err = icl(*options)
    assert code == 2
    assert "prediction_differences.csv is damaged: it is not what icl score wrote; restore it, or remove" in err
    table.unlink()
    unsealed(manifest, {"more_tables": None})
    assert icl(*options)[0] == 0
    assert table.read_text() == whole


def test_evaluate_compares_the_model_under_every_shift_that_is_asked(
    icl: Icl, finished: Finished, tmp_path: Path
) -> None:
    code, out, err = icl("evaluate", finished.path, "--shift", "skewed", "--output", tmp_path / "out")
    assert code == 0
    table = read(tmp_path / "out")
    assert pairs(table) == {("model", name) for name in ("zero", "least_squares", "oracle")}
    assert set(table["input_distribution"]) == {"gaussian", "skewed"}
    assert "whom the model answers most like" in out
    assert f"table:   {tmp_path / 'out/prediction_differences.csv'}\n" in err
