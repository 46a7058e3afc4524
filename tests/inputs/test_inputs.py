"""Input distributions: their marginals, moments and tails, and what they say of themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import STUDENT_T_10, Spec, assert_mean, inputs_of
from scipy import stats
from torch import Tensor

from icl_curriculum.core.registry import INPUTS
from icl_curriculum.inputs import InputDistribution

SHARED: Spec = {"name": "skewed", "basis": "shared"}
SPECS: list[Spec] = [
    "gaussian", "skewed", SHARED, "half_subspace", "shifted", {"name": "shifted", "mean": -0.5}, STUDENT_T_10,
    "cauchy", "laplace", {"name": "laplace", "scale": 0.5}, "uniform", {"name": "uniform", "half_width": 5.0},
    "sphere", "rademacher", "own", "scaled", {"name": "scaled", "factor": 1 / 3, "of": "laplace"},
    {"name": "scaled", "of": {"name": "scaled", "factor": 0.25, "of": "rademacher"}},
]  # fmt: skip
EVERY_DISTRIBUTION = pytest.mark.parametrize("spec", SPECS, ids=[inputs_of(spec).id for spec in SPECS])

# The probability of five standard deviations.
RARE = 6e-7


def sample(spec: Spec | InputDistribution, n: int, points: int, dims: int, seed: int = 0) -> Tensor:
    inputs = spec if isinstance(spec, InputDistribution) else inputs_of(spec)
    return inputs.sample(n, points, dims, torch.Generator().manual_seed(seed))


def discrete(spec: Spec) -> bool:
    return inputs_of(spec).only_corners(4)


def test_every_registered_distribution_is_tested_here() -> None:
    assert {inputs_of(spec).name for spec in SPECS} == set(INPUTS.names())


@EVERY_DISTRIBUTION
def test_shape_and_dependence_on_the_generator(spec: Spec) -> None:
    drawn = sample(spec, 3, 4, 5)
    assert drawn.shape == (3, 4, 5)
    assert drawn.dtype == torch.float32
    assert drawn.equal(sample(spec, 3, 4, 5))
    assert not drawn.equal(sample(spec, 3, 4, 5, seed=1))
    if not discrete(spec):
        assert not set(drawn.flatten().tolist()) & set(sample(spec, 3, 4, 5, seed=1).flatten().tolist())
        assert len(set(drawn.flatten().tolist())) == drawn.numel()


@EVERY_DISTRIBUTION
@pytest.mark.parametrize("dims", [2, 6])
def test_mean_and_stated_squared_norm(spec: Spec, dims: int) -> None:
    inputs = inputs_of(spec)
    stated = inputs.squared_norm(dims)
    if spec == "own":
        assert math.isnan(stated)
        return
    if inputs.tail_index <= 2:
        assert stated == math.inf
        return
    drawn = sample(spec, 10_000, 2, dims).double()
    assert_mean(drawn.mean(dim=1), [getattr(inputs, "mean", 0.0)] * dims)
    assert_mean(drawn.square().sum(-1).mean(dim=1), stated, rounding=1e-6 * stated)


#: E|x|^2 in 6 dimensions, by hand.
SQUARED_NORMS: list[tuple[Spec, float]] = [
    ("gaussian", 6), ("skewed", 6), ("half_subspace", 6), ({"name": "shifted", "mean": 2.0}, 30),
    ("student_t", 12), ({"name": "student_t", "df": 2.0}, math.inf), ("cauchy", math.inf),
    ("laplace", 12), ({"name": "laplace", "scale": 0.5}, 3), ("uniform", 6),
    ({"name": "uniform", "half_width": 5.0}, 50), ("sphere", 6), ("rademacher", 6),
    ("scaled", 24), ({"name": "scaled", "factor": 3.0, "of": "laplace"}, 108),
    ({"name": "scaled", "of": "cauchy"}, math.inf),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), SQUARED_NORMS, ids=str)
def test_squared_norm_by_hand(spec: Spec, expected: float) -> None:
    assert inputs_of(spec).squared_norm(6) == pytest.approx(expected)


# Marginals

MARGINALS: list[tuple[Spec, Any]] = [
    ("gaussian", stats.norm()),
    ("own", stats.norm()),
    ({"name": "shifted", "mean": -0.5}, stats.norm(-0.5)),
    ("student_t", stats.t(4)),
    ({"name": "student_t", "df": 1.5}, stats.t(1.5)),
    (STUDENT_T_10, stats.t(10)),
    ("cauchy", stats.cauchy()),
    ("laplace", stats.laplace()),
    ({"name": "laplace", "scale": 0.5}, stats.laplace(scale=0.5)),
    ("uniform", stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))),
    ({"name": "uniform", "half_width": 5.0}, stats.uniform(-5, 10)),
    # The square of a coordinate of a point of the unit sphere is Beta(1/2, (d - 1)/2), here with d = 3: uniform.
    ("sphere", stats.uniform(-math.sqrt(3), 2 * math.sqrt(3))),
    ("scaled", stats.norm(scale=2)),
    ({"name": "scaled", "factor": 1 / 3, "of": "laplace"}, stats.laplace(scale=1 / 3)),
    ({"name": "scaled", "factor": 0.5, "of": {"name": "scaled", "of": "student_t"}}, stats.t(4)),
]


@pytest.mark.parametrize(("spec", "marginal"), MARGINALS, ids=[inputs_of(spec).id for spec, _ in MARGINALS])
def test_every_coordinate_has_its_distribution(spec: Spec, marginal: Any) -> None:
    drawn = sample(spec, 20_000, 2, 3)
    for point, coordinate in ((0, 0), (1, 2)):
        assert stats.kstest(drawn[:, point, coordinate].numpy(), marginal.cdf).pvalue > RARE


@pytest.mark.parametrize("spec", ["gaussian", "cauchy", "laplace", "uniform", "rademacher", "shifted"])
def test_coordinates_and_points_are_independent(spec: Spec) -> None:
    """In sign and in size: a bounded function of each, with its mean taken off."""
    drawn = sample(spec, 20_000, 2, 2).double()
    for bounded in (drawn.sign(), (drawn.abs() > 0.7).double() if spec != "rademacher" else drawn):
        centred = bounded - bounded.mean(dim=0)
        assert_mean(centred[:, 0, 0] * centred[:, 0, 1], 0)
        assert_mean(centred[:, 0, 0] * centred[:, 1, 0], 0)


def test_rademacher_is_a_fair_coin() -> None:
    drawn = sample("rademacher", 4000, 1, 3)[:, 0]
    assert set(drawn.flatten().tolist()) == {-1.0, 1.0}
    codes = ((drawn > 0).double() @ torch.tensor([1.0, 2.0, 4.0]).double()).long()
    assert stats.chisquare(np.bincount(codes.numpy(), minlength=8)).pvalue > RARE


@pytest.mark.parametrize("dims", [1, 2, 7])
def test_the_sphere_has_its_radius_and_no_direction(dims: int) -> None:
    drawn = sample("sphere", 4000, 1, dims)[:, 0].double()
    torch.testing.assert_close(drawn.norm(dim=-1), torch.full((4000,), math.sqrt(dims)).double(), rtol=1e-6, atol=0)
    assert_mean(drawn, [0.0] * dims)
    assert_mean((drawn.unsqueeze(1) * drawn.unsqueeze(2)).flatten(1), torch.eye(dims).flatten().tolist(), rounding=1e-6)


def test_the_sphere_has_a_point_for_a_draw_without_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one dimension a normal draw is exactly 0 once in 2^24."""
    monkeypatch.setattr(torch, "randn", lambda *shape, **options: torch.zeros(shape))
    assert sample("sphere", 2, 3, 4).norm(dim=-1).eq(2).all()


