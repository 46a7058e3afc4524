"""Random tensors that more than one kind of component draws, each on its generator's device.

Dimensions: n = draws, dims = d.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator, device=generator.device)


def unit_vectors(n: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n dims"]:
    """Vectors drawn uniformly on the unit sphere."""
    z = normal(n, dims, generator=generator)
    norms = z.norm(dim=1, keepdim=True)
    # A draw of exactly 0, which float32 gives once in some ten million, has no direction of its own.
    return torch.where(norms > 0, z / norms, torch.full_like(z, dims**-0.5))


def student_t(*shape: int, df: float, generator: torch.Generator) -> Tensor:
    """Numbers from Student's t distribution with ``df`` degrees of freedom."""
    z = normal(*shape, generator=generator)
    # Chi-squared with df degrees is 2 Gamma(df / 2); the public Gamma sampler takes no generator.
    half = torch.full(shape, df / 2, device=generator.device)
    chi_squared = 2 * torch._standard_gamma(half, generator=generator)
    drawn: Tensor = z / (chi_squared / df).sqrt()
    return drawn


def random_rotations(n: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n dims dims"]:
    """Orthogonal matrices of the Haar measure, by QR with R's diagonal made positive (Mezzadri 2007)."""
    q, r = torch.linalg.qr(normal(n, dims, dims, generator=generator))
    rotations: Tensor = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return rotations
