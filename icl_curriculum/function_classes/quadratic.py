"""Diagonal quadratic functions (Garg et al. 2022, appendix)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters, register_function_class


@register_function_class("quadratic")
class Quadratic(FunctionClass):
    """f(x) = sum_j w_j x_j^2 / sqrt(3) with w ~ N(0, I).

    Trivial error d, since E x^4 = 3. Oracle: minimum-norm least squares on the squares (ridge under
    label noise), the posterior mean. Source: Garg et al. 2022, code release.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "ridge", "quadratic_features", "kernel_ridge", "knn",
    )  # fmt: skip

    @property
    def growth(self) -> float:
        return 2.0

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        return torch.einsum("npd,nd->np", xs.square(), parameters["w"]) / math.sqrt(3)

    def trivial_error(self, dims: int) -> float:
        return float(dims)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        """For a covariance S in a random basis, this is sum_j E S_jj^2 = (tr(S)^2 + 2 tr(S^2)) / (d + 2)."""
        if spectrum is None:
            return None
        trace, squares = sum(spectrum), sum(value * value for value in spectrum)
        return (trace**2 + 2 * squares) / (dims + 2)

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        xs, asked = (values.square() / math.sqrt(3) for values in (prompts.xs, prompts.query()))
        return predict_every_prefix(xs, prompts.ys, asked, penalty=prompts.noise_variance)