# What distributions say of themselves


@EVERY_DISTRIBUTION
@pytest.mark.parametrize("dims", [2, 5])
def test_largest_corners_and_signs_are_true(spec: Spec, dims: int) -> None:
    inputs, drawn = inputs_of(spec), sample(spec, 4000, 3, dims)
    largest = inputs.largest(dims)
    assert drawn.abs().max() <= largest * (1 + 1e-6)
    if math.isfinite(largest):
        # A sphere in five dimensions comes near its poles with a probability of (1 - x^2)^2.
        assert drawn.abs().max() > 0.95 * largest
    assert inputs.only_corners(dims) == bool(((drawn.abs() / drawn.abs().max()) == 1).all())
    assert inputs.only_signs(dims) == bool((drawn.abs() == 1).all())


def test_distributions_of_signs_and_corners() -> None:
    def names(specs: list[Spec], dims: int) -> list[str]:
        return [inputs_of(spec).id for spec in specs if inputs_of(spec).only_corners(dims)]

    assert names(SPECS, 5) == ["rademacher", "scaled/2/of=scaled/0.25/of=rademacher"]
    assert names(["sphere", "uniform", "cauchy", {"name": "student_t", "df": 1.0}], 1) == ["sphere"]
    signs = {"name": "scaled", "factor": 1.0, "of": "rademacher"}
    assert inputs_of(signs).only_signs(3)
    assert not inputs_of({**signs, "factor": 2.0}).only_signs(3)


