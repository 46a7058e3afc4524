"""Linear functions: dense, noisy, sparse, and their signs (Garg et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.component import ADDED_LATER
from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes.base import (
    FunctionClass,
    OracleKind,
    Parameters,
    SignValued,
    register_function_class,
)


@register_function_class("linear")
class Linear(FunctionClass):
    """f(x) = w·x with w ~ N(0, I).

    Trivial error d. Oracle: minimum-norm least squares, the posterior mean for any inputs that do not
    depend on w, with error max(0, d - k) for Gaussian inputs; under label noise of variance s^2 the
    posterior mean is ridge regression with penalty s^2. Source: Garg et al. 2022, section 3.
    """

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims: int) -> float:
        return float(dims)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return squared_norm

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries, penalty=prompts.noise_variance)


@register_function_class("noisy_linear")
class NoisyLinear(Linear):
    """f(x) = w·x with w ~ N(0, I), and noise N(0, s^2) on the labels in context: s = 1 unless ``label_noise`` says.

    Trivial error d, of the clean f. Oracle: ridge regression with penalty s^2, the posterior mean, with
    error s^2 E tr(X^T X + s^2 I)^-1. Source: Garg et al. 2022, appendix; Raventos et al. 2023.
    """

    label_noise: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="standard deviation of the noise on context labels, raw units"
    )


@register_function_class("sparse_linear")
class SparseLinear(Linear):
    """f(x) = w·x where all but ``sparsity`` coordinates of w ~ N(0, I) are set to zero.

    The support is uniform among the coordinates from ``first`` to ``last`` and drawn afresh for every function. Trivial
    error s. Oracle: least squares on
    the true support, an informed lower bound with error max(0, s - k) for Gaussian inputs.
    Source: Garg et al. 2022, section 4.
    """

    @property
    def oracle_kind(self) -> OracleKind:
        return "lower bound"

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "ridge", *({"name": "lasso", "alpha": 10.0**-e} for e in range(5)), "knn",
    )  # fmt: skip

    sparsity: int = Field(3, ge=1, le=1_000_000, description="number of non-zero coordinates, s")
    first: int = Field(
        1, ge=1, le=1_000_000, description="first coordinate that may be non-zero", json_schema_extra=ADDED_LATER
    )
    last: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="last coordinate that may be non-zero; none: d",
        json_schema_extra=ADDED_LATER,
    )

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        self.check_dims(dims)
        w = normal(n, dims, generator=generator)
        drawn = torch.rand(n, dims, generator=generator, device=generator.device)
        # Those that stay zero come last.
        drawn[:, : self.first - 1] = 2.0
        drawn[:, self.last or dims :] = 2.0
        order = drawn.argsort(dim=1)
        support = torch.zeros_like(w).scatter_(1, order[:, : self.sparsity], 1.0)
        return {"w": w * support, "support": support}

    def check_dims(self, dims: int) -> None:
        if self.sparsity > dims:
            raise UserError(f"sparsity {self.sparsity} exceeds the number of dimensions {dims}", subject=self.name)
        last = dims if self.last is None else self.last
        if last > dims:
            raise UserError(f"last {last} exceeds the number of dimensions {dims}", subject=self.name)
        if self.sparsity > last - self.first + 1:
            raise UserError(
                f"sparsity {self.sparsity} exceeds the number of coordinates from {self.first} to {last}",
                subject=self.name,
            )

    def trivial_error(self, dims: int) -> float:
        return float(self.sparsity)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        if spectrum is None and (self.first > 1 or self.last not in (None, dims)):
            return None  # It depends on how large which coordinate is.
        return squared_norm * self.sparsity / dims

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        if prompts.truth is None:
            raise ValueError("the sparse_linear oracle reads the support from prompts.truth, which is missing")
        support = prompts.truth["support"].unsqueeze(1)
        asked = prompts.query() * support
        return predict_every_prefix(prompts.xs * support, prompts.ys, asked, penalty=prompts.noise_variance)


@register_function_class("linear_classification")
class LinearClassification(SignValued):
    """f(x) = sign(w·x) with w ~ N(0, I); 1 where w·x = 0.

    Trivial error 1. No oracle in closed form: the posterior of w is a Gaussian cut to a cone.
    Source: Garg et al. 2022, code release.
    """

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        t = torch.einsum("npd,nd->np", xs, parameters["w"])
        return torch.where(t < 0, -torch.ones_like(t), torch.ones_like(t))
