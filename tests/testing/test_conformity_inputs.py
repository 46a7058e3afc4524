"""The conformity check of input distributions: the suite's pass, and one broken for every rule."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from pydantic import PrivateAttr
from testing_classes import failures, finding_of, result_of
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.inputs import (
    Cauchy,
    Gaussian,
    HalfSubspace,
    InOneOrthant,
    InputDistribution,
    Rademacher,
    Scaled,
    Skewed,
    StudentT,
    Uniform,
)

pytestmark = pytest.mark.usefixtures("fewer_prompts")


#: With others than their defaults, or unlike the others; `make check` looks at all.
KEPT: list[Any] = [
    "skewed",
    "half_subspace",
    Skewed(basis="shared"),
    StudentT(df=2.5),
    StudentT(df=6.0),
    Scaled(of=Rademacher(), factor=0.1),
    InOneOrthant(),
]


@pytest.mark.parametrize("inputs", KEPT, ids=lambda item: getattr(item, "id", item))
def test_right_inputs_keep_the_contract(inputs: Any) -> None:
    assert failures(inputs, "inputs") == {}


class LogNormal(InputDistribution):
    """Coordinates exp(2 z): heavy tails, of which all moments exist."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Tensor:
        return torch.exp(2 * normal(n, points, dims, generator=generator))

    def squared_norm(self, dims: int) -> float:
        return dims * math.exp(8)


def test_what_cannot_be_resolved_is_said() -> None:
    assert failures(LogNormal) == {}
    assert result_of(LogNormal, "squared norm").note.endswith("too large a value would not show")
    assert result_of("student_t", "squared norm").note.startswith("at d = 1")
    assert result_of("gaussian", "squared norm").note == ""
    assert result_of(StudentT(df=9.0), "tail index").note == ""


def having(base: type[InputDistribution] = Gaussian, **members: Any) -> type[InputDistribution]:
    return type("Broken", (base,), {"__doc__": "Broken.", "__module__": __name__, **members})


def sampling(change: Any, base: type[InputDistribution] = Gaussian) -> type[InputDistribution]:
    """A distribution with what sample draws changed: ``change(inputs, generator)``."""

    def sample(self: Any, n: int, points: int, dims: int, generator: torch.Generator) -> Any:
        return change(base().sample(n, points, dims, generator), generator)

    return having(base, sample=sample)


class Counting(Gaussian):
    """Each call draws less."""

    _calls: int = PrivateAttr(0)

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Tensor:
        self._calls += 1
        return super().sample(n, points, dims, generator) / self._calls


def fails(self: Any, dims: int) -> None:
    raise KeyError(dims)


def refuses(self: Any, dims: int) -> None:
    raise UserError("never")


