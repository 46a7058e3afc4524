"""The lasso on all prefixes: scikit-learn's objective, the conditions of its minimum, and inputs that make it hard."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Spec, baseline_of, draw, errors_of, shift_of, task_of
from pydantic import ValidationError
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso
from torch import Tensor
from verifying import assert_golden, golden_errors

from icl_curriculum.baselines.lasso import lasso_coefficients
from icl_curriculum.baselines.lasso_paths import LassoFits
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams

ALPHAS = [1.0, 0.1, 0.01, 0.001, 0.0001]
# Inputs without ties, so with one solution only, and others.
PLAIN: list[Spec] = ["gaussian", "skewed", "half_subspace", "student_t"]
TIED: list[Spec] = ["rademacher"]


def noisy(inputs: Spec = "gaussian", n: int = 3, points: int = 13, dims: int = 5) -> Prompts:
    return draw(task_of("linear", inputs, dims=dims, label_noise=0.5), n, points)


def with_queries() -> Prompts:
    """Prompts that ask something else than the next example."""
    return shift_of("random_quadrants").draw(task_of("linear", dims=5, label_noise=0.5), 3, 13, Streams(0, "test"))


def scikit_learn(prompts: Prompts, alpha: float, steps: int = 100_000) -> Tensor:
    """Its coefficients at every prefix."""
    found = torch.zeros(prompts.xs.shape, dtype=torch.float64)
    xs, ys = prompts.xs.double().numpy(), prompts.ys.double().numpy()
    for i in range(len(prompts)):
        for k in range(1, prompts.points):
            fitted = Lasso(alpha=alpha, fit_intercept=False, tol=1e-10, max_iter=steps).fit(xs[i, :k], ys[i, :k])
            found[i, k] = torch.from_numpy(fitted.coef_)
    return found


def objective(prompts: Prompts, weights: Tensor, alpha: float) -> Tensor:
    """|y - Xw|^2 / 2k + alpha |w|_1 at every prefix from k = 1 on: (batch, K)."""
    xs, ys = prompts.xs.double(), prompts.ys.double()
    losses = [(ys[:, :k] - (xs[:, :k] @ weights[:, k, :, None])[..., 0]).square().mean(-1) for k in lengths(prompts)]
    return torch.stack(losses, dim=1) / 2 + alpha * weights[:, 1:].abs().sum(-1)


def violation(prompts: Prompts, weights: Tensor, alpha: float) -> float:
    """How far any gradient is from what the minimum asks for, as a share of alpha."""
    worst = 0.0
    for k in lengths(prompts):
        xs, ys, w = prompts.xs[:, :k].double(), prompts.ys[:, :k].double(), weights[:, k]
        gradients = (xs.mT @ (ys.unsqueeze(-1) - xs @ w.unsqueeze(-1)))[..., 0] / k
        off = torch.where(w == 0, (gradients.abs() - alpha).clamp_min(0), (gradients - alpha * w.sign()).abs())
        worst = max(worst, off.max().item() / alpha)
    return worst


def lengths(prompts: Prompts) -> range:
    return range(1, prompts.points)


def coefficients(prompts: Prompts, alpha: float) -> Tensor:
    found = lasso_coefficients(prompts.xs, prompts.ys, alpha)
    assert found.dtype == torch.float64
    assert found.isfinite().all()
    assert (found[:, 0] == 0).all()
    return found


# What it computes


@pytest.mark.parametrize("alpha", ALPHAS[:3])
@pytest.mark.parametrize("inputs", PLAIN)
def test_coefficients_are_scikit_learn_s(inputs: str, alpha: float) -> None:
    prompts = noisy(inputs)
    expected = scikit_learn(prompts, alpha)
    torch.testing.assert_close(coefficients(prompts, alpha), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prompts", [noisy(), with_queries()], ids=["plain", "separate queries"])
def test_predictions_are_scikit_learn_s(prompts: Prompts) -> None:
    expected = (scikit_learn(prompts, 0.1) * prompts.query().double()).sum(-1)
    predicted = baseline_of({"name": "lasso", "alpha": 0.1}).predict(prompts)
    torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-5)
    assert baseline_of("lasso").predict(prompts).equal(predicted)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("inputs", [*PLAIN, *TIED])
def test_the_conditions_of_the_minimum_hold(inputs: str, alpha: float) -> None:
    prompts = noisy(inputs, n=12, points=31, dims=20)
    assert violation(prompts, coefficients(prompts, alpha), alpha) < 1e-6


def test_without_noise_too() -> None:
    prompts = draw(task_of("sparse_linear", dims=20), 12, 25)
    for alpha in ALPHAS[::2]:
        assert violation(prompts, coefficients(prompts, alpha), alpha) < 1e-6


def test_one_dimension_is_a_soft_threshold() -> None:
    prompts = noisy(dims=1)
    xs, ys = prompts.xs[..., 0].double(), prompts.ys.double()
    found = coefficients(prompts, 0.3)[..., 0]
    for k in lengths(prompts):
        means = (xs * ys)[:, :k].mean(-1)
        expected = means.sign() * (means.abs() - 0.3).clamp_min(0) / xs[:, :k].square().mean(-1)
        torch.testing.assert_close(found[:, k], expected)


def test_a_large_alpha_leaves_no_weight() -> None:
    """From max |X^T y| / k on."""
    prompts = noisy(n=1)
    for k in lengths(prompts):
        largest = (prompts.xs[0, :k].double().T @ prompts.ys[0, :k].double() / k).abs().max().item()
        assert (coefficients(prompts, largest * (1 + 1e-12))[0, k] == 0).all()
        assert (coefficients(prompts, largest * (1 - 1e-6))[0, k] != 0).sum() == 1


def test_a_tiny_alpha_is_least_squares() -> None:
    prompts = noisy()
    found = baseline_of({"name": "lasso", "alpha": 1e-9}).predict(prompts)
    expected = baseline_of("least_squares").predict(prompts)
    torch.testing.assert_close(found[:, 7:], expected[:, 7:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("inputs", [*PLAIN, *TIED])
def test_scales_of_labels_and_inputs(inputs: str) -> None:
    """y -> c y and alpha -> c alpha give c w; x -> c x and alpha -> c alpha give w / c."""
    prompts = noisy(inputs)
    found = coefficients(prompts, 0.05)
    for c in (1000.0, 0.001):
        labels = lasso_coefficients(prompts.xs, prompts.ys.double() * c, 0.05 * c)
        torch.testing.assert_close(labels / c, found)
        rows = lasso_coefficients(prompts.xs.double() * c, prompts.ys, 0.05 * c)
        torch.testing.assert_close(rows * c, found)


def test_sparse_functions_have_the_catalogue_s_error() -> None:
    prompts = draw(task_of("sparse_linear", dims=20), 640, 11)
    errors = errors_of(baseline_of({"name": "lasso", "alpha": 0.01}), prompts) / 3
    assert_golden(errors, golden_errors("sparse_linear, d = 20", "lasso/0.01"))


# Inputs that make it hard: the solution is not unique, or rounding is large beside alpha


def assert_no_worse_than_scikit_learn(prompts: Prompts, alpha: float) -> None:
    """Its objective is no lower, converged or not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        expected = objective(prompts, scikit_learn(prompts, alpha, steps=2000), alpha)
    found = objective(prompts, coefficients(prompts, alpha), alpha)
    assert (found <= expected * (1 + 1e-12)).all()


