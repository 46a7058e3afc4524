"""Hermite polynomials of a random projection (Bhasin et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.polynomial import hermite_e
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal, unit_vectors
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters, register_function_class


@register_function_class("hermite")
class Hermite(FunctionClass):
    """f(x) = p^(-1/2) sum_{j=1..p} He_j(w·x) / sqrt(j!), p the degree, He_j the probabilists' polynomials.

    ``weights = "unit"``: w uniform on the sphere, trivial error 1. ``weights = "gaussian"``:
    w ~ N(0, I), as Bhasin et al. draw it; the trivial error then grows to 20 x (1, 16.5, 447) for
    p = 1, 2, 3 at d = 20. Oracle: that of `linear` for p = 1 and Gaussian weights, which is the linear class;
    none is known otherwise. Source: Bhasin et al. 2024, section 2.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "ridge", "quadratic_features", "kernel_ridge", "knn",
    )  # fmt: skip
    id_fields: ClassVar[tuple[str, ...]] = ("degree",)

    degree: int = Field(2, ge=1, le=4, description="highest degree, p")
    weights: Literal["unit", "gaussian"] = Field("unit", description="|w| = 1, or w ~ N(0, I)")

    @property
    def growth(self) -> float:
        return float(self.degree)

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum" if self.degree == 1 and self.weights == "gaussian" else None

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        if self.weights == "unit":
            return {"w": unit_vectors(n, dims, generator)}
        return {"w": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        t = torch.einsum("npd,nd->np", xs, parameters["w"])
        previous, current = torch.ones_like(t), t
        total = torch.zeros_like(t)
        for j in range(1, self.degree + 1):
            total = total + current / math.sqrt(math.factorial(j))
            previous, current = current, t * current - j * previous
        return total / math.sqrt(self.degree)

    def trivial_error(self, dims: int) -> float:
        return self._second_moment([1.0] * dims)

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        if spectrum is not None:
            return self._second_moment(spectrum)
        if self.degree == 1:
            return squared_norm if self.weights == "gaussian" else squared_norm / dims
        return None

    def _second_moment(self, spectrum: Sequence[float]) -> float:
        """E f^2 where w·x given w is N(0, q), q = w^T S w: a polynomial in the moments of q."""
        p = self.degree
        series = np.array([0.0] + [1 / math.sqrt(p * math.factorial(j)) for j in range(1, p + 1)])
        squared = np.polynomial.polynomial.polypow(hermite_e.herme2poly(series), 2)
        moments = _quadratic_form_moments(spectrum, p)
        if self.weights == "unit":
            dims = len(spectrum)
            moments = [m / math.prod(dims + 2 * j for j in range(i)) for i, m in enumerate(moments)]
        # E t^(2i) = (2i - 1)!! E q^i
        double_factorials = [math.prod(range(1, 2 * i, 2)) for i in range(p + 1)]
        return float(sum(squared[2 * i] * double_factorials[i] * moments[i] for i in range(p + 1)))

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries, penalty=prompts.noise_variance)


def _quadratic_form_moments(spectrum: Sequence[float], order: int) -> list[float]:
    """E q^i for i = 0..order, q = sum_j s_j z_j^2 with z ~ N(0, I), from its cumulants 2^(i-1) (i-1)! tr S^i."""
    cumulants = [0.0] + [
        2 ** (i - 1) * math.factorial(i - 1) * sum(value**i for value in spectrum) for i in range(1, order + 1)
    ]
    moments = [1.0]
    for n in range(1, order + 1):
        moments.append(sum(math.comb(n - 1, i - 1) * cumulants[i] * moments[n - i] for i in range(1, n + 1)))
    return moments
