"""Gradient descent on a prompt's squared error, and the best constant rate of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, baseline_of, draw, errors_of, inputs_of, task_of

from icl_curriculum.baselines import GradientDescent, best_rate, expected_error
from icl_curriculum.baselines.descent_rates import _spectrum
from icl_curriculum.config.identifiers import component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.core.streams import generator

SHARED: Spec = {"name": "skewed", "basis": "shared"}
DIMS = 5


def descent(steps: int, rate: float | str = "best") -> GradientDescent:
    built = baseline_of({"name": "gradient_descent", "steps": steps, "rate": rate})
    assert isinstance(built, GradientDescent)
    return built


def by_hand(prompts: Prompts, k: int, steps: int, matrix: np.ndarray) -> np.ndarray:
    """The predictions at k by the update written out, one prompt and one step at a time."""
    xs, ys, queries = (value.double().numpy() for value in (prompts.xs, prompts.ys, prompts.query()))
    found = []
    for i in range(len(prompts)):
        w = np.zeros(prompts.dims)
        for _ in range(steps):
            gradient = sum((w @ xs[i, j] - ys[i, j]) * xs[i, j] for j in range(k)) / k
            w = w - matrix @ gradient
        found.append(w @ queries[i, k])
    return np.array(found)


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_are_those_of_the_mean_squared_error(steps: int) -> None:
    prompts = draw(task_of("noisy_linear", dims=3), 4, 7)
    predicted = descent(steps, 0.3).predict(prompts).numpy()
    for k in (1, 2, 6):
        assert predicted[:, k] == pytest.approx(by_hand(prompts, k, steps, 0.3 * np.eye(3)))


def test_one_step_at_rate_one_is_averaging() -> None:
    prompts = draw(task_of("linear"), 8, 9)
    torch.testing.assert_close(descent(1, 1.0).predict(prompts), baseline_of("averaging").predict(prompts))


def test_many_small_steps_end_at_least_squares() -> None:
    """Of least norm, where there are fewer examples than dimensions."""
    prompts = draw(task_of("linear", dims=3), 8, 7)
    expected = baseline_of("least_squares").predict(prompts)
    found = descent(2000, 0.1).predict(prompts)
    torch.testing.assert_close(found[:, [1, 2, 6]], expected[:, [1, 2, 6]], rtol=0.01, atol=0.01)


@pytest.mark.parametrize(("k", "noise"), [(2, 0.0), (4, 0.0), (20, 0.0), (4, 1.0)])
def test_the_best_rate_of_one_step_is_that_of_algebra(k: int, noise: float) -> None:
    """Of (1 - rate)^2 + rate^2 (d + 1 + noise) / k, which the averages over the fixed draws come close to."""
    assert best_rate(DIMS, k, 1, noise) == pytest.approx(k / (k + DIMS + 1 + noise))
    for rate in (0.2, 0.6):
        expected = (1 - rate) ** 2 + rate**2 * (DIMS + 1 + noise) / k
        assert expected_error(DIMS, k, rate, 1, noise) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("steps", [2, 5, 12])
def test_the_best_rate_is_best_on_other_prompts_too(steps: int, noise: float) -> None:
    prompts = draw(task_of("linear", dims=DIMS, label_noise=noise), 2560, 11)
    best = descent(steps).rate_at(10, DIMS, noise)
    errors = {rate: errors_of(descent(steps, rate), prompts)[:, 10] / DIMS for rate in (0.7 * best, best, 1.4 * best)}
    assert errors[best].mean() < min(errors[0.7 * best].mean(), errors[1.4 * best].mean())
    assert_mean(errors[best], expected_error(DIMS, 10, best, steps, noise), rounding=0.01)
    assert errors[best].tolist() == (errors_of(descent(steps), prompts)[:, 10] / DIMS).tolist()


def test_with_many_steps_hardly_any_prompt_diverges() -> None:
    """A rate that is best on some drawn prompts would make others, whose eigenvalues are larger, overflow."""
    errors = errors_of(descent(200), draw(task_of("linear"), 640, 11))[:, 1:] / DIMS
    assert errors.mean(axis=0).max() < 1


def test_the_best_rate_is_the_same_whoever_asks() -> None:
    before = torch.get_rng_state()
    found = best_rate(3, 4, 7)
    _spectrum.cache_clear()
    best_rate.cache_clear()
    assert best_rate(3, 4, 7) == found
    assert torch.get_rng_state().equal(before)


def test_only_what_is_asked_needs_a_rate() -> None:
    prompts = draw(task_of("linear", dims=4), 4, 9)
    mask = torch.zeros(4, 9, dtype=torch.bool)
    mask[:, 3] = True
    best_rate.cache_clear()
    descent(3).predict(Prompts(prompts.xs, prompts.ys, prompts.targets, mask=mask))
    assert best_rate.cache_info().currsize == 1


def test_the_id_holds_what_is_not_at_its_default() -> None:
    for text in ("gradient_descent/1", "gradient_descent/4/rate=0.1", "preconditioned_gradient_descent/2",
                 "preconditioned_gradient_descent/1/inputs=skewed/basis=shared"):  # fmt: skip
        assert component(text, BASELINES, "learner").id == text
    assert component("gradient_descent", BASELINES, "learner").id == "gradient_descent/1"


@pytest.mark.parametrize("rate", ["-1", "0", "worst"])
def test_a_rate_that_is_none_is_one_clear_error(rate: str) -> None:
    with pytest.raises(UserError, match=r"^learner gradient_descent/1/rate=.*: rate: expected "):
        component(f"gradient_descent/1/rate={rate}", BASELINES, "learner")


# Preconditioned


def test_for_gaussian_inputs_it_is_one_plain_step_at_the_best_rate() -> None:
    for noise in (0.0, 0.5):
        prompts = draw(task_of("linear", label_noise=noise), 4, 9)
        plain = descent(1).predict(prompts)
        torch.testing.assert_close(baseline_of("preconditioned_gradient_descent").predict(prompts), plain)


def test_the_preconditioner_is_that_of_the_optimum_of_linear_attention() -> None:
    """With the covariance estimated, it comes close to the one with the exact covariance."""
    prompts = draw(task_of("linear", SHARED), 4, 9)
    z = inputs_of(SHARED).sample(1 << 16, 1, DIMS, generator(5, "other"))[:, 0].double()
    covariance = (z.mT @ z / len(z)).numpy()
    k = 6
    matrix = np.linalg.inv((1 + 1 / k) * covariance + np.trace(covariance) / k * np.eye(DIMS))
    learner = baseline_of({"name": "preconditioned_gradient_descent", "steps": 2, "inputs": SHARED})
    assert learner.predict(prompts)[:, k].numpy() == pytest.approx(by_hand(prompts, k, 2, matrix), rel=0.03, abs=0.03)


def test_it_needs_inputs_with_a_covariance() -> None:
    learner = baseline_of({"name": "preconditioned_gradient_descent", "inputs": "cauchy"})
    with pytest.raises(UserError, match="expected inputs with a covariance, found cauchy"):
        learner.check_dims(3)
