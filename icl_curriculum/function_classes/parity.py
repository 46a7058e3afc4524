"""Sparse parities (Bhattamishra et al. 2024)."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.transfers import free_to_look
from icl_curriculum.function_classes.base import (
    OracleKind,
    OutsideDomain,
    Parameters,
    SignValued,
    register_function_class,
)

#: The most subsets for which there is an oracle, as it weighs all of them.
MOST_SUBSETS = 20_000
#: How many products are held at once.
_CHUNK = 1 << 24


@register_function_class("parity")
class Parity(SignValued):
    """f(x) = product of x_j over j in S, |S| = ``size``, for inputs of -1 and 1; S is fresh for every function.

    Trivial error 1. Oracle: the mean over the subsets S consistent with the examples, the posterior mean;
    with labels flipped with probability p, weighted by (p / (1 - p)) to the number of contradictions.
    Source: Bhattamishra et al. 2024 (ICLR), sparse parities of size 2 in 10 dimensions.
    """

    reference_inputs: ClassVar[str | dict[str, Any]] = "rademacher"
    sign_inputs: ClassVar[bool] = True
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "quadratic_features", "knn",
    )  # fmt: skip

    size: int = Field(2, ge=1, le=1_000_000, description="number of coordinates multiplied, |S|")

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if math.comb(dims, self.size) <= MOST_SUBSETS else None

    def check_dims(self, dims: int) -> None:
        if self.size > dims:
            raise UserError(f"size {self.size} exceeds the number of dimensions {dims}", subject=self.name)

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        self.check_dims(dims)
        order = torch.rand(n, dims, generator=generator, device=generator.device).argsort(dim=1)
        return {"subset": order[:, : self.size]}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        """Raises OutsideDomain for an x_j that is neither -1 nor 1."""
        self._check(xs)
        chosen = parameters["subset"].unsqueeze(1).expand(-1, xs.shape[1], -1)
        return xs.gather(2, chosen).prod(dim=-1)

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        self._check(prompts.query())
        subsets = _subsets(prompts.dims, self.size)
        step = max(1, _CHUNK // (prompts.points * len(subsets)))
        parts = [self._posterior_mean(prompts[i : i + step], subsets) for i in range(0, len(prompts), step)]
        return torch.cat(parts)

    def _posterior_mean(
        self, prompts: Prompts, subsets: Int64[Tensor, "subsets size"]
    ) -> Float[Tensor, "batch points"]:
        subsets = subsets.to(prompts.xs.device)
        wrong = prompts.xs.double()[:, :, subsets].prod(-1) != prompts.ys.double().sign().unsqueeze(-1)
        before = wrong.double().cumsum(dim=1) - wrong.double()
        # Flips with probability p have the standard deviation 2 sqrt(p (1 - p)).
        flipped = prompts.flip_probability
        least = before.amin(dim=-1, keepdim=True)
        # Without noise the true subset is never contradicted, so the least count is 0, and only subsets with 0 count.
        weights = (flipped / (1 - flipped)) ** (before - least)
        answers = prompts.query().double()[:, :, subsets].prod(-1)
        return (weights * answers).sum(-1) / weights.sum(-1) * prompts.scale

    @staticmethod
    def _check(xs: Tensor) -> None:
        outside = xs.abs() != 1
        if free_to_look(outside) and bool(outside.any()):
            raise OutsideDomain(f"parity: expected inputs of -1 and 1, found {float(xs[outside][0]):.6g}")


@lru_cache(maxsize=4)
def _subsets(dims: int, size: int) -> Int64[Tensor, "subsets size"]:
    return torch.tensor(list(combinations(range(dims), size)))
