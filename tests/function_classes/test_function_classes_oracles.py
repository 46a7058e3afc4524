"""Oracles: the catalogue's numbers, brute force, and the units of labels and predictions."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, errors_of, reference_task, task_of
from sklearn.linear_model import Ridge
from test_function_classes import hermite
from verifying import assert_golden, golden_errors, golden_trivial_error

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import Oracle
from icl_curriculum.function_classes import parity
from icl_curriculum.verify.checks import Figure

# Oracles, at d = 20 with errors over E f(x)^2


def oracle_errors(
    spec: Spec, points: int, n: int = 1280, label_noise: float | None = None, dims: int = 20
) -> np.ndarray:
    """Squared errors of the class's oracle over the trivial error: (n, points)."""
    task = reference_task(spec, label_noise, dims=dims)
    return errors_of(Oracle(task.function_class), draw(task, n, points)) / task.trivial_error()


def test_linear_oracle_leaves_one_dimension_less_with_every_example() -> None:
    errors = oracle_errors("linear", 24)
    assert_mean(errors[:, :20], [1 - k / 20 for k in range(20)])
    assert errors[:, 20:].max() < 1e-4  # labels are float32, and the worst of 1280 square systems is near singular
    assert np.median(errors[:, 20:]) < 1e-10


def test_sparse_oracle_knows_the_support() -> None:
    errors = oracle_errors("sparse_linear", 6)
    assert_mean(errors[:, :3], [1, 2 / 3, 1 / 3])
    assert np.median(errors[:, 3:]) < 1e-10
    assert errors[:, 3:].mean() < 1e-4


def test_quadratic_oracle_is_the_catalogue_s() -> None:
    errors = oracle_errors("quadratic", 21, n=2560)
    assert_golden(errors, {0: Figure(1.0), **golden_errors("quadratic, d = 20", "oracle")})
    assert np.median(errors[:, 20]) < 1e-8


@pytest.mark.parametrize(
    "spec", ["linear", "noisy_linear", {"name": "linear", "outputs": "unit"}, hermite(1, "gaussian")]
)
def test_oracle_under_noise_is_the_catalogue_s(spec: Spec) -> None:
    errors = oracle_errors(spec, 41, label_noise=1.0, n=640)
    assert_golden(errors, {0: Figure(1.0), **golden_errors("noisy_linear, d = 20", "ridge")})


@pytest.mark.parametrize("spec", ["sparse_linear", "quadratic", hermite(1, "gaussian")])
def test_unit_outputs_scale_the_oracle_under_noise(spec: Spec) -> None:
    raw = task_of(spec, label_noise=0.7)
    unit = replace(raw, function_class=raw.function_class.model_copy(update={"outputs": "unit"}))
    expected = raw.function_class.oracle(draw(raw, 4, 9)) / math.sqrt(raw.trivial_error())
    torch.testing.assert_close(unit.function_class.oracle(draw(unit, 4, 9)), expected, rtol=1e-4, atol=1e-5)


def test_posterior_mean_beats_other_penalties_under_noise() -> None:
    """Averaged over the same prompts, a quarter of the noise variance or four times as much does worse."""
    task = task_of("quadratic", dims=6, label_noise=2.0)
    prompts = draw(task, 3000, 9)
    best = errors_of(Oracle(task.function_class), prompts)[:, 8]
    for factor in (0.5, 2.0):
        other = errors_of(Oracle(task.function_class), replace(prompts, label_noise=2.0 * factor))
        excess = other[:, 8] - best
        assert excess.mean() > 2 * excess.std() / math.sqrt(len(excess))


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("linear", "optimum"),
        ("quadratic", "optimum"),
        ("sparse_linear", "lower bound"),
        (hermite(1, "gaussian"), "optimum"),
        (hermite(1), None),
        (hermite(2, "gaussian"), None),
        ("relu_network", None),
        ("noisy_linear", "optimum"),
        ("gaussian_mixture", "optimum"),
        ("parity", "optimum"),
        ("chebyshev", "optimum"),
        ("sinusoid", "optimum"),
        ("low_rank_linear", None),
        ("linear_dynamics", None),
        ("linear_classification", None),
        ("decision_tree", None),
    ],
)
def test_what_the_oracles_are(spec: Spec, kind: str | None) -> None:
    assert class_of(spec).oracle_kind == kind


