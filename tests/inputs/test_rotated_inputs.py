"""Input distributions in a random basis, in a random subspace, and in a random orthant."""

from __future__ import annotations

import math

import pytest
import torch
from helpers import Spec, assert_mean, inputs_of
from test_inputs import SHARED, sample
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.inputs import InOneOrthant, random_rotations

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


# Half a subspace


@pytest.mark.parametrize(("dims", "rank"), [(2, 1), (3, 1), (5, 2), (8, 4)])
def test_half_subspace_is_a_subspace_of_half_the_dimensions_for_every_prompt(dims: int, rank: int) -> None:
    inputs = inputs_of("half_subspace")
    drawn = sample("half_subspace", 50, 30, dims).double()
    assert set(torch.linalg.matrix_rank(drawn, rtol=1e-5).tolist()) == {rank}
    assert inputs.rank(dims) == rank
    assert inputs.spectrum(dims) == pytest.approx((dims / rank,) * rank + (0,) * (dims - rank))
    # Two prompts together span more than one of them: the subspace is fresh.
    together = torch.linalg.matrix_rank(torch.cat([drawn[:-1], drawn[1:]], dim=1), rtol=1e-5)
    assert set(together.tolist()) == {2 * rank}


def test_half_subspace_has_the_squared_norm_of_the_gaussian_on_a_chi_squared_of_half_the_freedom() -> None:
    drawn = sample("half_subspace", 10_000, 1, 6)[:, 0].double()
    squares = drawn.square().sum(-1)
    assert_mean(squares, 6)
    # |x|^2 = 2 chi^2 with 3 degrees of freedom: variance 4 x 6.
    assert_mean((squares - 6).square(), 24)
    assert_mean((drawn.unsqueeze(1) * drawn.unsqueeze(2)).flatten(1), torch.eye(6).flatten().tolist())


def test_half_subspace_needs_two_dimensions() -> None:
    with pytest.raises(UserError, match=r"^half_subspace: expected 2 dimensions or more, found 1$"):
        inputs_of("half_subspace").check_dims(1)
    with pytest.raises(UserError, match=r"found 1$"):
        sample("half_subspace", 1, 1, 1)
    with pytest.raises(UserError, match=r"found 1$"):
        inputs_of({"name": "scaled", "of": "half_subspace"}).check_dims(1)
    inputs_of("half_subspace").check_dims(2)


# One orthant


@pytest.mark.parametrize("spec", ["gaussian", "student_t", "half_subspace", {"name": "shifted", "mean": 3.0}], ids=str)
def test_in_one_orthant_keeps_sizes_and_moments(spec: Spec) -> None:
    inputs = InOneOrthant(of=inputs_of(spec))
    drawn = sample(inputs, 4000, 3, 4)
    assert (drawn.sign() == drawn.sign()[:, :1]).all()
    assert drawn.abs().equal(_with_signs_drawn_first(spec))
    assert_mean(drawn[:, 0].sign(), [0.0] * 4)
    assert inputs.tail_index == inputs_of(spec).tail_index
    assert inputs.squared_norm(4) == inputs_of(spec).squared_norm(4)
    assert inputs.spectrum(4) == ((1.0,) * 4 if spec == "gaussian" else None)
    assert (inputs.rotation_invariant(4), inputs.rank(4)) == (False, 4)
    assert torch.linalg.matrix_rank(sample(inputs, 1, 40, 4)[0]) == 4


def _with_signs_drawn_first(spec: Spec) -> Tensor:
    made = torch.Generator().manual_seed(0)
    torch.randint(0, 2, (4000, 1, 4), generator=made)
    return inputs_of(spec).sample(4000, 3, 4, made).abs()
