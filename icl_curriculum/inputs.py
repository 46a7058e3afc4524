"""Input distributions. Each states E|x|^2 and, where it is a Gaussian, its spectrum.

Dimensions: n = prompts, points = K + 1, dims = d. Context and query of a prompt share whatever is drawn per prompt.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.registry import INPUTS, Component
from icl_curriculum.streams import generator as stream_generator


class InputDistribution(Component):
    """A distribution of the inputs of a prompt."""

    @property
    def tail_index(self) -> float:
        """Moments of |x| exist below this order; infinite for light tails."""
        return math.inf

    @abstractmethod
    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        """Draw the inputs of ``n`` prompts."""

    @abstractmethod
    def squared_norm(self, dims: int) -> float:
        """E|x|^2."""

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        """Eigenvalues of the covariance if x ~ N(0, S) in a basis drawn uniformly per prompt, else None."""
        return None


register_inputs = INPUTS.of(InputDistribution)


@register_inputs("gaussian")
class Gaussian(InputDistribution):
    """x ~ N(0, I). E|x|^2 = d."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return torch.randn(n, points, dims, generator=generator, device=generator.device)

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        return (1.0,) * dims


@register_inputs("skewed")
class Skewed(InputDistribution):
    """x ~ N(0, U D^2 U^T), D proportional to diag(1, 1/2, ..., 1/d), U a uniform rotation. E|x|^2 = d.

    The rotation is fresh for every prompt; ``basis = "shared"`` uses one for all prompts, drawn from
    ``basis_seed``. Source: Garg et al. 2022, section 4, whose evaluation rotates every prompt.
    """

    basis: Literal["prompt", "shared"] = Field("prompt", description="a rotation per prompt, or one for all")
    basis_seed: int = Field(0, ge=0, description="seed of the shared rotation")

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        z = torch.randn(n, points, dims, generator=generator, device=generator.device)
        if self.basis == "prompt":
            rotation = random_rotations(n, dims, generator)
        else:
            shared = stream_generator(self.basis_seed, "skewed basis", dims, generator.device)
            rotation = random_rotations(1, dims, shared)
        scales = torch.tensor(self._variances(dims), device=generator.device).sqrt()
        return (z * scales) @ rotation.mT

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        return self._variances(dims) if self.basis == "prompt" else None

    @staticmethod
    def _variances(dims: int) -> tuple[float, ...]:
        total = sum(1 / i**2 for i in range(1, dims + 1))
        return tuple(dims / total / i**2 for i in range(1, dims + 1))


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
        shape = (n, points, dims)
        z = torch.randn(shape, generator=generator, device=generator.device)
        # Chi-squared with df degrees is 2 Gamma(df / 2); the public Gamma sampler takes no generator.
        half = torch.full(shape, self.df / 2, device=generator.device)
        chi_squared = 2 * torch._standard_gamma(half, generator=generator)
        xs: Tensor = z / (chi_squared / self.df).sqrt()
        return xs

    def squared_norm(self, dims: int) -> float:
        return dims * self.df / (self.df - 2) if self.df > 2 else math.inf


def random_rotations(n: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n dims dims"]:
    """Orthogonal matrices from the Haar measure: QR with the signs of R's diagonal made positive (Mezzadri 2007)."""
    q, r = torch.linalg.qr(torch.randn(n, dims, dims, generator=generator, device=generator.device))
    rotations: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return rotations
