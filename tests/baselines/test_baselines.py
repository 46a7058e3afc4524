"""Baselines, against scikit-learn and the catalogue, and what every baseline must do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import Spec, baseline_of, class_of, draw, errors_of, shift_of, task_of
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor
from verifying import assert_golden, golden_errors

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.core.streams import Streams
from icl_curriculum.verify.checks import Figure

SPECS: list[Spec] = [
    "zero",
    "averaging",
    "least_squares",
    "ridge",
    {"name": "ridge", "penalty": 0.3},
    "knn",
    {"name": "knn", "weights": "distance"},
    {"name": "knn", "neighbors": 1},
    "kernel_ridge",
    {"name": "kernel_ridge", "kernel": "rbf"},
    {"name": "kernel_ridge", "kernel": "laplacian", "gamma": 0.1},
    {"name": "kernel_ridge", "kernel": "arc_cosine"},
    "quadratic_features",
    {"name": "quadratic_features", "features": "squares"},
    "sparse_posterior",
    "greedy_tree",
    {"name": "gradient_boosting", "trees": 3, "max_depth": 2},
    {"name": "mlp_gd", "hidden": 10, "steps": 4},
    {"name": "gradient_descent", "steps": 2},
    {"name": "gradient_descent", "rate": 0.5},
    {"name": "preconditioned_gradient_descent", "steps": 2, "inputs": "shifted"},
    {"name": "sklearn", "regressor": "BayesianRidge"},
]


def every_baseline(*but: str) -> Any:
    specs = [spec for spec in SPECS if baseline_of(spec).name not in but]
    return pytest.mark.parametrize("spec", specs, ids=[baseline_of(spec).id for spec in specs])


EVERY_BASELINE = every_baseline()

N, POINTS, DIMS = 4, 13, 5


def with_queries() -> Prompts:
    """Noisy prompts that ask something else than the next example."""
    task = task_of("linear", dims=DIMS, label_noise=0.5)
    return shift_of("random_quadrants").draw(task, N, POINTS, Streams(0, "test"))


def plain() -> Prompts:
    return draw(task_of("linear", dims=DIMS, label_noise=0.5), N, POINTS)


BOTH_KINDS = pytest.mark.parametrize("prompts", [plain(), with_queries()], ids=["plain", "separate queries"])


def few(spec: Spec, prompts: Prompts) -> Prompts:
    """One prompt alone, and short, for what fits every prompt at every length anew."""
    return prompts[:1].first_points(9) if baseline_of(spec).costly else prompts


def scikit_learn(make: Any, prompts: Prompts) -> Tensor:
    """A regressor fitted on every prefix by itself; ``make(k)`` gives it for k examples. 0 at k = 0."""
    predicted = torch.zeros(len(prompts), prompts.points, dtype=torch.float64)
    xs, ys, queries = (value.double().numpy() for value in (prompts.xs, prompts.ys, prompts.query()))
    for i in range(len(prompts)):
        for k in range(1, prompts.points):
            predicted[i, k] = make(k).fit(xs[i, :k], ys[i, :k]).predict(queries[i, k : k + 1]).item()
    return predicted


def test_every_registered_baseline_is_tested_here() -> None:
    """Those that want a pool or classes, and `lasso`, have tests of their own: in test_dmmse.py and the like."""
    others = {"dmmse", "lasso", "logistic_regression"}
    assert {baseline_of(spec).name for spec in SPECS} | others == set(BASELINES.names())


@pytest.mark.parametrize(
    ("function_class", "expected"),
    [
        ("sparse_linear", ["lasso/1", "lasso/0.1", "lasso/0.01", "lasso/0.001", "lasso/0.0001"]),
        ("quadratic", ["quadratic_features", "kernel_ridge"]),
        ("hermite", ["quadratic_features", "kernel_ridge"]),
        ("parity", ["quadratic_features"]),
        ("sinusoid", ["kernel_ridge/kernel=rbf"]),
        ("relu_network", ["kernel_ridge", "mlp_gd"]),
        ("decision_tree", ["greedy_tree", "gradient_boosting"]),
    ],
)
def test_a_class_comes_with_the_baselines_that_suit_it(function_class: str, expected: list[str]) -> None:
    ids = [baseline_of(spec).id for spec in class_of(function_class).baselines]
    assert [item for item in ids if item in expected] == expected
    assert {"zero", "least_squares", "knn"} < set(ids)


# What every baseline must do


@EVERY_BASELINE
@pytest.mark.parametrize("k", [0, 1, 4, DIMS, 6])
def test_no_prediction_sees_its_own_or_later_pairs(spec: Spec, k: int) -> None:
    baseline, prompts = baseline_of(spec), few(spec, with_queries())
    xs, ys = prompts.xs.clone(), prompts.ys.clone()
    xs[:, k:] = 3 * torch.randn(xs[:, k:].shape, generator=torch.Generator().manual_seed(1))
    ys[:, k:] += 7
    before, after = baseline.predict(prompts), baseline.predict(replace(prompts, xs=xs, ys=ys))
    assert after[:, : k + 1].equal(before[:, : k + 1])
    assert baseline.name == "zero" or not after[:, k + 1 :].equal(before[:, k + 1 :])


@EVERY_BASELINE
def test_no_prediction_sees_its_own_label_in_a_plain_prompt(spec: Spec) -> None:
    baseline, prompts = baseline_of(spec), few(spec, plain())
    expected = baseline.predict(prompts)
    for k in range(prompts.points):
        ys = prompts.ys.clone()
        ys[:, k:] = 1e6
        assert baseline.predict(replace(prompts, ys=ys))[:, k].equal(expected[:, k])


# Trees have ties between splits to break.
@every_baseline("greedy_tree", "gradient_boosting")
@BOTH_KINDS
def test_the_order_of_examples_does_not_matter(spec: Spec, prompts: Prompts) -> None:
    prompts = few(spec, prompts)
    order = [4, 0, 3, 6, 1, 5, 2, *range(7, prompts.points)]
    shuffled = replace(prompts, xs=prompts.xs[:, order], ys=prompts.ys[:, order])
    expected = baseline_of(spec).predict(prompts)
    torch.testing.assert_close(baseline_of(spec).predict(shuffled)[:, 7:], expected[:, 7:])


@EVERY_BASELINE
@BOTH_KINDS
def test_only_xs_ys_and_queries_are_read(spec: Spec, prompts: Prompts) -> None:
    """Neither the functions' parameters nor the targets."""
    prompts = few(spec, prompts)
    blind = replace(prompts.without_truth(), targets=torch.full_like(prompts.targets, torch.nan))
    predicted = baseline_of(spec).predict(blind)
    assert predicted.shape == prompts.ys.shape
    assert predicted.equal(baseline_of(spec).predict(prompts))


