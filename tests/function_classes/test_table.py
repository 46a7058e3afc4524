"""Prompts from the rows of a table: without replacement, standardised, in as many dimensions as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import Finished
from helpers import bank_of, class_of, draw, task_of
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neighbors import KNeighborsRegressor
from tiny_runs import tiny_run

import icl_curriculum as icl
from icl_curriculum import UserError
from icl_curriculum.config.experiment import Run
from icl_curriculum.function_classes.table import _without_replacement, table_of
from icl_curriculum.runs.execution import execute

FRAME = pd.DataFrame({"a": [1.0, 2, 4, 9], "b": [0, 1, 0, 1], "c": [5, 5, 5, 5], "y": [3, 1, 4, 1.5]})


def standardised(values: Any) -> Any:
    return (values - values.mean()) / values.std(ddof=0)


def test_examples_are_rows_of_the_frame_each_at_most_once() -> None:
    prompts = draw(icl.from_table(FRAME, target="y"), 50, 4)
    assert prompts.dims == 2  # c is constant
    expected = {tuple(np.float32(row)) for row in zip(*(standardised(FRAME[name]) for name in "aby"), strict=True)}
    assert prompts.truth is not None
    for xs, ys, features in zip(prompts.xs, prompts.ys, prompts.truth["features"], strict=True):
        rows = torch.cat([xs[:, features.argsort()], ys.unsqueeze(1)], dim=1)
        assert {tuple(row) for row in rows.numpy()} == expected
    assert prompts.targets.equal(prompts.ys)
    # Both features come first, and every row does.
    assert set(prompts.truth["features"][:, 0].tolist()) == {0, 1}
    assert len(prompts.ys[:, 0].unique()) == 4


def test_features_and_target_are_standardised_over_the_table() -> None:
    features, targets = class_of("table").numbers()  # type: ignore[attr-defined]
    assert features.shape == (442, 10)
    for values in (features, targets.unsqueeze(1)):
        assert values.mean(dim=0).numpy() == pytest.approx(0, abs=1e-6)
        assert values.square().mean(dim=0).numpy() == pytest.approx(1, abs=1e-5)
    same = icl.from_table(load_diabetes(as_frame=True, scaled=False).frame)
    assert draw(same, 4, 6).xs.allclose(draw(task_of("table", dims=10), 4, 6).xs, atol=1e-5)


@pytest.mark.parametrize(("dims", "there"), [(1, 1), (2, 2), (5, 3)])
def test_as_many_dimensions_as_asked(dims: int, there: int) -> None:
    frame = load_iris(as_frame=True).frame.drop(columns="target")
    prompts = draw(icl.from_table(frame, target="petal width (cm)", dims=dims), 30, 9)
    assert prompts.dims == dims
    assert prompts.xs[:, :, there:].eq(0).all()
    assert prompts.xs[:, :, :there].abs().sum(dim=1).gt(0).all()


def test_values_elsewhere_are_those_of_the_nearest_row() -> None:
    task = icl.from_table(FRAME, target="y")
    prompts = draw(task, 3, 4)
    assert prompts.truth is not None
    values = task.values(dict(prompts.truth), prompts.xs + 0.01)
    assert values.equal(prompts.ys)


@pytest.mark.parametrize("held", [1, 10, 1 << 24])
def test_rows_are_drawn_in_every_order(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icl_curriculum.function_classes.table._HELD", held)
    found = _without_replacement(6000, 2, 3, torch.Generator().manual_seed(0))
    _, counts = np.unique(found.numpy(), axis=0, return_counts=True)
    assert len(counts) == 6
    assert counts == pytest.approx(1000, abs=5 * (1000 * 5 / 6) ** 0.5)


def test_models_regressors_and_baselines_meet_on_it(finished: Finished) -> None:
    task = icl.from_table(load_diabetes(as_frame=True).frame, dims=2)
    learners = [str(finished.path), "ridge/penalty=1", KNeighborsRegressor(1), "zero"]
    table = icl.score(learners, task, points=5, n_prompts=32, costly_prompts=8)
    errors = table[table["metric"] == "normalized_error"]
    assert errors["learner"].nunique() == 4
    assert errors.query("learner == 'zero'")["value"].mean() == pytest.approx(1, abs=0.3)
    assert not errors["in_distribution"].any()
    assert set(errors["function_class"]) == {"table/rows=frame.csv"}


def test_a_run_is_asked_about_a_file_and_keeps_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    load_iris(as_frame=True).frame.to_csv("iris.csv", index=False)
    table = {"name": "table", "rows": "iris.csv", "target": "petal width (cm)"}
    run: Run = tiny_run({"evaluation.shifts": [{"name": "other_class", "function_class": table}]})
    execute(run, tmp_path)
    folder = tmp_path / "tiny" / run.name
    rows = pd.read_csv(folder / "evaluation.csv")
    assert "table/rows=iris.csv/target=petal width (cm)" in set(rows["function_class"])
    assert [path.read_bytes() for path in (folder / "files").iterdir()] == [Path("iris.csv").read_bytes()]


def test_the_default_bank_is_the_same_every_time() -> None:
    one, other = bank_of("table").draw(), bank_of("table").draw()
    assert one.xs.equal(other.xs)
    assert one.ys.equal(other.ys)


@pytest.mark.parametrize(
    ("frame", "target", "message"),
    [
        (3, None, "frame: expected a data frame, found a int"),
        (FRAME, "yy", r"target: unknown column 'yy' of frame.csv; did you mean 'y'\?"),
        (FRAME.assign(b=["p", "q", "p", "q"]), None, "rows: expected numbers in column 'b' of frame.csv, found "),
        (FRAME.assign(b=[1, np.nan, 2, 3]), None, "rows: expected a finite number in every row of column 'b'"),
        (FRAME, "c", "target: expected different numbers in the target 'c' of frame.csv, found one alone"),
        (FRAME[["c", "y"]], None, "rows: expected a feature beside the target 'y' of frame.csv that is not constant"),
        (pd.DataFrame(), None, "rows: expected a CSV file with a header, found frame.csv: "),
    ],
)
def test_a_frame_that_is_none_of_numbers_is_refused(frame: Any, target: str | None, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        table_of(frame, target)


def test_prompts_longer_than_the_table_are_refused() -> None:
    with pytest.raises(UserError, match="table: expected prompts of at most 4 points, as the table has so many rows"):
        draw(icl.from_table(FRAME), 2, 5)