@pytest.mark.parametrize(
    "name", ["relu_network", "low_rank_linear", "linear_dynamics", "linear_classification", "decision_tree"]
)
def test_a_class_without_oracle_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match=f"{name} has no oracle"):
        class_of(name).oracle(draw(reference_task(name), 2, 3))


def test_the_sparse_oracle_needs_the_truth_and_the_others_do_not() -> None:
    def hidden(spec: Spec) -> Prompts:
        return draw(task_of(spec), 3, 4).without_truth()

    with pytest.raises(ValueError, match=r"reads the support from prompts\.truth"):
        class_of("sparse_linear").oracle(hidden("sparse_linear"))
    for spec in ("linear", "quadratic", "noisy_linear", "gaussian_mixture"):
        class_of(spec).oracle(hidden(spec))
    for spec in ("parity", "chebyshev"):
        task = reference_task(spec)
        task.function_class.oracle(draw(task, 3, 4).without_truth())


# The mixture


def test_the_mixture_s_oracle_is_the_catalogue_s() -> None:
    trivial = golden_trivial_error("gaussian_mixture", 20)
    errors = trivial.value * oracle_errors("gaussian_mixture", 20, n=4000)
    assert_golden(errors, {0: trivial, **golden_errors("gaussian_mixture, d = 20", "oracle")})


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_the_mixture_s_oracle_is_the_bayes_mean_by_brute_force(noise: float) -> None:
    """The labels' joint density under each component: y ~ N(X mu, X (I - e e^T) X^T + s^2 I)."""
    task = task_of("gaussian_mixture", dims=4, label_noise=noise)
    prompts = draw(task, 12, 7)
    predicted = task.function_class.oracle(prompts).numpy()
    cut = np.diag([0.0, 1, 1, 1])
    for i in range(12):
        for k in range(7 if noise else 3):
            x, y, q = (value.double().numpy() for value in (prompts.xs[i, :k], prompts.ys[i, :k], prompts.xs[i, k]))
            covariance = x @ cut @ x.T + noise**2 * np.eye(k)
            weights, means = [], []
            for sign in (3.0, -3.0):
                residual = y - sign * x[:, 0]
                solved = np.linalg.solve(covariance, residual) if k else residual
                weights.append(-residual @ solved / 2)
                means.append(sign * q[0] + q @ cut @ x.T @ solved)
            share = np.exp(np.array(weights) - max(weights))
            assert predicted[i, k] == pytest.approx(float(share @ means) / share.sum(), rel=1e-3, abs=1e-3)


# Parities


def brute_force(prompts: Prompts, size: int, flips: float) -> np.ndarray:
    """The posterior mean one subset at a time: a likelihood of p for a label contradicted, of 1 - p for another."""
    xs, ys = prompts.xs.double().numpy(), prompts.ys.double().numpy()
    answers = np.zeros(ys.shape)
    for i, k in np.ndindex(*ys.shape):
        total = weighted = 0.0
        for subset in itertools.combinations(range(xs.shape[2]), size):
            values = xs[i][:, list(subset)].prod(axis=1)
            right = int((values[:k] == ys[i, :k]).sum())
            likelihood = (1 - flips) ** right * flips ** (k - right)
            total += likelihood
            weighted += likelihood * values[k]
        answers[i, k] = weighted / total
    return answers


