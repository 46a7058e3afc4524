"""Gradient descent on the squared error of the examples, plain and preconditioned, on all prefixes at once.

These are what theory compares transformers with: one layer of linear attention can take a step of gradient descent
(von Oswald et al. 2023, arXiv 2212.07677), and trained to the optimum it takes a preconditioned one (Ahn et al. 2023,
arXiv 2306.00297).

Dimensions: batch = prompts, points = K + 1, dims = d, k = examples in context. Everything is computed in float64.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.baselines.descent_rates import best_rate
from icl_curriculum.core.component import code_of
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import generator
from icl_curriculum.inputs import AnyInputs, InputDistribution

# How many numbers of the largest kind are held at once.
_CHUNK = 1 << 22
# Inputs of which a covariance is estimated where it follows from nothing else.
_DRAWN = 1 << 17


def _rate(value: object) -> object:
    if value == "best":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise PydanticCustomError("rate", "expected 'best' or a number above 0")
    return float(value)


Rate = Annotated[float | Literal["best"], PlainValidator(_rate)]


@register_baseline("gradient_descent")
class GradientDescent(Baseline):
    """Predict w·x after ``steps`` steps of gradient descent from w = 0 on sum_i (y_i - w·x_i)^2 / 2k.

    A step is w <- w + (rate / k) sum_i (y_i - w·x_i) x_i, as in von Oswald et al. 2023; where others descend on the
    sum, their rate is this one over k. One step at rate 1 is `averaging`; many small steps end at minimum-norm least
    squares.

    ``rate = "best"`` is the constant rate whose expected error is least on linear functions, w ~ N(0, I), with Gaussian
    inputs of these dimensions, as many examples and the prompts' label noise, whatever class and inputs the prompts are
    of: see `baselines.descent_rates`. For one step without noise it is k / (k + d + 1), with the error
    (d + 1) / (k + d + 1), since the error at another rate is (1 - rate)^2 + rate^2 (d + 1) / k.
    """

    answers = NUMBERS_AND_VECTORS

    id_fields: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(1, ge=1, le=10_000, description="number of steps")
    rate: Rate = Field(
        "best", description="what a step multiplies the gradient by, above 0; best: that of the least expected error"
    )

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        rates = torch.zeros(prompts.points, dtype=torch.float64)
        for k in _asked(prompts):
            rates[k] = self.rate_at(k, prompts.dims, prompts.noise_variance)
        return _descended(prompts, self.steps, rates[:, None, None] * torch.eye(prompts.dims, dtype=torch.float64))

    def rate_at(self, k: int, dims: int, noise_variance: float = 0.0) -> float:
        """The rate for prompts of ``k`` examples, from one on."""
        return best_rate(dims, k, self.steps, noise_variance) if self.rate == "best" else self.rate


@register_baseline("preconditioned_gradient_descent")
class PreconditionedGradientDescent(Baseline):
    """Predict w·x after ``steps`` steps w <- w + M (1/k) sum_i (y_i - w·x_i) x_i from w = 0, M fitted to the inputs.

    M = ((1 + 1/k) S + (tr S + s) / k I)^-1 with S = E x x^T under ``inputs`` and s the variance of the label noise: the
    matrix of the least expected error after one step for x ~ N(0, S) and w ~ N(0, I), which one layer of linear
    attention finds when it is trained on prompts of k examples. Sources: Ahn et al. 2023, theorem 1; Zhang, Frei and
    Bartlett 2023 (arXiv 2306.09927); with noise, Mahankali et al. 2023 (arXiv 2307.03576). For Gaussian inputs, the
    default, M is a multiple of the identity, and one step that of `gradient_descent` at its best rate. Further steps
    repeat M, and may overshoot where k is below d.

    ``inputs`` are those that a model was trained on; those of the prompts don't change M. Of inputs that are not
    Gaussian only S counts: it is E|x|^2 / d I where their distribution has no direction, else estimated from 2^17 fixed
    draws. The other preconditioner in use, Newton's (X^T X / k + c I)^-1, makes one step `ridge` with the penalty c k.
    """

    answers = NUMBERS_AND_VECTORS

    id_fields: ClassVar[tuple[str, ...]] = ("steps",)

    steps: int = Field(1, ge=1, le=10_000, description="number of steps")
    inputs: AnyInputs = Field(
        "gaussian", validate_default=True, description="the inputs that the preconditioner is made for"
    )

    def check_dims(self, dims: int) -> None:
        self.inputs.check_dims(dims)
        if not math.isfinite(self.inputs.squared_norm(dims)):
            raise UserError(f"expected inputs with a covariance, found {self.inputs.id}", subject=self.id)

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        dims = prompts.dims
        self.check_dims(dims)
        covariance = _covariance(_Inputs.of(self.inputs), dims)
        spread = covariance.trace() + prompts.noise_variance
        matrices = torch.zeros(prompts.points, dims, dims, dtype=torch.float64)
        for k in _asked(prompts):
            inverse = (1 + 1 / k) * covariance + spread / k * torch.eye(dims, dtype=torch.float64)
            matrices[k] = torch.linalg.inv(inverse)
        return _descended(prompts, self.steps, matrices)


def _asked(prompts: Prompts) -> list[int]:
    """The numbers of examples, from one on, at which any prompt is asked."""
    asked = range(prompts.points) if prompts.mask is None else prompts.mask.any(dim=0).nonzero().flatten().tolist()
    return [k for k in asked if k > 0]


def _descended(
    prompts: Prompts, steps: int, matrices: Float[Tensor, "points dims dims"]
) -> Float[Tensor, "batch points"]:
    """Entry k: w·x at query k after steps w <- w + M_k (b_k - S_k w) from 0, S_k and b_k the means of x x^T and y x."""
    batch, points, dims = prompts.xs.shape
    size = max(1, _CHUNK // (points * dims**2))
    matrices = matrices.to(prompts.xs.device)
    predictions = []
    for start in range(0, batch, size):
        part = prompts[start : start + size]
        xs = part.xs.double()
        squares = _means_before(xs.unsqueeze(-1) * xs.unsqueeze(-2))
        products = _means_before(part.ys.double().unsqueeze(-1) * xs)
        weights = torch.zeros_like(products)
        for _ in range(steps):
            left = products - (squares @ weights.unsqueeze(-1)).squeeze(-1)
            weights = weights + (matrices @ left.unsqueeze(-1)).squeeze(-1)
        predictions.append((weights * part.query().double()).sum(-1))
    return torch.cat(predictions) if predictions else prompts.ys.double()


def _means_before(values: Float[Tensor, "batch points ..."]) -> Float[Tensor, "batch points ..."]:
    """Entry k: the mean of the first k values; 0 at k = 0."""
    counts = torch.arange(1, values.shape[1], device=values.device).view(-1, *[1] * (values.ndim - 2))
    means = values[:, :-1].cumsum(dim=1) / counts
    return torch.cat([torch.zeros_like(values[:, :1]), means], dim=1)


@dataclass(frozen=True)
class _Inputs:
    """All that decides a covariance, hashable whatever the fields of the inputs are."""

    spec: str
    code: tuple[type, ...]
    distribution: InputDistribution = field(compare=False)

    @classmethod
    def of(cls, inputs: InputDistribution) -> _Inputs:
        plain = inputs.without_given_ids()
        return cls(json.dumps(plain.spec(by_content=True), sort_keys=True), code_of(plain), plain)


@lru_cache(maxsize=64)
def _covariance(inputs: _Inputs, dims: int) -> Float[Tensor, "dims dims"]:
    """The covariance around zero, E x x^T, of some inputs."""
    distribution = inputs.distribution
    trace = distribution.squared_norm(dims)
    if distribution.rotation_invariant(dims):
        return trace / dims * torch.eye(dims, dtype=torch.float64)
    xs = distribution.sample(_DRAWN, 1, dims, generator(0, f"covariance/{inputs.spec}", dims))[:, 0].double()
    found = xs.mT @ xs
    return found * (trace / found.trace())
