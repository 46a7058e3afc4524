"""Gaussian input distributions: standard, skewed, in a subspace, around another mean.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal, random_rotations
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.streams import generator as stream_generator
from icl_curriculum.core.transfers import sent
from icl_curriculum.inputs.base import InputDistribution, register_inputs


@register_inputs("gaussian")
class Gaussian(InputDistribution):
    """x ~ N(0, I). E|x|^2 = d."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return normal(n, points, dims, generator=generator)

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
        z = normal(n, points, dims, generator=generator)
        if self.basis == "prompt":
            rotation = random_rotations(n, dims, generator)
        else:
            shared = stream_generator(self.basis_seed, "skewed basis", dims, generator.device)
            rotation = random_rotations(1, dims, shared)
        scales = sent(torch.tensor(self._variances(dims)), generator.device).sqrt()
        return (z * scales) @ rotation.mT

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        return self._variances(dims) if self.basis == "prompt" else None

    @staticmethod
    def _variances(dims: int) -> tuple[float, ...]:
        total = sum(1 / i**2 for i in range(1, dims + 1))
        return tuple(dims / total / i**2 for i in range(1, dims + 1))


@register_inputs("half_subspace")
class HalfSubspace(InputDistribution):
    """x ~ N(0, P d/r) with P the projection on a uniformly random subspace of r = floor(d / 2) dimensions. E|x|^2 = d.

    The subspace is fresh for every prompt. Source: Garg et al. 2022, section 4.
    """

    def check_dims(self, dims: int) -> None:
        if dims < 2:
            raise UserError(f"expected 2 dimensions or more, found {dims}", subject=self.name)

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        self.check_dims(dims)
        rank = dims // 2
        z = normal(n, points, rank, generator=generator)
        basis = random_rotations(n, dims, generator)[:, :, :rank]
        return (z @ basis.mT) * math.sqrt(dims / rank)

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        self.check_dims(dims)
        rank = dims // 2
        return (dims / rank,) * rank + (0.0,) * (dims - rank)


@register_inputs("shifted")
class Shifted(InputDistribution):
    """x ~ N(m 1, I): every coordinate has mean m. E|x|^2 = d (1 + m^2)."""

    id_fields: ClassVar[tuple[str, ...]] = ("mean",)

    mean: float = Field(1.0, ge=-1e6, le=1e6, description="mean of every coordinate, m")

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        z = normal(n, points, dims, generator=generator)
        xs: Tensor = z + self.mean
        return xs

    def squared_norm(self, dims: int) -> float:
        return dims * (1 + self.mean**2)
