"""Input distributions of bounded support: in a box, on a sphere, at the corners of a cube.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.inputs.base import InputDistribution, register_inputs


@register_inputs("uniform")
class Uniform(InputDistribution):
    """Independent coordinates uniform on [-b, b]. E|x|^2 = d b^2 / 3, which is d for b = sqrt(3), the default."""

    half_width: float = Field(math.sqrt(3), ge=1e-6, le=1e6, description="b, the largest coordinate")

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        uniform = torch.rand(n, points, dims, generator=generator, device=generator.device)
        return (2 * uniform - 1) * self.half_width

    def squared_norm(self, dims: int) -> float:
        return dims * self.half_width**2 / 3

    def largest(self, dims: int) -> float:
        return self.half_width


@register_inputs("sphere")
class Sphere(InputDistribution):
    """Uniform on the sphere of radius sqrt(d). E|x|^2 = d."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        z = torch.randn(n, points, dims, generator=generator, device=generator.device)
        # In one dimension, one draw in 2^24 is 0, which has no direction.
        z[..., :1] += z.norm(dim=-1, keepdim=True) == 0
        return z.div_(z.norm(dim=-1, keepdim=True)).mul_(math.sqrt(dims))

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def largest(self, dims: int) -> float:
        return math.sqrt(dims)

    def rotation_invariant(self, dims: int) -> bool:
        return True


@register_inputs("rademacher")
class Rademacher(InputDistribution):
    """Independent coordinates, -1 or 1 with equal probability. E|x|^2 = d."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        drawn = torch.randint(0, 2, (n, points, dims), generator=generator, device=generator.device)
        return (2 * drawn - 1).to(torch.get_default_dtype())

    def squared_norm(self, dims: int) -> float:
        return float(dims)

    def largest(self, dims: int) -> float:
        return 1.0

    def only_signs(self, dims: int) -> bool:
        return True