@EVERY_BASELINE
@BOTH_KINDS
def test_without_examples_the_prediction_is_zero(spec: Spec, prompts: Prompts) -> None:
    prompts = few(spec, prompts)
    predicted = baseline_of(spec).predict(prompts)
    assert (predicted[:, 0] == 0).all()
    assert baseline_of(spec).name == "zero" or (predicted[:, 1:] != 0).all()
    assert baseline_of(spec).predict(prompts.first_points(1)).tolist() == [[0]] * len(prompts)


@EVERY_BASELINE
def test_a_separate_query_is_answered_as_if_it_came_next(spec: Spec) -> None:
    prompts = few(spec, with_queries())
    together = baseline_of(spec).predict(prompts)
    for k in (1, 3, 7):
        torch.testing.assert_close(baseline_of(spec).predict(prompts.at_prefix(k))[:, k], together[:, k])


@EVERY_BASELINE
def test_prompts_of_a_batch_do_not_mix(spec: Spec) -> None:
    prompts = plain().first_points(7)
    torch.testing.assert_close(baseline_of(spec).predict(prompts[2:3]), baseline_of(spec).predict(prompts)[2:3])


@EVERY_BASELINE
def test_the_precision_of_the_prompts_does_not_matter(spec: Spec) -> None:
    prompts = few(spec, with_queries())
    assert prompts.queries is not None
    double = replace(prompts, xs=prompts.xs.double(), ys=prompts.ys.double(), queries=prompts.queries.double())
    predicted = baseline_of(spec).predict(prompts)
    assert predicted.equal(baseline_of(spec).predict(double))
    assert baseline_of(spec).name == "zero" or predicted.dtype == torch.float64


# The others know a scale: a prior has one, and steps of a fixed rate.
@every_baseline("sparse_posterior", "mlp_gd", "sklearn")
def test_predictions_scale_with_the_labels(spec: Spec) -> None:
    prompts = few(spec, plain())
    scaled = baseline_of(spec).predict(replace(prompts, ys=4 * prompts.ys))
    torch.testing.assert_close(scaled, 4 * baseline_of(spec).predict(prompts))


# Against scikit-learn


@BOTH_KINDS
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("neighbors", [1, 3, 5])
def test_knn_is_scikit_learn_s(prompts: Prompts, weights: str, neighbors: int) -> None:
    def make(k: int) -> KNeighborsRegressor:
        return KNeighborsRegressor(n_neighbors=min(k, neighbors), weights=weights, algorithm="brute")

    got = baseline_of({"name": "knn", "weights": weights, "neighbors": neighbors}).predict(prompts)
    torch.testing.assert_close(got, scikit_learn(make, prompts))


