"""Baselines that fit every prompt at every length anew, against scikit-learn, and how they may be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, baseline_of, draw, errors_of, task_of
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.tree import DecisionTreeRegressor

from icl_curriculum.baselines import regressor_answer
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES

COSTLY: list[Spec] = [
    "greedy_tree",
    {"name": "gradient_boosting", "trees": 3},
    {"name": "mlp_gd", "hidden": 20, "steps": 10},
    {"name": "sklearn", "regressor": "ExtraTreesRegressor", "parameters": {"n_estimators": 2}},
]
EVERY_COSTLY = pytest.mark.parametrize("spec", COSTLY, ids=[baseline_of(spec).id for spec in COSTLY])


def at_lengths(prompts: Prompts, *lengths: int) -> Prompts:
    mask = torch.zeros(prompts.ys.shape, dtype=torch.bool)
    mask[:, list(lengths)] = True
    return replace(prompts, mask=mask)


def test_these_are_the_costly_ones() -> None:
    registered = {name for name in BASELINES.names() if baseline_of(name).costly}
    assert {baseline_of(spec).name for spec in COSTLY} == registered


@EVERY_COSTLY
def test_how_prompts_are_grouped_changes_no_bit(spec: Spec) -> None:
    prompts = at_lengths(draw(task_of("relu_network", dims=5), 5, 11), 2, 5, 10)
    whole = baseline_of(spec).predict(prompts)
    for size in (1, 2, 3):
        parts = [baseline_of(spec).predict(prompts[start : start + size]) for start in range(0, 5, size)]
        assert torch.cat(parts).equal(whole)


@EVERY_COSTLY
def test_lengths_that_are_asked_for_do_not_decide_the_answers(spec: Spec) -> None:
    prompts = draw(task_of("relu_network", dims=5), 2, 11)
    one, several = (baseline_of(spec).predict(at_lengths(prompts, *lengths)) for lengths in ((10,), (0, 2, 10)))
    assert one[:, 10].equal(several[:, 10])
    assert not several[:, 0].any()


@pytest.mark.parametrize(
    ("spec", "regressor"),
    [
        ("greedy_tree", DecisionTreeRegressor(random_state=0)),
        ({"name": "greedy_tree", "max_depth": 2}, DecisionTreeRegressor(max_depth=2, random_state=0)),
        ("gradient_boosting", GradientBoostingRegressor(n_estimators=50, max_depth=4, random_state=0)),
        (
            {"name": "gradient_boosting", "trees": 5, "max_depth": 1, "learning_rate": 0.5},
            GradientBoostingRegressor(n_estimators=5, max_depth=1, learning_rate=0.5, random_state=0),
        ),
    ],
    ids=["tree", "shallow tree", "boosting", "another boosting"],
)
def test_trees_are_scikit_learn_s(spec: Spec, regressor: Any) -> None:
    prompts = at_lengths(draw(task_of("decision_tree", dims=4), 2, 21), 1, 6, 20)
    found = baseline_of(spec).predict(prompts)
    xs, ys = prompts.xs.double().numpy(), prompts.ys.double().numpy()
    for i in range(2):
        for k in (1, 6, 20):
            assert float(found[i, k]) == regressor.fit(xs[i, :k], ys[i, :k]).predict(xs[i, k : k + 1]).item()


def test_trees_suit_trees() -> None:
    """At signs a decision of the function is one of the tree's, too."""
    prompts = at_lengths(draw(task_of("decision_tree", "rademacher", dims=5), 100, 81), 80)
    assert errors_of(baseline_of("greedy_tree"), prompts)[:, 80].mean() < 0.1
    assert errors_of(baseline_of("least_squares"), prompts)[:, 80].mean() > 0.4


# Regressors by name: beyond test_scikit_learn.py


@pytest.mark.parametrize(
    ("regressor", "parameters", "message"),
    [
        ("IsolationForest", {}, "IsolationForest is an outlier detector of scikit-learn, expected a regressor"),
        ("GaussianMixture", {}, "GaussianMixture is another estimator of scikit-learn, expected a regressor"),
        ("PoissonRegressor", {}, "PoissonRegressor cannot be fitted: ValueError: Some value.* of y are out of"),
        ("MultiTaskLasso", {}, "MultiTaskLasso cannot be fitted: ValueError: For mono-task outputs"),
        ("PLSRegression", {"n_components": 30}, "PLSRegression cannot be fitted: ValueError: .*upper bound is 20"),
    ],
)
def test_what_can_never_answer_is_refused(regressor: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"sklearn: {message}"):
        baseline_of({"name": "sklearn", "regressor": regressor, "parameters": parameters})


@pytest.mark.parametrize(
    ("regressor", "parameters"),
    [("IsotonicRegression", {}), ("PLSRegression", {"n_components": 15}), ("KNeighborsRegressor", {"n_neighbors": 50})],
)
def test_what_some_prompts_allow_is_not_refused(regressor: str, parameters: dict[str, Any]) -> None:
    """One dimension only, many dimensions, many examples."""
    baseline_of({"name": "sklearn", "regressor": regressor, "parameters": parameters})


def test_what_a_regressor_prints_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    spec = {
        "name": "sklearn",
        "regressor": "GradientBoostingRegressor",
        "parameters": {"verbose": 2, "n_estimators": 2},
    }
    baseline_of(spec).predict(draw(task_of("linear", dims=2), 1, 3))
    assert capfd.readouterr() == ("", "")


def test_ids_hold_values_as_toml_writes_them() -> None:
    spec = {"name": "sklearn", "regressor": "Ridge", "parameters": {"fit_intercept": False, "alpha": 0.125}}
    assert baseline_of(spec).id == "sklearn/Ridge/fit_intercept=false/alpha=0.125"


class Fixed:
    """A regressor of somebody else's, which says what it was told to."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def get_params(self, deep: bool = True) -> dict[str, object]:
        return {"answer": self.answer}

    def fit(self, xs: np.ndarray, ys: np.ndarray) -> Fixed:
        self.fitted = True
        return self

    def predict(self, xs: np.ndarray) -> object:
        return self.answer


def test_a_copy_is_fitted_and_its_answer_is_one_number() -> None:
    xs, ys, query = np.zeros((2, 3)), np.zeros(2), np.zeros(3)
    regressor = Fixed([[2.5]])
    assert regressor_answer(regressor)(xs, ys, query) == 2.5
    assert not hasattr(regressor, "fitted")
    with pytest.raises(ValueError, match="expected one number, found 2"):
        regressor_answer(Fixed([1.0, 2.0]))(xs, ys, query)
    with pytest.raises(ValueError, match="expected a finite number, found nan"):
        regressor_answer(Fixed([np.nan]))(xs, ys, query)
