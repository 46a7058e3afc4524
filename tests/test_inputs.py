"""Input distributions: moments, spectra and tails."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import STUDENT_T_10, Spec, assert_mean, inputs_of
from scipy import stats
from torch import Tensor

from icl_curriculum.inputs import random_rotations
from icl_curriculum.registry import INPUTS

SHARED: Spec = {"name": "skewed", "basis": "shared"}
SPECS: list[Spec] = ["gaussian", "skewed", SHARED, STUDENT_T_10]
EVERY_DISTRIBUTION = pytest.mark.parametrize("spec", SPECS, ids=[inputs_of(spec).id for spec in SPECS])

# The probability of five standard deviations.
RARE = 6e-7


def sample(spec: Spec, n: int, points: int, dims: int, seed: int = 0) -> Tensor:
    return inputs_of(spec).sample(n, points, dims, torch.Generator().manual_seed(seed))


def test_every_registered_distribution_is_tested_here() -> None:
    assert {inputs_of(spec).name for spec in SPECS} == set(INPUTS.names())


@EVERY_DISTRIBUTION
def test_shape_and_dependence_on_the_generator(spec: Spec) -> None:
    drawn = sample(spec, 3, 4, 5)
    assert drawn.shape == (3, 4, 5)
    assert drawn.dtype == torch.float32
    assert drawn.equal(sample(spec, 3, 4, 5))
    assert not set(drawn.flatten().tolist()) & set(sample(spec, 3, 4, 5, seed=1).flatten().tolist())
    assert len(set(drawn.flatten().tolist())) == drawn.numel()


@EVERY_DISTRIBUTION
@pytest.mark.parametrize("dims", [1, 6])
def test_mean_and_stated_squared_norm(spec: Spec, dims: int) -> None:
    drawn = sample(spec, 10_000, 2, dims)
    assert_mean(drawn.mean(dim=1), [0.0] * dims)
    assert_mean(drawn.square().sum(-1).mean(dim=1), inputs_of(spec).squared_norm(dims))


def test_gaussian_is_standard_normal() -> None:
    drawn = sample("gaussian", 4000, 3, 2)
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > RARE
    assert inputs_of("gaussian").spectrum(4) == (1, 1, 1, 1)


# Skewed


def eigenvalues(points: Tensor) -> list[float]:
    covariance = points.mT @ points / len(points)
    return sorted(torch.linalg.eigvalsh(covariance.double()).tolist(), reverse=True)


@pytest.mark.parametrize("spec", ["skewed", SHARED], ids=["per prompt", "shared"])
def test_skewed_spectrum_falls_as_the_inverse_square(spec: Spec) -> None:
    scale = 5 / sum(1 / i**2 for i in range(1, 6))
    expected = [scale / i**2 for i in range(1, 6)]
    n = 20_000
    # The relative standard error of a variance is sqrt(2 / n).
    assert eigenvalues(sample(spec, 1, n, 5)[0]) == pytest.approx(expected, rel=5 * math.sqrt(2 / n))
    assert inputs_of("skewed").spectrum(5) == pytest.approx(expected)


def test_skewed_rotates_every_prompt_afresh() -> None:
    """Pooled over prompts the covariance is the identity, which no single rotation gives."""
    drawn = sample("skewed", 4000, 6, 4)
    second_moments = torch.einsum("npi,npj->nij", drawn, drawn) / 6
    assert_mean(second_moments.flatten(1), torch.eye(4).flatten().tolist())
    leading = [torch.linalg.eigh(p.mT @ p).eigenvectors[:, -1] for p in sample("skewed", 2, 5000, 4)]
    assert abs(leading[0] @ leading[1]) < 0.99


def test_a_shared_rotation_is_one_for_all_prompts_and_draws() -> None:
    def basis(spec: Spec, seed: int) -> Tensor:
        pooled = sample(spec, 200, 100, 3, seed).flatten(0, 1)
        leading = torch.linalg.eigh(pooled.mT @ pooled).eigenvectors[:, -1]
        assert eigenvalues(pooled) == pytest.approx([2.204, 0.551, 0.245], rel=0.05)
        return leading

    assert abs(basis(SHARED, 0) @ basis(SHARED, 1)) > 0.999
    assert abs(basis(SHARED, 0) @ basis({**SHARED, "basis_seed": 1}, 0)) < 0.99  # type: ignore[dict-item]
    assert inputs_of(SHARED).spectrum(3) is None


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_random_rotations_are_uniform_and_orthogonal(dims: int) -> None:
    rotations = random_rotations(4000, dims, torch.Generator().manual_seed(0))
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(dims).expand(4000, -1, -1), rtol=0, atol=1e-5)
    assert_mean(rotations.flatten(1), [0.0] * dims**2)
    assert_mean(rotations.flatten(1).square(), [1 / dims] * dims**2, rounding=1e-6)
    if dims > 1:
        # The trace of a uniform orthogonal matrix has mean 0 and variance 1.
        assert_mean(rotations.diagonal(dim1=1, dim2=2).sum(1).square(), 1)


# Student's t


@pytest.mark.parametrize("df", [1.5, 4.0, 10.0])
def test_student_t_has_its_distribution(df: float) -> None:
    drawn = sample({"name": "student_t", "df": df}, 5000, 2, 2)
    assert stats.kstest(drawn.flatten().numpy(), stats.t(df).cdf).pvalue > RARE


def test_student_t_variance_and_default() -> None:
    assert_mean(sample(STUDENT_T_10, 20_000, 1, 3)[:, 0].square(), [10 / 8] * 3)
    assert inputs_of("student_t").squared_norm(5) == 5 * 4 / 2


def test_student_t_coordinates_are_independent() -> None:
    """A multivariate t would share its denominator, and large coordinates would come together."""
    large = (sample("student_t", 20_000, 1, 2)[:, 0].abs() > 2).double()
    assert_mean(large[:, 0] * large[:, 1], (2 * stats.t(4).sf(2)) ** 2)
    across = (sample("student_t", 20_000, 2, 1)[:, :, 0].abs() > 2).double()
    assert_mean(across[:, 0] * across[:, 1], (2 * stats.t(4).sf(2)) ** 2)


@pytest.mark.parametrize(("spec", "index"), [(STUDENT_T_10, 10), ("student_t", 4), ("gaussian", math.inf)])
def test_tail_index(spec: Spec, index: float) -> None:
    assert inputs_of(spec).tail_index == index
    assert inputs_of("skewed").tail_index == math.inf


def test_student_t_without_variance_says_so() -> None:
    assert inputs_of({"name": "student_t", "df": 2.0}).squared_norm(5) == math.inf