@pytest.mark.parametrize("alpha", ALPHAS[::2])
@pytest.mark.parametrize("inputs", ["rademacher", "cauchy", "half_subspace"])
def test_the_objective_is_no_higher_than_scikit_learn_s(inputs: str, alpha: float) -> None:
    assert_no_worse_than_scikit_learn(noisy(inputs), alpha)


@pytest.mark.parametrize("alpha", ALPHAS[::2])
def test_equal_opposite_and_empty_columns_and_equal_rows(alpha: float) -> None:
    prompts = noisy()
    xs, ys = prompts.xs.clone(), prompts.ys.clone()
    xs[..., 1], xs[..., 2], xs[..., 4] = xs[..., 0], -xs[..., 0], 0
    xs[:, 3:6], ys[:, 4] = xs[:, 2:3], ys[:, 2]
    prompts = replace(prompts, xs=xs, ys=ys)
    assert violation(prompts, coefficients(prompts, alpha), alpha) < 1e-6
    assert_no_worse_than_scikit_learn(prompts, alpha)


@pytest.mark.parametrize("inputs", TIED)
def test_large_tied_inputs_and_a_small_alpha(inputs: str) -> None:
    """Rounding, some 1e-16 of |x| |y|, blurs the ties of alpha k; it is what is left of the violation, too."""
    prompts = noisy(inputs, n=32, points=26, dims=20)
    large = replace(prompts, xs=prompts.xs * 1000)
    assert violation(large, coefficients(large, 1e-4), 1e-4) < 1e-5


def test_a_penalty_that_is_lost_in_rounding() -> None:
    prompts = noisy("cauchy", n=24, points=31, dims=20)
    huge = replace(prompts, xs=prompts.xs.double() * 1e4, ys=prompts.ys.double() * 1e4)
    assert coefficients(huge, 1e-4).isfinite().all()
    assert_no_worse_than_scikit_learn(huge[:1], 1e-4)