BROKEN: dict[str, tuple[Any, str, str]] = {
    # The rule, and what is wrong: a distribution, what was found, what mends it.
    "construction": (
        type("Empty", (InputDistribution,), {"__doc__": "Empty."}),
        "lacks sample, squared_norm",
        "define",
    ),
    "known methods": (
        having(larges=lambda self, dims: 1.0),
        "Broken.larges: nothing calls it",
        "did you mean largest?",
    ),
    "dimensions/all refused": (having(check_dims=refuses), "check_dims refuses them all", "let check_dims raise only"),
    "dimensions/no user error": (having(check_dims=fails), "KeyError: 1", "test_conformity_inputs.py"),
    "sample/shape": (sampling(lambda xs, made: xs.squeeze()), "shape ()", "keep all three axes"),
    "sample/type": (sampling(lambda xs, made: xs.double()), "torch.float64", "torch's default type"),
    "sample/infinite": (sampling(lambda xs, made: 1 / (xs.abs() > 1e-3)), "infinite or NaN", "can be zero"),
    "global generators": (
        sampling(lambda xs, made: xs + torch.randn(xs.shape)),
        "torch's global generator changed during sample(",
        "pass generator=generator",
    ),
    "global generators/Python": (
        sampling(lambda xs, made: xs * random.uniform(1, 2)),
        "Python's global generator changed",
        "seed a local generator",
    ),
    "determinism": (Counting, "inputs that differ by up to", "keep no state between calls"),
    "device": (
        sampling(lambda xs, made: torch.tensor(xs.tolist())),
        "the inputs would stay on the CPU; made without a device: torch.tensor at ",
        "device=generator.device",
    ),
    "independent prompts/one generator": (
        sampling(lambda xs, made: torch.randn(xs.shape, generator=torch.Generator().manual_seed(0))),
        "512 generators gave the same first prompt",
        "draw from the generator that sample is given",
    ),
    "independent prompts/shared": (
        sampling(lambda xs, made: xs + normal(1, 1, xs.shape[-1], generator=made)),
        "of prompts 0 and 1 has correlation",
        "draw everything with leading axis n",
    ),
    "fresh inputs/prompts": (
        sampling(lambda xs, made: xs[torch.arange(len(xs)) % 100]),
        "100 at d = 8",
        "no expand, repeat or modulo",
    ),
    "fresh inputs/points": (
        sampling(lambda xs, made: xs[:, :1].repeat(1, xs.shape[1], 1)),
        "512 at d = 8",
        "no expand, repeat or modulo",
    ),
    "tail index/light": (
        having(Cauchy, tail_index=property(lambda self: math.inf), squared_norm=lambda self, dims: 1.0 * dims),
        "falls off as |x|^-0.9",
        "about 0.9",
    ),
    "tail index/Student's t": (
        having(
            sample=lambda self, n, points, dims, generator: StudentT(df=2.0).sample(n, points, dims, generator),
        ),
        "falls off as |x|^-1.9",
        "it decides which errors have a mean",
    ),
    "tail index/negative": (having(tail_index=property(lambda self: -1.0)), "-1.0", "math.inf for light tails"),
    "squared norm/too large": (
        having(squared_norm=lambda self, dims: 1.05 * dims),
        "squared_norm(1) = 1.05 is too large",
        "all d coordinates",
    ),
    "squared norm/too small": (
        sampling(lambda xs, made: xs + 0.5),
        "squared_norm(1) = 1 is too small",
        "with means and scales in it",
    ),
    "squared norm/of one coordinate": (
        having(squared_norm=lambda self, dims: 1.0),
        "squared_norm(2) = 1 is too small",
        "it depends on dims",
    ),
    "squared norm/heavy tails": (
        having(StudentT, squared_norm=lambda self, dims: 2.4 * dims),
        "squared_norm(1) = 2.4 is too large",
        "with means and scales in it",
    ),
    "squared norm/at a point": (
        sampling(lambda xs, made: torch.cat([0.5 * xs[:, :1], xs[:, 1:]], dim=1) if xs.shape[1] == 16 else xs),
        "at point 0 of 16, for which that is too large",
        "draw all points from one distribution",
    ),
    "squared norm/in five dimensions": (
        having(squared_norm=lambda self, dims: dims + (dims == 5)),
        "squared_norm(5) = 6 is too large",
        "it depends on dims",
    ),
    "squared norm/infinite": (
        having(squared_norm=lambda self, dims: math.inf),
        "squared_norm(1) = inf with tail_index = inf",
        "else correct tail_index",
    ),
    "squared norm/finite": (
        having(Cauchy, squared_norm=lambda self, dims: 5.0),
        "squared_norm(1) = 5 with tail_index = 1",
        "return math.inf",
    ),
    "bounds": (having(Uniform, largest=lambda self, dims: 1.5), "a coordinate of ±1.73", "raise largest"),
    "bounds/none": (having(largest=lambda self, dims: None), "largest(1) gives None", "math.inf where there is none"),
    "signs/claimed": (having(only_signs=lambda self, dims: True), "one of size ", "let only_signs return False"),
    "signs/not said": (
        having(Rademacher, only_signs=lambda self, dims: False),
        "none among 32,768 inputs at d = 2",
        "let only_signs return True",
    ),
    "rank/too low": (having(rank=lambda self, dims: max(1, dims - 1)), "2 in prompts of 16 inputs", "override rank"),
    "rank/too high": (
        having(HalfSubspace, rank=lambda self, dims: dims),
        "1 in prompts of 16 inputs at d = 2",
        "mend spectrum, from which it follows",
    ),
    "rotations": (
        having(Uniform, rotation_invariant=lambda self, dims: True),
        "standard errors once all inputs of a prompt are rotated, at d = 2",
        "let rotation_invariant return False",
    ),
    "spectrum/not Gaussian": (
        having(Uniform, spectrum=lambda self, dims: (1.0,) * dims, rotation_invariant=lambda self, dims: False),
        "1.8",
        "unless x is Gaussian with mean zero",
    ),
    "spectrum/one basis": (
        having(
            Skewed,
            sample=lambda self, n, points, dims, generator: Skewed(basis="shared").sample(n, points, dims, generator),
            rotation_invariant=lambda self, dims: False,
        ),
        "over 32,768 prompts (6 standard errors are allowed)",
        "not one for all",
    ),
    "spectrum/sum": (
        having(spectrum=lambda self, dims: (2.0,) * dims),
        "spectrum(1) sums to 2",
        "correct the one that is wrong",
    ),
    "spectrum/number": (having(spectrum=lambda self, dims: (1.0,)), "spectrum(2) gives (1.0,)", "zeros included"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_distribution_is_told_what_is_wrong_and_how_to_mend_it(case: str) -> None:
    inputs, found, mend = BROKEN[case]
    finding = finding_of(inputs, case.split("/")[0])
    assert found in finding.found
    assert mend in finding.mend
