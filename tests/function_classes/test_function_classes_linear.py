"""Linear classes: sparse, of low rank, from a mixture, with noise; and the linear dynamical system."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, class_of, draw, reference_task, task_of
from pydantic import ValidationError
from scipy.stats import chisquare, kstest

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.errors import UserError


def sampled(spec: Spec, n: int, dims: int) -> dict[str, torch.Tensor]:
    return class_of(spec).sample(n, dims, torch.Generator().manual_seed(0))


# Sparse


def supports(n: int, dims: int, sparsity: int) -> np.ndarray:
    chosen = class_of({"name": "sparse_linear", "sparsity": sparsity})
    parameters = chosen.sample(n, dims, torch.Generator().manual_seed(0))
    support = parameters["support"]
    assert (parameters["w"] != 0).equal(support == 1)
    return support.numpy()


@pytest.mark.parametrize("sparsity", [1, 3, 6])
def test_sparse_functions_have_as_many_coordinates_as_asked(sparsity: int) -> None:
    assert (supports(200, 6, sparsity).sum(axis=1) == sparsity).all()


def test_sparse_support_is_uniform_and_fresh_for_every_function() -> None:
    drawn = supports(6000, 6, 3)
    codes, counts = np.unique(drawn @ 2 ** np.arange(6), return_counts=True)
    assert len(codes) == math.comb(6, 3)
    # 6e-7 is the probability of five standard deviations.
    assert chisquare(counts).pvalue > 6e-7
    # Neighbours in the batch share their support as often as independent ones do.
    assert_mean((drawn[1:] == drawn[:-1]).all(axis=1), 1 / math.comb(6, 3))


def test_sparse_weights_are_standard_normal_on_the_support() -> None:
    parameters = class_of("sparse_linear").sample(3000, 6, torch.Generator().manual_seed(0))
    on_support = parameters["w"][parameters["support"] == 1]
    assert_mean(on_support, 0)
    assert_mean(on_support.square(), 1)


def test_a_sparsity_beyond_the_dimensions_is_a_clear_error() -> None:
    chosen = class_of({"name": "sparse_linear", "sparsity": 6})
    with pytest.raises(UserError, match="sparsity 6 exceeds the number of dimensions 5"):
        chosen.sample(3, 5, torch.Generator())
    with pytest.raises(UserError, match="sparsity 6 exceeds the number of dimensions 5"):
        Experiment(function_classes=({"name": "sparse_linear", "sparsity": 6},), dims=5).check()


# A mixture of two Gaussians


def test_the_mixture_has_both_components_in_one_batch() -> None:
    w = sampled("gaussian_mixture", 20_000, 5)["w"]
    assert set(torch.unique(w[:, 0]).tolist()) == {-3.0, 3.0}
    assert_mean((w[:, 0] > 0).double(), 0.5)
    assert_mean((w[1:, 0] == w[:-1, 0]).double(), 0.5)
    assert_mean(w[:, 1:], [0.0] * 4)
    assert_mean(w[:, 1:].square(), [1.0] * 4)
    assert_mean(w[:, 0] * w[:, 1], 0)
    assert set(torch.unique(sampled({"name": "gaussian_mixture", "separation": 0.5}, 50, 1)["w"]).tolist()) == {
        -0.5,
        0.5,
    }


def test_a_mixture_has_a_separation() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        class_of({"name": "gaussian_mixture", "separation": 0.0})


def test_the_mixture_s_moment_depends_on_the_directions_of_the_inputs() -> None:
    """In a random basis every direction has its share; in a fixed one the first coordinate has weights of its own."""
    chosen = class_of("gaussian_mixture")
    assert chosen.second_moment(4, squared_norm=8.0, spectrum=(5.0, 1.0, 1.0, 1.0)) == pytest.approx(2 * 12)
    assert chosen.second_moment(4, squared_norm=8.0, spectrum=None) is None


# Low rank


@pytest.mark.parametrize(
    ("parameters", "dims", "sides", "rank"),
    [
        ({}, 20, (4, 5), 1),
        ({"rank": 3}, 20, (4, 5), 3),
        ({"rank": 4}, 16, (4, 4), 4),
        ({"rank": 2, "rows": 2}, 20, (2, 10), 2),
        ({"rows": 10}, 20, (10, 2), 1),
        ({}, 7, (1, 7), 1),
        ({}, 1, (1, 1), 1),
    ],
)
def test_weights_of_low_rank(parameters: dict[str, int], dims: int, sides: tuple[int, int], rank: int) -> None:
    spec: Spec = {"name": "low_rank_linear", **parameters}
    assert class_of(spec).sides(dims) == sides  # type: ignore[attr-defined]
    w = sampled(spec, 50, dims)["w"]
    assert w.shape == (50, dims)
    assert (torch.linalg.matrix_rank(w.double().reshape(50, *sides), rtol=1e-5) == rank).all()


def test_weights_of_low_rank_are_uncorrelated_and_of_variance_1() -> None:
    w = sampled({"name": "low_rank_linear", "rank": 2}, 20_000, 6)["w"]
    assert_mean(w.square(), [1.0] * 6)
    assert_mean(w[:, :1] * w[:, 1:], [0.0] * 5)
    # In one row of the 2 x 3 matrix, w_1 and w_2 share u: E (u·v)^2 (u·v')^2 / 4 = E |u|^4 / 4 = 2.
    assert_mean(w[:, 0].square() * w[:, 1].square(), 2)
    assert_mean(w[:, 0].square() * w[:, 4].square(), 1)


@pytest.mark.parametrize(
    ("parameters", "dims", "message"),
    [
        ({"rows": 3}, 20, "low_rank_linear: rows 3 does not divide the number of dimensions 20"),
        ({"rows": 40}, 20, "low_rank_linear: rows 40 does not divide the number of dimensions 20"),
        ({"rank": 5}, 20, "low_rank_linear: rank 5 exceeds a side of the 4 x 5 matrix"),
        ({"rank": 2}, 7, "low_rank_linear: rank 2 exceeds a side of the 1 x 7 matrix"),
    ],
)
def test_a_rank_or_rows_that_do_not_fit_are_a_clear_error(parameters: dict[str, int], dims: int, message: str) -> None:
    spec: Spec = {"name": "low_rank_linear", **parameters}
    for raising in (lambda: sampled(spec, 3, dims), lambda: reference_task(spec, dims=dims).check()):
        with pytest.raises(UserError, match=f"^{message}$"):
            raising()


# Linear dynamics


def test_every_state_of_the_dynamics_is_standard_normal() -> None:
    xs = draw(reference_task("linear_dynamics", dims=3), 5000, 6).xs
    assert_mean(xs, np.zeros((6, 3)).tolist())
    products = torch.einsum("npd,npe->npde", xs, xs)
    assert_mean(products, np.broadcast_to(np.eye(3), (6, 3, 3)).tolist())
    # 18 tests at 1e-6.
    assert min(kstest(xs[:, t, j].numpy(), "norm").pvalue for t in range(6) for j in range(3)) > 1e-6


def test_the_dynamics_turn_and_shrink_and_are_noisy() -> None:
    for rho in (0.9, 0.5):
        task = reference_task({"name": "linear_dynamics", "rho": rho}, dims=3)
        prompts = draw(task, 5000, 5)
        assert prompts.truth is not None
        q, c = prompts.truth["rotation"], prompts.truth["c"]
        moved = rho * torch.einsum("nij,npj->npi", q, prompts.xs)
        noise = prompts.xs[:, 1:] - moved[:, :-1]
        assert_mean(noise, np.zeros((4, 3)).tolist())
        assert_mean(noise.square(), np.full((4, 3), 1 - rho**2).tolist())
        # Independent of the state before, and of the noise before.
        assert_mean(torch.einsum("npd,npe->npde", noise, prompts.xs[:, :-1]), np.zeros((4, 3, 3)).tolist())
        assert_mean((noise[:, 1:] * noise[:, :-1]).sum(-1), [0.0] * 3)
        torch.testing.assert_close(prompts.targets, torch.einsum("ni,npi->np", c, moved), rtol=1e-4, atol=1e-5)


def test_without_noise_the_dynamics_keep_their_length() -> None:
    xs = draw(reference_task({"name": "linear_dynamics", "rho": 1.0}, dims=4), 20, 30).xs
    torch.testing.assert_close(xs.norm(dim=2), xs[:, :1].norm(dim=2).expand(-1, 30), rtol=1e-4, atol=1e-5)
    assert (xs[:, 1] - xs[:, 0]).abs().max() > 0.1


def test_the_dynamics_turn_by_a_uniform_orthogonal_matrix_of_their_own() -> None:
    parameters = sampled("linear_dynamics", 4000, 3)
    q = parameters["rotation"]
    torch.testing.assert_close(q @ q.mT, torch.eye(3).expand(4000, 3, 3), rtol=0, atol=1e-5)
    # Of the uniform distribution: no direction is preferred, and reflections are as likely as rotations.
    assert_mean(q, np.zeros((3, 3)).tolist())
    assert_mean(q.square(), np.full((3, 3), 1 / 3).tolist())
    assert_mean(torch.linalg.det(q), 0)
    assert_mean((q[1:] * q[:-1]).sum((1, 2)), 0)
    assert_mean(parameters["c"].square(), [1.0] * 3)


@pytest.mark.parametrize("rho", [0.0, 1.1])
def test_a_rho_out_of_range_is_an_error(rho: float) -> None:
    with pytest.raises(ValidationError, match="rho"):
        class_of({"name": "linear_dynamics", "rho": rho})


def test_the_dynamics_make_their_own_inputs() -> None:
    with pytest.raises(
        UserError, match="linear_dynamics: it makes its own inputs, each of which is gaussian, found skew"
    ):
        task_of("linear_dynamics", "skewed").check()
