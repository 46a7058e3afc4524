"""The posterior mean over supports, against its definition and the catalogue."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Spec, baseline_of, draw, errors_of, shifted, task_of
from scipy.stats import multivariate_normal
from verifying import assert_golden, golden_errors

from icl_curriculum.baselines import sparse_posterior
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts


def by_hand(prompts: Prompts, sparsity: int, deviation: float) -> np.ndarray:
    """Bayes' rule with multivariate normal densities of the labels, support by support; raw units."""
    xs, ys, queries = (value.double().numpy() for value in (prompts.xs, prompts.ys, prompts.query()))
    answers = np.zeros(ys.shape)
    for i, k in np.ndindex(*ys.shape):
        if k == 0:
            continue
        weights, means = [], []
        for support in itertools.combinations(range(prompts.dims), sparsity):
            seen, asked = xs[i, :k][:, support], queries[i, k][list(support)]
            covariance = seen @ seen.T + deviation**2 * np.eye(k)
            weights.append(multivariate_normal(np.zeros(k), covariance).logpdf(ys[i, :k]))
            means.append(asked @ seen.T @ np.linalg.solve(covariance, ys[i, :k]))
        share = np.exp(np.array(weights) - max(weights))
        answers[i, k] = share @ np.array(means) / share.sum()
    return answers


@pytest.mark.parametrize("separate", [False, True], ids=["plain", "separate queries"])
@pytest.mark.parametrize("sparsity", [1, 2, 4])
def test_it_is_the_posterior_mean(sparsity: int, *, separate: bool) -> None:
    task = task_of({"name": "sparse_linear", "sparsity": sparsity}, dims=4, label_noise=0.4)
    prompts = shifted("random_quadrants", task, 3, 9) if separate else draw(task, 3, 9)
    found = baseline_of({"name": "sparse_posterior", "sparsity": sparsity}).predict(prompts)
    np.testing.assert_allclose(found.numpy(), by_hand(prompts, sparsity, 0.4), rtol=1e-6, atol=1e-7)


def test_without_noise_it_is_the_limit_of_little_noise() -> None:
    prompts = draw(task_of({"name": "sparse_linear", "sparsity": 2}, dims=5), 20, 7)
    found = baseline_of({"name": "sparse_posterior", "sparsity": 2}).predict(prompts)
    np.testing.assert_allclose(found.numpy(), by_hand(prompts, 2, 1e-3), atol=2e-2)


def test_units_do_not_matter() -> None:
    raw = draw(task_of("sparse_linear", dims=5, label_noise=0.3), 5, 8)
    unit = draw(task_of({"name": "sparse_linear", "outputs": "unit"}, dims=5, label_noise=0.3), 5, 8)
    assert not unit.ys.equal(raw.ys)
    baseline = baseline_of("sparse_posterior")
    torch.testing.assert_close(baseline.predict(unit) * 3**0.5, baseline.predict(raw), rtol=1e-5, atol=1e-6)


def test_known_everything_it_is_ridge_regression() -> None:
    prompts = draw(task_of("noisy_linear", dims=3), 5, 8)
    torch.testing.assert_close(baseline_of("sparse_posterior").predict(prompts), baseline_of("ridge").predict(prompts))


def test_it_has_the_catalogue_s_error() -> None:
    """d = 20, s = 3: the catalogue's Monte Carlo is off by up to .03 itself. From k = 5 on the support is known."""
    prompts = draw(task_of("sparse_linear", dims=20), 300, 8)
    errors = errors_of(baseline_of("sparse_posterior"), prompts) / 3
    assert_golden(errors, golden_errors("sparse_linear, d = 20", "sparse_posterior"))
    assert errors[:, 6:].max() < 1e-3


def test_supports_that_lose_are_dropped_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = draw(task_of("sparse_linear", dims=6, label_noise=0.1), 6, 14)
    found = baseline_of("sparse_posterior").predict(prompts)
    monkeypatch.setattr(sparse_posterior, "_NEGLIGIBLE", -1.0)
    torch.testing.assert_close(found, baseline_of("sparse_posterior").predict(prompts), rtol=1e-12, atol=1e-12)


def test_many_prompts_are_weighed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = draw(task_of("sparse_linear", dims=5), 6, 9)
    whole = baseline_of("sparse_posterior").predict(prompts)
    monkeypatch.setattr(sparse_posterior, "_CHUNK", 1)
    torch.testing.assert_close(baseline_of("sparse_posterior").predict(prompts), whole)


def test_inputs_that_do_not_tell_supports_apart() -> None:
    """Rows of zeros, rows that recur, and coordinates that are always equal."""
    prompts = draw(task_of("sparse_linear", dims=5), 6, 9)
    xs = prompts.xs[:, [0, 0, 1, 2, 3, 3, 4, 5, 6]].clone()
    xs[:, 3] = 0
    xs[:, :, 1] = xs[:, :, 0]
    assert prompts.truth is not None
    ys = torch.einsum("npd,nd->np", xs, prompts.truth["w"])
    found = baseline_of("sparse_posterior").predict(replace(prompts, xs=xs, ys=ys))
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, 8].float(), ys[:, 8], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("spec", "dims", "message"),
    [
        ({"name": "sparse_posterior", "sparsity": 4}, 3, "sparsity 4 exceeds the number of dimensions 3"),
        ("sparse_posterior", 60, r"at most 20,000 supports to weigh, found 34,220, 3 of 60 coordinates"),
    ],
)
def test_what_it_cannot_weigh(spec: Spec, dims: int, message: str) -> None:
    with pytest.raises(UserError, match=f"sparse_posterior: .*{message}"):
        baseline_of(spec).predict(draw(task_of("linear", dims=dims), 1, 2))
