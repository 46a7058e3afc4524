"""What observations show: their distributions by independent references, and that nothing else of a prompt changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.linear_model import HuberRegressor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS, OBSERVATIONS, SHIFTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, oracle_entry
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task

DIMS, N, POINTS = 3, 2000, 6


def task(observation: Any = None, name: Any = "linear", **fields: Any) -> Task:
    spec = {"name": name, **({} if observation is None else {"observation": observation}), **fields}
    function_class: Any = FUNCTION_CLASSES.build(spec)
    inputs: Any = INPUTS.build(function_class.reference(DIMS))
    return Task(function_class, inputs, DIMS)


def drawn(observation: Any = None, name: Any = "linear", **fields: Any) -> Prompts:
    return task(observation, name, **fields).draw(N, POINTS, Streams(3, "observations"))


@pytest.mark.parametrize("observation", sorted(OBSERVATIONS.names()))
@pytest.mark.parametrize("shift", [None, "opposite_quadrants"])
def test_functions_and_targets_stay_and_only_what_is_shown_changes(observation: str, shift: str | None) -> None:
    built: Any = None if shift is None else SHIFTS.build(shift)
    plain, shown = (
        Bank(task(spec), built, 50, POINTS, 0).draw() for spec in (None, observation)
    )  # fmt: skip
    assert plain.truth is not None
    assert shown.truth is not None
    assert shown.targets.equal(plain.targets)
    assert shown.truth["w"].equal(plain.truth["w"])
    assert (shown.queries is None) == (shift is None)
    if observation == "missing_features":
        seen = shown.query()[..., DIMS:] == 1
        assert shown.ys.equal(plain.ys)
        assert shown.query()[..., :DIMS].equal(torch.where(seen, plain.query(), 0.0))
        assert 0.7 < float(seen.float().mean()) < 0.9
    else:
        assert shown.xs.equal(plain.xs)
        assert not shown.ys.equal(plain.ys)


def test_outliers_are_a_share_that_knows_nothing_of_the_function() -> None:
    plain, shown = drawn(), drawn({"name": "outliers", "share": 0.3, "spread": 2.0})
    replaced = shown.ys != plain.ys
    assert abs(float(replaced.float().mean()) - 0.3) < 5 * (0.3 * 0.7 / replaced.numel()) ** 0.5
    noise = shown.ys[replaced].numpy() / (2 * DIMS**0.5)
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise, plain.ys[replaced].numpy())[0, 1]) < 0.1


@pytest.mark.parametrize(("name", "right"), [("linear_classification", 0.75), ("multiclass_linear", 0.5 + 0.5 / 3)])
def test_signs_and_classes_become_any_of_them(name: str, right: float) -> None:
    plain, shown = drawn(name=name), drawn({"name": "outliers", "share": 0.5}, name)
    same = (shown.ys == plain.ys) if shown.ys.ndim == 2 else (shown.ys == plain.ys).all(dim=-1)
    assert abs(float(same.float().mean()) - right) < 0.02
    if shown.classes:
        assert bool((shown.ys.sum(dim=-1) == 1).all())
    else:
        assert set(shown.ys.unique().tolist()) == {-1.0, 1.0}


def test_student_t_noise_is_students_with_the_stated_standard_deviation() -> None:
    plain, shown = drawn(), drawn({"name": "student_t_noise", "level": 0.5, "df": 4.0})
    noise = (shown.ys - plain.ys).double().flatten().numpy() / (0.5 * DIMS**0.5)
    assert stats.kstest(noise * 2**0.5, "t", args=(4.0,)).pvalue > 1e-3
    assert shown.label_noise == pytest.approx(0.5 * DIMS**0.5)


def test_heteroscedastic_noise_grows_with_the_input() -> None:
    plain, shown = drawn(), drawn({"name": "heteroscedastic_noise", "level": 0.5})
    noise = (shown.ys - plain.ys).double() / (0.5 * plain.xs.double().norm(dim=-1))
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3


def test_levels_are_over_the_root_of_the_trivial_error_of_each_number_and_in_the_unit_of_labels() -> None:
    level = {"name": "student_t_noise", "level": 0.5, "df": 50.0}
    for name, fields, expected in (
        ("linear_map", {"label_dims": 2}, 0.5 * DIMS**0.5),
        ("linear", {"outputs": "unit"}, 0.5),
        ("noisy_linear", {"label_noise": 1.0}, 0.5 * DIMS**0.5),
    ):
        plain, shown = drawn(name=name, **fields), drawn(level, name, **fields)
        found = float((shown.ys - plain.ys).double().std())
        assert found == pytest.approx(expected, rel=0.03), name
        assert shown.label_noise == pytest.approx((plain.label_noise**2 + expected**2) ** 0.5), name
    scaled = replace(task(level), factor=3.0).draw(N, POINTS, Streams(3, "observations"))
    clean = replace(task(), factor=3.0).draw(N, POINTS, Streams(3, "observations"))
    assert float((scaled.ys - clean.ys).std()) == pytest.approx(0.5 * DIMS**0.5, rel=0.03), "noise is not scaled"


def test_huber_is_scikit_learns_and_withstands_outliers() -> None:
    prompts = replace(task({"name": "outliers", "share": 0.15}), inputs=task().inputs).draw(
        12, 25, Streams(0, "huber")
    )  # fmt: skip
    (spec,) = task("outliers").function_class.suited_baselines()[-1:]
    huber: Any = BASELINES.build(spec)
    assert huber.id == "huber"
    k = 24
    found = huber.predict(replace(prompts, mask=(torch.arange(25) == k).expand(12, 25)))[:, k]
    by_hand = HuberRegressor(fit_intercept=False, max_iter=1000).fit(
        prompts.xs[0, :k].double().numpy(), prompts.ys[0, :k].double().numpy()
    )
    assert float(found[0]) == pytest.approx(by_hand.predict(prompts.xs[0, k : k + 1].double().numpy())[0])
    squares: Any = BASELINES.build("least_squares")
    theirs = squares.predict(prompts)[:, k]
    error, other = ((each - prompts.targets[:, k]).square().median() for each in (found, theirs))
    assert error < other / 4


def test_no_oracle_is_claimed_where_examples_are_shown_otherwise() -> None:
    other: Any = SHIFTS.build({"name": "other_observation", "observation": "student_t_noise"})
    assert oracle_entry(Bank(task(), None, 4, 4, 0))
    assert not oracle_entry(Bank(task("outliers"), None, 4, 4, 0))
    assert not oracle_entry(Bank(task(), other, 4, 4, 0))
    assert oracle_entry(Bank(task(pool_size=4), None, 4, 4, 0))
    assert not oracle_entry(Bank(task(pool_size=4), other, 4, 4, 0))


def test_a_shift_to_what_is_trained_on_is_in_distribution_and_bears_the_class_its_name() -> None:
    observation = {"name": "outliers", "share": 0.2}
    shift: Any = SHIFTS.build({"name": "other_observation", "observation": observation})
    trained = task(observation)
    assert Bank(trained, shift, 4, 4, 0).asks_like([trained])
    bank = Bank(task(), shift, 4, 4, 0)
    assert not bank.asks_like([task()])
    assert bank.key == ("linear", "gaussian", "other_observation/outliers/0.2")
    assert bank.second_moment == task().second_moment()


@pytest.mark.parametrize(
    ("shift", "asked", "reason"),
    [
        (
            "missing_features",
            task(),
            "it shows inputs of 6 numbers, and without it they are of 3",
        ),
        (
            "student_t_noise",
            task(name="linear_classification"),
            "the observation 'student_t_noise/0.5' changes numbers and vectors, and the labels of "
            "linear_classification are signs",
        ),
        ({"name": "missing_features", "indicator": "left_out"}, task(), None),
        ({"name": "missing_features", "share": 0.5}, task("missing_features"), None),
    ],
)
def test_where_another_observation_means_something(shift: Any, asked: Task, reason: str | None) -> None:
    built = SHIFTS.build({"name": "other_observation", "observation": shift})
    assert isinstance(built, Shift)
    assert why_undefined(built, asked) == reason


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(UserError, match=r"changes numbers and vectors, and the labels of \S+ are classes"):
        task("student_t_noise", "multiclass_linear").check()


def test_a_pool_is_not_known_by_what_is_shown_otherwise() -> None:
    dmmse: Any = BASELINES.build({"name": "dmmse", "pool": {"name": "linear", "pool_size": 4}})
    assert dmmse.why_not(task().function_class) is None
    for observation in ("outliers", "missing_features"):
        reason = dmmse.why_not(task(observation).function_class)
        assert reason is not None
        assert "reads inputs and values as functions have them" in reason
