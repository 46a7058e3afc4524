"""Linear functions with other weights: from a cap of the sphere, with other spectra, with other supports."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import class_of, draw, task_of
from pydantic import ValidationError
from torch import Tensor

from icl_curriculum import UserError
from icl_curriculum.core.streams import generator

N = 20_000


def weights(spec: dict[str, object], dims: int, n: int = N) -> Tensor:
    return class_of(spec).sample(n, dims, generator(0, "test"))["w"].double()


def angles(w: Tensor) -> Tensor:
    """Between the weights and the first axis, in degrees."""
    return torch.rad2deg((w[:, 0] / w.norm(dim=1)).clamp(-1, 1).acos())


@pytest.mark.parametrize("dims", [2, 3, 20, 2000])
@pytest.mark.parametrize(("least", "largest"), [(0.0, 45.0), (60.0, 180.0), (89.0, 90.0)])
def test_weights_lie_in_the_band_at_the_radius(dims: int, least: float, largest: float) -> None:
    w = weights({"name": "cap_linear", "angle": largest, "least_angle": least}, dims, 2000)
    torch.testing.assert_close(w.square().sum(dim=1) / dims, torch.ones(2000, dtype=torch.float64), rtol=1e-5, atol=0)
    found = angles(w)
    assert found.min() >= least - 1e-2
    assert found.max() <= largest + 1e-2


def test_angles_have_their_distribution() -> None:
    """On a circle they are uniform, and on a sphere their cosine is; in 20 dimensions cos^2 is Beta(1/2, 19/2)."""
    circle = angles(weights({"name": "cap_linear", "angle": 90.0}, 2))
    assert float(circle.mean()) == pytest.approx(45, abs=5 * 90 / math.sqrt(12 * N))
    sphere = angles(weights({"name": "cap_linear", "angle": 60.0}, 3))
    assert float(torch.deg2rad(sphere).cos().mean()) == pytest.approx(0.75, abs=5 * 0.5 / math.sqrt(12 * N))
    whole = weights({"name": "cap_linear", "angle": 180.0}, 20)
    squares = (whole[:, 0] ** 2 / 20).numpy()
    a, b = 0.5, 9.5
    deviation = math.sqrt(a * b / ((a + b) ** 2 * (a + b + 1)))
    assert squares.mean() == pytest.approx(1 / 20, abs=5 * deviation / math.sqrt(N))
    # Every coordinate is like the first.
    assert (whole**2).mean(dim=0).numpy() == pytest.approx(np.ones(20), abs=5 * 20 * deviation / math.sqrt(N))
    assert whole.mean(dim=0).numpy() == pytest.approx(np.zeros(20), abs=5 / math.sqrt(N))


def test_in_many_dimensions_nearly_all_of_a_cap_lies_at_its_edge() -> None:
    """The share within an angle falls like sin^(d - 2): half of it lies within some hundredths of a degree."""
    found = angles(weights({"name": "cap_linear", "angle": 45.0}, 2000))
    expected = math.degrees(math.asin(math.sin(math.radians(45)) * 0.5 ** (1 / 1999)))
    assert float(found.median()) == pytest.approx(expected, abs=2e-3)


def test_variances_of_the_weights_fall_as_a_power_and_sum_to_the_dimensions() -> None:
    shares = np.array([i**-1.5 for i in range(1, 6)])
    expected = 5 * shares / shares.sum()
    found = weights({"name": "power_law_linear", "decay": 1.5}, 5).var(dim=0).numpy()
    assert found == pytest.approx(expected, rel=5 * math.sqrt(2 / N))
    assert (
        class_of({"name": "power_law_linear", "decay": 0.0})
        .sample(3, 4, generator(0, "t"))["w"]
        .equal(class_of("linear").sample(3, 4, generator(0, "t"))["w"])
    )


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_oracle_is_the_posterior_mean_under_the_weights_variances(noise: float) -> None:
    function_class = class_of({"name": "power_law_linear", "decay": 2.0, "label_noise": noise})
    prompts = draw(task_of({"name": "power_law_linear", "decay": 2.0, "label_noise": noise}, dims=4), 3, 7)
    answers = function_class.oracle(prompts).double()
    shares = torch.arange(1, 5, dtype=torch.float64) ** -2.0
    covariance = torch.diag(4 * shares / shares.sum())
    xs, ys = prompts.xs.double(), prompts.ys.double()
    for k in range(7):
        context = xs[:, :k]
        gram = context @ covariance @ context.mT + noise**2 * torch.eye(k, dtype=torch.float64)
        mean = covariance @ context.mT @ torch.linalg.pinv(gram) @ ys[:, :k, None]
        expected = (xs[:, k] * mean.squeeze(-1)).sum(dim=1)
        torch.testing.assert_close(answers[:, k], expected, rtol=2e-3, atol=2e-3)


def test_supports_are_among_the_coordinates_that_are_named() -> None:
    w = weights({"name": "sparse_linear", "sparsity": 2, "first": 3, "last": 6}, 8)
    there = (w != 0).double()
    assert there.sum(dim=1).eq(2).all()
    assert there[:, [0, 1, 6, 7]].sum() == 0
    assert there[:, 2:6].mean(dim=0).numpy() == pytest.approx(np.full(4, 0.5), abs=5 * 0.5 / math.sqrt(N))


@pytest.mark.parametrize(
    ("spec", "dims", "message"),
    [
        ({"name": "cap_linear"}, 1, "a cap needs 2 dimensions or more, found 1"),
        ({"name": "sparse_linear", "last": 6}, 5, "last 6 exceeds the number of dimensions 5"),
        ({"name": "sparse_linear", "first": 4}, 5, "sparsity 3 exceeds the number of coordinates from 4 to 5"),
    ],
)
def test_dimensions_that_are_too_few_are_refused(spec: dict[str, object], dims: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        class_of(spec).check_dims(dims)


def test_a_band_whose_angles_are_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"least_angle below the angle 30 by 0\.001 or more, found 60"):
        class_of({"name": "cap_linear", "angle": 30.0, "least_angle": 60.0})
