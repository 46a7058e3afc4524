"""Random combinations of Chebyshev polynomials on [-1, 1]."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.core.transfers import free_to_look
from icl_curriculum.function_classes.base import (
    FunctionClass,
    OracleKind,
    OutsideDomain,
    Parameters,
    register_function_class,
)

#: The variance of the rounding of float32 labels, which inputs close together would otherwise enlarge without bound.
_ROUNDING = 1e-13


@register_function_class("chebyshev")
class Chebyshev(FunctionClass):
    """f(x) = sum_{j=lowest..highest} a_j T_j(x), a ~ N(0, I), for x in [-1, 1]; one dimension.

    T_j(cos t) = cos(j t). Trivial error under U[-1, 1]: sum_j (1 - 1 / (4 j^2 - 1)) / 2, 4.4609 for degrees
    3 to 11. An x outside is an error. Oracle: minimum-norm least squares on the basis, the posterior mean
    (ridge under label noise). Source: T_j and their moments as in Mason and Handscomb 2003.
    """

    reference_inputs: ClassVar[str | dict[str, Any]] = {"name": "uniform", "half_width": 1.0}
    largest_input: ClassVar[float] = 1.0
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = ("zero", "least_squares", "knn")

    lowest: int = Field(3, ge=0, le=100, description="lowest degree")
    highest: int = Field(11, ge=0, le=100, description="highest degree")

    @model_validator(mode="after")
    def _degrees(self) -> Chebyshev:
        if self.lowest > self.highest:
            raise UserError(f"chebyshev: lowest degree {self.lowest} exceeds the highest, {self.highest}")
        return self

    @property
    def growth(self) -> float:
        return float(self.highest)

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def check_dims(self, dims: int) -> None:
        if dims != 1:
            raise UserError(f"expected 1 dimension, found {dims}", subject=self.name, way_out="set dims = 1")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        self.check_dims(dims)
        return {"a": normal(n, self.highest - self.lowest + 1, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points 1"]) -> Float[Tensor, "n points"]:
        """Raises OutsideDomain for an x outside [-1, 1], or one that is NaN."""
        return torch.einsum("npj,nj->np", self._basis(xs), parameters["a"])

    def trivial_error(self, dims: int) -> float:
        # T_0 is 1: the formula gives (1 + 1) / 2.
        return sum((1 - 1 / (4 * j**2 - 1)) / 2 for j in range(self.lowest, self.highest + 1))

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        penalty = max(prompts.noise_variance, _ROUNDING)
        asked = None if prompts.queries is None else self._basis(prompts.queries.double())
        answers = predict_every_prefix(
            self._basis(prompts.xs.double()), prompts.ys.double() / prompts.scale, asked, penalty=penalty
        )
        return answers * prompts.scale

    def _basis(self, xs: Float[Tensor, "n points 1"]) -> Float[Tensor, "n points degrees"]:
        """The values T_lowest(x) to T_highest(x), by the recurrence T_{j+1} = 2 x T_j - T_{j-1}."""
        t = xs.squeeze(-1)
        outside = ~(t.abs() <= 1)
        # On a GPU the program would wait for the answer at every draw; a config with such inputs is refused before.
        if free_to_look(outside) and bool(outside.any()):
            raise OutsideDomain(f"chebyshev: expected inputs in [-1, 1], found x = {float(t[outside][0]):.6g}")
        values = [torch.ones_like(t), t]
        for _ in range(2, self.highest + 1):
            values.append(2 * t * values[-1] - values[-2])
        return torch.stack(values[self.lowest : self.highest + 1], dim=-1)