@pytest.mark.parametrize("flips", [0.0, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("dims", "size"), [(6, 2), (5, 3), (4, 4)])
def test_the_parity_oracle_is_brute_force(dims: int, size: int, flips: float) -> None:
    task = reference_task({"name": "parity", "size": size}, flips, dims=dims)
    prompts = draw(task, 15, 9)
    predicted = task.function_class.oracle(prompts).numpy()
    np.testing.assert_allclose(predicted, brute_force(prompts, size, flips), rtol=1e-6, atol=1e-9)


def test_the_parity_oracle_is_the_catalogue_s() -> None:
    errors = oracle_errors("parity", 11, n=8000, dims=10)
    # Of 45 subsets all but one count for nothing at k = 0.
    assert_golden(errors, {0: Figure(1 - 1 / 45), **golden_errors("parity, d = 10", "oracle")})


@pytest.mark.parametrize("rows", [0.5, 1, 7, 19, 100])
def test_a_parity_weighs_many_prompts_a_chunk_at_a_time(rows: float, monkeypatch: pytest.MonkeyPatch) -> None:
    task = reference_task({"name": "parity", "size": 3}, 0.2, dims=6)
    prompts = draw(task, 20, 5)
    together = task.function_class.oracle(prompts)
    monkeypatch.setattr(parity, "_CHUNK", int(rows * 5 * math.comb(6, 3)))
    sizes = []
    weigh = parity.Parity._posterior_mean
    monkeypatch.setattr(parity.Parity, "_posterior_mean", lambda *given: sizes.append(len(given[1])) or weigh(*given))
    assert task.function_class.oracle(prompts).equal(together)
    assert max(sizes) == min(20, max(1, int(rows)))


def test_a_parity_of_too_many_subsets_has_no_oracle() -> None:
    chosen = class_of({"name": "parity", "size": 3})
    assert math.comb(50, 3) == 19_600
    assert chosen.oracle_for(50, 0.0) == chosen.oracle_for(50, 0.3) == "optimum"
    assert chosen.oracle_for(51, 0.0) is None


# Noise and units


def test_the_noisy_oracle_is_scikit_learn_s_ridge_regression() -> None:
    task = task_of({"name": "noisy_linear", "label_noise": 0.7})
    prompts = draw(task, 6, 9)
    predicted = task.function_class.oracle(prompts)
    for i in range(6):
        for k in range(1, 9):
            ridge = Ridge(alpha=0.49, fit_intercept=False).fit(prompts.xs[i, :k].numpy(), prompts.ys[i, :k].numpy())
            assert predicted[i, k] == pytest.approx(ridge.predict(prompts.xs[i, k : k + 1].numpy())[0], abs=1e-4)


WITH_ORACLE: list[Spec] = [
    "linear", "sparse_linear", "quadratic", hermite(1, "gaussian"), "gaussian_mixture", "chebyshev", "sinusoid",
    "parity", {"name": "noisy_linear", "label_noise": 0.0}, {"name": "gaussian_mixture", "outputs": "unit"},
    {"name": "chebyshev", "outputs": "unit"}, {"name": "sinusoid", "outputs": "unit"},
]  # fmt: skip


def with_oracle(spec: Spec) -> Any:
    return reference_task(spec, dims=1 if class_of(spec).name in ("chebyshev", "sinusoid") else 5)


@pytest.mark.parametrize("spec", WITH_ORACLE, ids=[class_of(spec).id for spec in WITH_ORACLE])
def test_functions_of_twice_the_size_double_the_predictions(spec: Spec) -> None:
    task = with_oracle(spec)
    plain, doubled = draw(task, 40, 8), draw(replace(task, factor=2.0), 40, 8)
    assert doubled.scale == 2 * plain.scale
    expected = 2 * task.function_class.oracle(plain)
    torch.testing.assert_close(task.function_class.oracle(doubled), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "spec", ["linear", "sparse_linear", "quadratic", "noisy_linear", "gaussian_mixture", "chebyshev"]
)
def test_noise_is_weighed_in_raw_units_whatever_the_factor(spec: Spec) -> None:
    """Ten times the functions and ten times the noise are the same problem; ten times the functions alone are not."""
    task = replace(with_oracle(spec), label_noise=0.3)
    prompts, enlarged = draw(task, 40, 8), draw(replace(task, factor=10.0, label_noise=3.0), 40, 8)
    expected = 10 * task.function_class.oracle(prompts)
    torch.testing.assert_close(task.function_class.oracle(enlarged), expected, rtol=1e-3, atol=1e-3)
    wrong = task.function_class.oracle(replace(enlarged, scale=1.0))
    assert float((wrong - expected).abs().max()) > 0.1 * float(expected.abs().max())
