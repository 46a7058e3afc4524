"""Input distributions with independent coordinates of heavier tails than the Gaussian's.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import student_t
from icl_curriculum.inputs.base import InputDistribution, register_inputs


@register_inputs("student_t")
class StudentT(InputDistribution):
    """Independent coordinates from Student's t with ``df`` degrees of freedom. E|x|^2 = d df / (df - 2).

    The squared error of a class of degree p is finite for df > 2p, its Monte Carlo variance for df > 4p.
    Source: Bhasin et al. 2024 (df = 4).
    """

    df: float = Field(4.0, ge=0.5, le=1e6, description="degrees of freedom; with fewer than 0.5, float32 overflows")

    @property
    def tail_index(self) -> float:
        return self.df

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return student_t(n, points, dims, df=self.df, generator=generator)

    def squared_norm(self, dims: int) -> float:
        return dims * self.df / (self.df - 2) if self.df > 2 else math.inf


@register_inputs("cauchy")
class Cauchy(InputDistribution):
    """Independent standard Cauchy coordinates, Student's t with one degree of freedom. E|x|^2 is infinite.

    No class that grows with its inputs has a mean squared error under it, so medians are reported.
    """

    @property
    def tail_index(self) -> float:
        return 1.0

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return student_t(n, points, dims, df=1.0, generator=generator)

    def squared_norm(self, dims: int) -> float:
        return math.inf


@register_inputs("laplace")
class Laplace(InputDistribution):
    """Independent Laplace coordinates of scale b, density exp(-|x| / b) / 2b, variance 2 b^2. E|x|^2 = 2 d b^2."""

    scale: float = Field(1.0, ge=1e-6, le=1e6, description="b, the mean of |x_j|")

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        uniform = torch.rand(n, points, dims, generator=generator, device=generator.device)
        signs = torch.randint(0, 2, (n, points, dims), generator=generator, device=generator.device) * 2 - 1
        # 1 - u is never zero: u < 1.
        return signs * -torch.log1p(-uniform) * self.scale

    def squared_norm(self, dims: int) -> float:
        return 2 * dims * self.scale**2
