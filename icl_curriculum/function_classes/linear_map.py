"""Linear maps, whose labels are vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters, register_function_class


@register_function_class("linear_map")
class LinearMap(FunctionClass):
    """f(x) = W x, m numbers, with independent N(0, 1) entries in the m × d matrix W.

    Its squared error is the sum over the m numbers. Trivial error m d. Oracle: minimum-norm least squares of each
    number, the posterior mean, with error m max(0, d - k) for Gaussian inputs; under label noise of variance s^2 on
    each number it is ridge regression with penalty s^2. With m = 1 it is the linear class.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("label_dims",)

    label_dims: int = Field(  # type: ignore[misc]
        2, ge=1, le=4096, description="numbers of a label, m"
    )

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"W": normal(n, self.label_dims, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points *labels"]:
        values = torch.einsum("npd,nmd->npm", xs, parameters["W"])
        return values.squeeze(-1) if self.label_dims == 1 else values

    def trivial_error(self, dims: int) -> float:
        return float(self.label_dims * dims)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return self.label_dims * squared_norm

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries, penalty=prompts.noise_variance)
