"""The baseline `sklearn`: any regressor by name, and clear words for what is none."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from helpers import baseline_of, draw, task_of
from pydantic import ValidationError
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from icl_curriculum.config.identifiers import component
from icl_curriculum.config.mistakes import problems
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import BASELINES, Registered


def named(regressor: str, **parameters: Any) -> dict[str, Any]:
    return {"name": "sklearn", "regressor": regressor, "parameters": parameters}


@pytest.mark.parametrize(
    ("spec", "regressor"),
    [
        (named("SVR", C=2.0), SVR(C=2.0)),
        # Its randomness is fixed unless the user fixes it otherwise.
        (named("RandomForestRegressor", n_estimators=3), RandomForestRegressor(n_estimators=3, random_state=0)),
        (
            named("RandomForestRegressor", n_estimators=3, random_state=7),
            RandomForestRegressor(n_estimators=3, random_state=7),
        ),
    ],
    ids=["SVR", "forest", "forest with another seed"],
)
def test_it_says_what_the_regressor_says(spec: dict[str, Any], regressor: Any) -> None:
    prompts = draw(task_of("quadratic", dims=3), 2, 6)
    found = baseline_of(spec).predict(prompts)
    assert found[:, 0].equal(torch.zeros(2, dtype=torch.float64))
    xs, ys = prompts.xs.double().numpy(), prompts.ys.double().numpy()
    for i in range(2):
        for k in range(1, 6):
            assert float(found[i, k]) == regressor.fit(xs[i, :k], ys[i, :k]).predict(xs[i, k : k + 1]).item()


def test_only_what_the_mask_leaves_is_fitted() -> None:
    prompts = draw(task_of("linear", dims=3), 2, 6)
    mask = torch.zeros(2, 6, dtype=torch.bool)
    mask[:, 4] = True
    baseline = baseline_of(named("LinearRegression"))
    masked = baseline.predict(type(prompts)(xs=prompts.xs, ys=prompts.ys, targets=prompts.targets, mask=mask))
    assert masked[:, 4].equal(baseline.predict(prompts)[:, 4])
    assert not masked[:, [1, 2, 3, 5]].any()


def test_warnings_of_the_regressor_are_not_shown() -> None:
    """They are errors in these tests: a network of one step does not converge, a deprecated class says so."""
    prompts = draw(task_of("linear", dims=3), 1, 4)
    baseline_of(named("MLPRegressor", max_iter=1)).predict(prompts)
    baseline_of(named("PassiveAggressiveRegressor")).predict(prompts)


def test_what_it_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="n_neighbors"):
        baseline_of(named("KNeighborsRegressor")).predict(draw(task_of("linear", dims=3), 1, 4))


def test_ids_say_regressor_and_parameters_and_are_understood() -> None:
    for spec, expected in (
        (named("SVR"), "sklearn/SVR"),
        (named("RandomForestRegressor", n_estimators=3, max_depth=2), None),
        (named("SVR", kernel="linear", C=0.5), "sklearn/SVR/kernel=linear/C=0.5"),
    ):
        built = baseline_of(spec)
        assert expected is None or built.id == expected
        assert component(built.id, BASELINES, "--learner") == built
        assert BASELINES.build(built.spec()) == built
    assert baseline_of({**named("SVR"), "id": "support vectors"}).id == "support vectors"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            named("RandomForestRegresor"),
            "has no regressor 'RandomForestRegresor'; did you mean 'RandomForestRegressor'?",
        ),
        (named("LogisticRegression"), "LogisticRegression is a classifier of scikit-learn, expected a regressor"),
        (named("PCA"), "PCA is a transformer of scikit-learn, expected a regressor"),
        (named("KMeans"), "KMeans is a clustering method of scikit-learn, expected a regressor"),
        (named("VotingRegressor"), "VotingRegressor cannot be made of plain parameters: .*'estimators'"),
        (named("Ridge", alfa=1.0), "Ridge has no parameter 'alfa'; did you mean 'alpha'?"),
        (named("Ridge", alpha="much"), "Ridge refuses its parameters: The 'alpha' parameter of Ridge must be a float"),
        (named("SVR", C=-1.0), "SVR refuses its parameters: The 'C' parameter of SVR must be a float in the range"),
    ],
    ids=lambda value: value["regressor"] if isinstance(value, dict) else "",
)
def test_mistakes_are_found_when_it_is_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\?").replace("(", r"\(")):
        baseline_of(spec)


def test_a_toml_says_where_the_mistake_stands() -> None:
    from tiny_runs import tiny_run

    with pytest.raises(UserError, match=r"evaluation.baselines.1: sklearn: Ridge has no parameter 'alfa'"):
        tiny_run({"evaluation.baselines": ["zero", named("Ridge", alfa=1.0)]})
    assert Registered(BASELINES).build(named("Ridge")).id == "sklearn/Ridge"
    with pytest.raises(ValidationError) as error:
        baseline_of({"name": "sklearn", "regresor": "SVR"})
    assert "regresor" in problems(error.value)[0]


def test_scikit_learn_is_not_imported_before_it_is_named() -> None:
    code = "import sys, icl_curriculum.baselines; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