def test_a_gradient_may_stay_at_its_penalty() -> None:
    """Without one more example it would leave; with it, its path has no length."""
    fits = LassoFits(1, 1)
    xs, ys = np.full((1, 2, 1), 2.0), np.full((1, 2), 3.0)
    for k in (1, 2):
        fits.move_on(xs[:, :k], ys[:, :k], np.array([6.0 * k]))
        assert fits.weights.tolist() == [[0.0]]


def test_labels_of_zero_give_weights_of_zero() -> None:
    prompts = noisy()
    assert (coefficients(replace(prompts, ys=torch.zeros_like(prompts.ys)), 1e-4) == 0).all()
    assert (coefficients(replace(prompts, xs=torch.zeros_like(prompts.xs)), 1e-4) == 0).all()


def test_what_is_not_finite_harms_no_other_prompt() -> None:
    prompts = noisy()
    xs, ys = prompts.xs.clone(), prompts.ys.clone()
    ys[0, 4], xs[1, 7] = torch.nan, torch.inf
    found, expected = lasso_coefficients(xs, ys, 0.1), coefficients(prompts, 0.1)
    assert found[0, 5:].isnan().any(-1).all()
    assert found[1, 8:].isnan().any(-1).all()
    for i, end in enumerate([5, 8, 13]):
        assert found[i, :end].equal(expected[i, :end])


# What a prediction depends on


@pytest.mark.parametrize("inputs", ["gaussian", *TIED])
def test_later_pairs_change_no_bit(inputs: str) -> None:
    prompts = noisy(inputs, points=16, dims=10)
    before = coefficients(prompts, 0.01)
    for k in (0, 1, 4, 10, 13):
        xs, ys = prompts.xs.clone(), prompts.ys.clone()
        xs[:, k:] = 3 * torch.randn(xs[:, k:].shape, generator=torch.Generator().manual_seed(1))
        ys[:, k:] += 7
        after = lasso_coefficients(xs, ys, 0.01)
        assert after[:, : k + 1].equal(before[:, : k + 1])
        assert not after[:, k + 1].equal(before[:, k + 1])


@pytest.mark.parametrize("inputs", ["gaussian", *TIED])
def test_other_prompts_change_no_bit(inputs: str) -> None:
    # More than are worked on at once.
    prompts = noisy(inputs, n=1400, points=4, dims=20)
    together = coefficients(prompts, 0.01)
    for i in (0, 700, 1399):
        assert coefficients(prompts[i : i + 1], 0.01).equal(together[i : i + 1])


@pytest.mark.parametrize("inputs", ["gaussian", *TIED])
def test_the_order_of_examples_does_not_matter(inputs: str) -> None:
    """Not even where several solutions are as good."""
    prompts = noisy(inputs, points=13, dims=20)
    order = [4, 0, 3, 6, 1, 5, 2, *range(7, 13)]
    shuffled = replace(prompts, xs=prompts.xs[:, order], ys=prompts.ys[:, order])
    torch.testing.assert_close(coefficients(shuffled, 0.01)[:, 7:], coefficients(prompts, 0.01)[:, 7:])


def test_only_xs_ys_and_queries_are_read() -> None:
    prompts = with_queries()
    blind = replace(prompts.without_truth(), targets=torch.full_like(prompts.targets, torch.nan))
    predicted = baseline_of("lasso").predict(blind)
    assert predicted.equal(baseline_of("lasso").predict(prompts))
    assert predicted.shape == (3, 13)
    assert (predicted[:, 0] == 0).all()
    assert baseline_of("lasso").predict(prompts.first_points(1)).tolist() == [[0]] * 3


def test_float32_and_float64_prompts_give_the_same() -> None:
    prompts = noisy()
    wide = replace(prompts, xs=prompts.xs.double(), ys=prompts.ys.double())
    assert coefficients(wide, 0.1).equal(coefficients(prompts, 0.1))


# Its parameter


def test_the_id_tells_alpha() -> None:
    assert [baseline_of({"name": "lasso", "alpha": alpha}).id for alpha in ALPHAS] == [
        "lasso/1", "lasso/0.1", "lasso/0.01", "lasso/0.001", "lasso/0.0001",
    ]  # fmt: skip
    assert baseline_of("lasso").id == "lasso/0.1"


@pytest.mark.parametrize("alpha", [0, -1.0, np.inf])
def test_alpha_is_positive_and_finite(alpha: float) -> None:
    with pytest.raises(ValidationError, match="alpha"):
        baseline_of({"name": "lasso", "alpha": alpha})