def test_knn_takes_three_neighbours_by_default() -> None:
    prompts = plain()
    assert baseline_of("knn").predict(prompts).equal(baseline_of({"name": "knn", "neighbors": 3}).predict(prompts))


def test_knn_by_distance_returns_the_label_of_an_example_asked_again() -> None:
    prompts = plain()
    asked = replace(prompts, queries=prompts.xs[:, [0] * POINTS])
    predicted = baseline_of({"name": "knn", "weights": "distance"}).predict(asked)
    torch.testing.assert_close(predicted[:, 1:], prompts.ys[:, :1].double().expand(-1, POINTS - 1))


@BOTH_KINDS
@pytest.mark.parametrize("penalty", [0.1, 2.0])
def test_ridge_is_scikit_learn_s(prompts: Prompts, penalty: float) -> None:
    expected = scikit_learn(lambda k: Ridge(alpha=penalty, fit_intercept=False, solver="svd"), prompts)
    got = baseline_of({"name": "ridge", "penalty": penalty}).predict(prompts)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)


def test_ridge_takes_its_penalty_from_the_noise() -> None:
    prompts = plain()
    by_hand = baseline_of({"name": "ridge", "penalty": 0.25}).predict(prompts)
    assert baseline_of("ridge").predict(prompts).equal(by_hand)
    halved = replace(prompts, label_noise=0.25, scale=0.5)
    assert baseline_of("ridge").predict(halved).equal(by_hand)
    clean = replace(prompts, label_noise=0.0)
    assert baseline_of("ridge").predict(clean).equal(baseline_of("least_squares").predict(clean))


@BOTH_KINDS
def test_averaging_by_hand(prompts: Prompts) -> None:
    predicted = baseline_of("averaging").predict(prompts)
    for k in (1, 2, 7):
        w = (prompts.ys[:, :k, None] * prompts.xs[:, :k]).double().mean(dim=1)
        torch.testing.assert_close(predicted[:, k], (w * prompts.query()[:, k]).sum(-1), rtol=1e-5, atol=1e-5)


# Golden numbers: linear class, d = 20, Gaussian inputs, error over d


def assert_errors(
    spec: Spec, golden: Mapping[int, Figure], *, n: int, dims: int = 20, label_noise: float = 0.0
) -> None:
    prompts = draw(task_of("linear", dims=dims, label_noise=label_noise), n, max(golden) + 1)
    assert_golden(errors_of(baseline_of(spec), prompts) / dims, golden)


def test_zero_has_error_one() -> None:
    assert_errors("zero", dict.fromkeys(range(10), Figure(1.0)), n=3000)


def test_averaging_has_the_error_of_its_formula() -> None:
    assert_errors("averaging", {k: Figure(21 / k) for k in (1, 2, 5, 10, 20, 40)}, n=5000)


def test_least_squares_has_the_error_of_its_formula() -> None:
    assert_errors("least_squares", {k: Figure(1 - k / 20) for k in range(20)}, n=1280)


def test_least_squares_is_exact_from_d_examples_on() -> None:
    prompts = draw(task_of("linear", dims=20), 64, 26)
    assert errors_of(baseline_of("least_squares"), prompts)[:, 22:].max() < 1e-8


KNN = {weights: golden_errors("linear, d = 20", name) for weights, name in
       (("uniform", "knn"), ("distance", "knn/weights=distance"))}  # fmt: skip


@pytest.mark.parametrize("weights", KNN)
def test_knn_has_the_catalogue_s_error(weights: str) -> None:
    assert_errors({"name": "knn", "weights": weights}, KNN[weights], n=2560)


def test_knn_by_distance_gains_what_the_catalogue_says() -> None:
    """The difference to equal weights, on the same prompts: far more precise than either."""
    prompts = draw(task_of("linear", dims=20), 2560, 41)
    uniform, distance = (errors_of(baseline_of({"name": "knn", "weights": weights}), prompts) / 20 for weights in KNN)
    gains = {k: Figure(figure.value - KNN["distance"][k].value, 1e-3) for k, figure in KNN["uniform"].items()}
    assert_golden(uniform - distance, gains)


def test_least_squares_under_noise_has_the_error_of_its_formula() -> None:
    assert_errors("least_squares", {k: Figure(1 / (k - 21)) for k in (30, 40)}, n=640, label_noise=1.0)


def test_ridge_under_noise_has_the_catalogue_s_error() -> None:
    assert_errors("ridge", golden_errors("noisy_linear, d = 20", "ridge"), n=640, label_noise=1.0)
    quieter = golden_errors("noisy_linear/label_noise=0.5, d = 8", "ridge")
    assert_errors("ridge", quieter, n=5000, dims=8, label_noise=0.5)
