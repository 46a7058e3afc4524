"""Regression in other features than the inputs: kernels and products of coordinates, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, baseline_of, draw, errors_of, shifted, task_of
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from torch import Tensor

from icl_curriculum.baselines import KernelRidge as KernelRidgeBaseline
from icl_curriculum.baselines import quadratic_features
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import ReluNetwork

DIMS = 4


def prompts_of(points: int, *, separate: bool) -> Prompts:
    task = task_of("relu_network", dims=DIMS, label_noise=0.3)
    return shifted("random_quadrants", task, 3, points) if separate else draw(task, 3, points)


BOTH_KINDS = pytest.mark.parametrize("separate", [False, True], ids=["plain", "separate queries"])


def one_at_a_time(regressor: Any, prompts: Prompts) -> Tensor:
    """scikit-learn's regressor, fitted to every prefix by itself; 0 at k = 0."""
    predicted = torch.zeros(len(prompts), prompts.points, dtype=torch.float64)
    xs, ys, queries = (value.double().numpy() for value in (prompts.xs, prompts.ys, prompts.query()))
    for i, k in np.ndindex(*ys.shape):
        if k > 0:
            predicted[i, k] = regressor.fit(xs[i, :k], ys[i, :k]).predict(queries[i, k : k + 1]).item()
    return predicted


def _arc_cosine(one: Any, other: Any) -> float:
    """Cho and Saul 2009, degree 1, times 2 E relu^2 = 1."""
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    angle = np.arccos(np.clip(one @ other / lengths, -1, 1))
    return float(lengths * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / np.pi)


@BOTH_KINDS
@pytest.mark.parametrize(
    ("spec", "parameters"),
    [
        ({}, {"kernel": "polynomial", "degree": 2, "alpha": 0.1}),
        ({"degree": 3, "coef0": 0.5, "gamma": 0.7}, {"kernel": "polynomial", "degree": 3, "coef0": 0.5, "gamma": 0.7}),
        ({"kernel": "rbf", "penalty": 2.0}, {"kernel": "rbf", "alpha": 2.0}),
        ({"kernel": "rbf", "gamma": 0.05}, {"kernel": "rbf", "gamma": 0.05}),
        ({"kernel": "laplacian", "penalty": 0.01}, {"kernel": "laplacian", "alpha": 0.01}),
        ({"kernel": "arc_cosine", "penalty": 0.01}, {"kernel": _arc_cosine, "alpha": 0.01}),
    ],
    ids=["default", "polynomial", "rbf", "rbf of another width", "laplacian", "arc-cosine"],
)
def test_kernel_ridge_is_scikit_learn_s(spec: dict[str, Any], parameters: dict[str, Any], *, separate: bool) -> None:
    prompts = prompts_of(9, separate=separate)
    expected = one_at_a_time(KernelRidge(**{"alpha": 0.1, **parameters}), prompts)
    got = baseline_of({"name": "kernel_ridge", **spec}).predict(prompts)
    torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-9)


def test_the_arc_cosine_kernel_is_the_covariance_of_relu_networks() -> None:
    """Without gamma, for any number of hidden units; a vector of zeros covaries with nothing."""
    function_class = ReluNetwork(hidden=7)
    xs = torch.cat([torch.randn(3, DIMS, generator=torch.Generator().manual_seed(0)), torch.zeros(1, DIMS)])
    truth = function_class.sample(200_000, DIMS, torch.Generator().manual_seed(1))
    values = function_class.evaluate(truth, xs.expand(200_000, 4, DIMS)).double()
    kernel = KernelRidgeBaseline(kernel="arc_cosine")._kernel(xs.double()[None], xs.double()[None])[0]
    torch.testing.assert_close(values.T @ values / 200_000, kernel, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("kernel", ["rbf", "polynomial", "arc_cosine"])
@pytest.mark.parametrize("penalty", [1e-3, 1e-12, 1e-300])
def test_kernel_ridge_survives_examples_that_recur(kernel: str, penalty: float) -> None:
    """The kernel matrix is singular, and below the rounding of its entries the penalty doesn't mend that."""
    prompts = draw(task_of("linear", dims=DIMS), 3, 24)
    order = [0, 0, 1, 2, 3, 4, 1, *range(24 - 7)]
    prompts = replace(prompts, xs=prompts.xs[:, order], ys=prompts.ys[:, order])
    again = replace(prompts, queries=prompts.xs[:, :1].expand_as(prompts.xs))
    predicted = baseline_of({"name": "kernel_ridge", "kernel": kernel, "penalty": penalty}).predict(again)
    torch.testing.assert_close(predicted[:, 1:].float(), prompts.ys[:, :1].expand(-1, 23), rtol=0.02, atol=0.02)


def test_a_label_does_not_reach_back_through_a_singular_kernel() -> None:
    baseline = baseline_of({"name": "kernel_ridge", "kernel": "rbf", "penalty": 1e-300})
    prompts = draw(task_of("linear", dims=DIMS), 3, 12)
    recurring = replace(prompts, xs=prompts.xs[:, [0, 1, 2, 3, 4, 5, *[0] * 6]])
    infinite = replace(prompts, xs=prompts.xs.clone())
    infinite.xs[:, 6:] = torch.inf
    for changed in (recurring, infinite):
        assert baseline.predict(changed)[:, :6].equal(baseline.predict(prompts)[:, :6])


@BOTH_KINDS
@pytest.mark.parametrize("points", [8, 20])
def test_quadratic_features_are_scikit_learn_s_least_squares(points: int, *, separate: bool) -> None:
    """15 features: with 8 points they are more than these, with 20 fewer."""
    prompts = prompts_of(points, separate=separate)
    regressor = make_pipeline(PolynomialFeatures(2), LinearRegression(fit_intercept=False, tol=1e-12))
    got = baseline_of("quadratic_features").predict(prompts)
    torch.testing.assert_close(got, one_at_a_time(regressor, prompts), rtol=1e-5, atol=1e-7)


@BOTH_KINDS
@pytest.mark.parametrize("points", [4, 12])
def test_squares_are_what_the_quadratic_class_is_made_of(points: int, *, separate: bool) -> None:
    task = task_of("quadratic", dims=6)
    prompts = shifted("random_quadrants", task, 3, points) if separate else draw(task, 3, points)
    got = baseline_of({"name": "quadratic_features", "features": "squares"}).predict(prompts)
    torch.testing.assert_close(got, task.function_class.oracle(prompts), rtol=1e-6, atol=1e-7)


def test_quadratic_features_of_many_prompts_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(8, separate=True)
    whole = baseline_of("quadratic_features").predict(prompts)
    monkeypatch.setattr(quadratic_features, "_CHUNK", 1)
    torch.testing.assert_close(baseline_of("quadratic_features").predict(prompts), whole)


@pytest.mark.parametrize(
    ("spec", "function_class", "most"),
    [
        ("kernel_ridge", "relu_network", 0.2),
        ("kernel_ridge", "quadratic", 0.35),
        ("quadratic_features", "quadratic", 0.2),
        ("quadratic_features", "hermite", 0.2),
    ],
)
def test_they_suit_curved_classes(spec: Spec, function_class: str, most: float) -> None:
    """Least squares on the inputs stays above .5 for all of them, d = 5, k = 20."""
    task = task_of(function_class, dims=5)
    prompts = draw(task, 200, 21)
    error = errors_of(baseline_of(spec), prompts)[:, 20].mean() / task.trivial_error()
    assert error < most
    assert errors_of(baseline_of("least_squares"), prompts)[:, 20].mean() / task.trivial_error() > 0.5