@EVERY_DISTRIBUTION
@pytest.mark.parametrize("dims", [2, 5])
def test_rank_is_that_of_many_points(spec: Spec, dims: int) -> None:
    if spec == {"name": "scaled", "of": {"name": "scaled", "factor": 0.25, "of": "rademacher"}} or spec == "rademacher":
        points = 64  # corners repeat
    else:
        points = 3 * dims
    ranks = torch.linalg.matrix_rank(sample(spec, 20, points, dims).double(), rtol=1e-5)
    assert set(ranks.tolist()) == {inputs_of(spec).rank(dims)}
    assert inputs_of(spec).rank(dims) == (dims // 2 if spec == "half_subspace" else dims)


@EVERY_DISTRIBUTION
def test_rotation_invariance_is_true(spec: Spec) -> None:
    """Where it is claimed: x_1 and (x_1 + x_2) / sqrt(2) are distributed alike, and so are products across points."""
    inputs = inputs_of(spec)
    drawn = sample(spec, 20_000, 2, 3)
    turned = (drawn[..., 0] + drawn[..., 1]) / math.sqrt(2)
    pairs = [(drawn[:, 0, 2], turned[:, 0]), (drawn[:, 0, 2] * drawn[:, 1, 2], turned[:, 0] * turned[:, 1])]
    alike = all(stats.ks_2samp(one.numpy(), other.numpy()).pvalue > RARE for one, other in pairs)
    # Ten degrees of freedom are too near a Gaussian for this many draws; what classes make themselves claims nothing.
    assert inputs.rotation_invariant(3) == (alike and spec not in (STUDENT_T_10, "own"))
    if inputs.spectrum(3) is not None:
        assert inputs.rotation_invariant(3)


@EVERY_DISTRIBUTION
def test_a_spectrum_is_that_of_a_gaussian_of_this_covariance(spec: Spec) -> None:
    inputs = inputs_of(spec)
    spectrum = inputs.spectrum(4)
    if spectrum is None:
        return
    assert sum(spectrum) == pytest.approx(inputs.squared_norm(4))
    drawn = sample(spec, 2, 20_000, 4).double()
    found = torch.linalg.eigvalsh(drawn.mT @ drawn / 20_000).flip(-1)
    for row in found.tolist():
        assert row == pytest.approx(spectrum, rel=5 * math.sqrt(2 / 20_000), abs=1e-6)
    # Normal along any axis within a prompt.
    assert stats.kstest((drawn[0, :, 0] / drawn[0, :, 0].std()).numpy(), "norm").pvalue > RARE


@pytest.mark.parametrize(
    ("spec", "index"),
    [
        (STUDENT_T_10, 10), ("student_t", 4), ("cauchy", 1), ({"name": "scaled", "of": "cauchy"}, 1),
        ({"name": "scaled", "factor": 3.0, "of": STUDENT_T_10}, 10),
        *((name, math.inf) for name in INPUTS.names() if name not in ("student_t", "cauchy")),
    ],
    ids=str,
)  # fmt: skip
def test_tail_index(spec: Spec, index: float) -> None:
    assert inputs_of(spec).tail_index == index


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
