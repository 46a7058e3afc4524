"""`icl_curriculum.score`: any learner on any task, on the prompts and in the tables of an experiment."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch.nn.functional as F
from finished_runs import Finished
from helpers import shift_of, task_of
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor

import icl_curriculum as icl
from icl_curriculum.baselines import Averaging
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.figures import error_by_examples
from icl_curriculum.results.columns import COLUMNS


class Halved:
    """A learner that says half of the label before; it is shown neither the functions nor what it is to predict."""

    def predict(self, prompts: Prompts) -> Tensor:
        assert prompts.truth is None
        assert prompts.targets.isnan().all()
        return F.pad(prompts.ys[:, :-1], (1, 0)) / 2


def scored(learners: Any, tasks: Any = None, **options: Any) -> pd.DataFrame:
    options = {"n_prompts": 16, "points": 9, **options}
    return icl.score(learners, tasks or task_of("linear"), **options)


def errors(table: pd.DataFrame, learner: str, metric: str = "squared_error") -> dict[int, float]:
    rows = table[(table["learner"] == learner) & (table["metric"] == metric)]
    return dict(zip(rows["n_context"], rows["value"], strict=True))


def last_label(xs: np.ndarray, ys: np.ndarray, query: np.ndarray) -> float:
    assert xs.shape == (len(ys), 5)
    assert query.shape == (5,)
    assert xs.dtype == ys.dtype == query.dtype == np.float64
    return float(ys[-1])


@pytest.mark.parametrize(
    ("learner", "name"),
    [
        ("averaging", "averaging"),
        ("lasso/0.01", "lasso/0.01"),
        ("sklearn/Ridge", "sklearn/Ridge"),
        (Averaging(), "averaging"),
        (Halved(), "Halved"),
        (Halved, "Halved"),
        (LinearRegression(fit_intercept=False), "LinearRegression"),
        (LinearRegression, "LinearRegression"),
        (last_label, "last_label"),
    ],
    ids=["name", "id", "sklearn", "baseline", "object", "class", "regressor", "regressor class", "function"],
)
def test_whatever_answers_is_scored_beside_the_oracle(learner: Any, name: str) -> None:
    table = scored(learner)
    assert list(table.columns) == COLUMNS["evaluation"]
    assert dict(zip(table["learner"], table["learner_kind"], strict=True)) == {name: "baseline", "oracle": "oracle"}
    assert np.isfinite(list(errors(table, name).values())).all()
    assert not table["in_distribution"].any()


def test_names_are_the_users(finished: Finished) -> None:
    table = scored(
        {"mine": Halved(), "other": lambda xs, ys, query: ys[0], "trained": finished.path},
        task_of("linear", dims=2),
        points=5,
    )
    kinds = dict(zip(table["learner"], table["learner_kind"], strict=True))
    assert kinds == {"mine": "baseline", "other": "baseline", "trained": "model", "oracle": "oracle"}


def test_errors_are_what_the_predictions_say() -> None:
    table = scored([Halved(), last_label])
    targets = task_of("linear").draw(16, 9, icl.Streams(0, "evaluation/linear/{}"))
    half = (targets.ys[:, 3] / 2 - targets.targets[:, 4]).double().square()
    assert errors(table, "Halved")[4] == pytest.approx(float(half.mean()), rel=1e-6)
    assert errors(table, "Halved", "normalized_error")[4] == pytest.approx(float(half.mean()) / 5, rel=1e-6)
    last = (targets.ys[:, 4] - targets.targets[:, 5]).double().square()
    assert errors(table, "last_label") == pytest.approx({2: errors(table, "last_label")[2], 5: float(last.mean())})


def test_a_regressor_gives_what_it_gives_by_hand() -> None:
    table = scored(LinearRegression(fit_intercept=False), lengths="all")
    expected = errors(scored("least_squares"), "least_squares")
    found = errors(table, "LinearRegression")
    assert list(found) == list(range(9))
    # Below five examples both give the solution of least norm.
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_the_rows_of_a_run_are_those_of_its_own_evaluation(finished: Finished) -> None:
    experiment = finished.run.experiment
    size = {"n_prompts": experiment.evaluation.n_prompts, "points": experiment.points}
    table = icl.score(str(finished.path), list(experiment.tasks().values()), **size)
    own = finished.table("evaluation")
    own = own[(own["shift"] == "none") & (own["learner_kind"] == "model")]
    found = table[table["learner"] == "model"]
    for column in ("function_class", "in_distribution", "n_context", "metric", "step", "seed"):
        assert list(found[column]) == list(own[column]), column
    np.testing.assert_allclose(found["value"], own["value"], rtol=1e-8)
    assert list(table.loc[table["learner"] == "oracle", "in_distribution"].unique()) == [True]
    assert isinstance(error_by_examples(table).axes, list)


def test_tasks_and_shifts_make_cells() -> None:
    shift = shift_of("scaled_inputs")
    table = scored("least_squares", [task_of("linear"), task_of("quadratic")], shifts=[shift])
    cells = table[["function_class", "shift"]].drop_duplicates().to_numpy().tolist()
    assert cells == [["linear", "none"], ["linear", shift.id], ["quadratic", "none"], ["quadratic", shift.id]]


def test_costly_learners_can_be_asked_for_more() -> None:
    few = scored(last_label, costly_prompts=4)
    every = scored(last_label, costly_prompts=16, lengths=[1, 8])
    assert list(errors(few, "last_label")) == [2, 5]
    assert set(few.loc[few["learner"] == "last_label", "n_prompts"]) == {4}
    assert list(errors(every, "last_label")) == [1, 8]
    assert set(every["n_prompts"]) == {16}


def test_what_fails_is_counted_in_a_warning() -> None:
    with pytest.warns(
        UserWarning, match=r"linear/gaussian/none: KNeighborsRegressor failed on 16 of 16 prompts at k = 2"
    ):
        table = scored(KNeighborsRegressor(n_neighbors=4))
    assert list(errors(table, "KNeighborsRegressor")) == [5]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scored(KNeighborsRegressor(n_neighbors=2))


def test_an_answer_that_is_not_one_number_is_a_failure() -> None:
    with pytest.warns(UserWarning, match=r"ValueError: expected one number, found an array of shape \(5,\)"):
        scored({"vector": lambda xs, ys, query: query})


@pytest.mark.parametrize(
    ("learners", "message"),
    [
        ("rigde", r"learner rigde: unknown baseline 'rigde'; did you mean 'ridge'\?"),
        ("sklearn/Rige", r"learner sklearn/Rige: .*did you mean 'Ridge'\?"),
        (3, r"int: expected a baseline's name, a run's folder, an object with predict\(prompts\), .*, found int"),
        ({"oracle": "ridge"}, "the name 'oracle' has a meaning of its own in the tables"),
        ([Halved(), Halved()], "two learners are called 'Halved'; give each a name of its own"),
        (Averaging, None),
    ],
    ids=["unknown baseline", "unknown regressor", "number", "taken name", "name twice", "class of a baseline"],
)
def test_what_cannot_be_meant_is_named(learners: Any, message: str | None) -> None:
    if message is None:
        assert len(scored(learners))
        return
    with pytest.raises(UserError, match=message):
        scored(learners)


def test_undefined_tasks_and_shifts_are_named() -> None:
    with pytest.raises(UserError, match="parity: expected inputs of -1 and 1, found gaussian"):
        scored("ridge", task_of("parity"))
    with pytest.raises(UserError, match="parity under random_quadrants: every input is a corner of the cube"):
        scored("ridge", task_of("parity", "rademacher"), shifts=[shift_of("random_quadrants")])


def test_lengths_that_no_prompt_has_are_named() -> None:
    with pytest.raises(UserError, match="lengths: 9 exceeds the longest prompt, 8 examples"):
        scored("ridge", lengths=[9])
    with pytest.raises(UserError, match="lengths: expected 'all' or a list of numbers of examples"):
        scored("ridge", lengths="some")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected the directory of a finished run, found no run"):
        scored(tmp_path)


@pytest.mark.parametrize(
    ("dims", "points", "message"),
    [
        (3, 5, "tasks: model: the model was trained in 2 dimensions, found 3"),
        (2, 50, r"points: model: prompts of 50 points, the model reads at most \d+"),
    ],
)
def test_prompts_that_a_model_cannot_read_are_refused(finished: Finished, dims: int, points: int, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        icl.score(str(finished.path), task_of("linear", dims=dims), points=points, n_prompts=4)
