"""Random two-layer ReLU networks (Garg et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.function_classes.base import FunctionClass, Parameters, register_function_class


@register_function_class("relu_network")
class ReluNetwork(FunctionClass):
    """f(x) = sqrt(2 / r) W2 relu(W1 x) with r hidden units and weights N(0, 1).

    Trivial error d: E relu(t)^2 is half of E t^2, so E f(x)^2 = E|x|^2 for any inputs. No oracle is
    known. Source: Garg et al. 2022, section 5.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "ridge", "kernel_ridge", "knn", "mlp_gd",
    )  # fmt: skip

    hidden: int = Field(100, ge=1, le=1_000_000, description="number of hidden units, r")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {
            "w1": normal(n, dims, self.hidden, generator=generator),
            "w2": normal(n, self.hidden, generator=generator),
        }

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        hidden = torch.bmm(xs, parameters["w1"]).relu_()
        return torch.bmm(hidden, parameters["w2"].unsqueeze(-1)).squeeze(-1) * math.sqrt(2 / self.hidden)

    def trivial_error(self, dims: int) -> float:
        return float(dims)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return squared_norm
