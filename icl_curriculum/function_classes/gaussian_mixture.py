"""Linear functions whose weights come from a mixture of two Gaussians (Panwar et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import fit_every_prefix, log_evidence
from icl_curriculum.function_classes.base import Parameters, register_function_class
from icl_curriculum.function_classes.linear import Linear


@register_function_class("gaussian_mixture")
class GaussianMixture(Linear):
    """f(x) = w·x, w from N(m e_1, I - e_1 e_1^T) or N(-m e_1, I - e_1 e_1^T), each with probability 1/2.

    So w_1 is m or -m, and the other weights are N(0, 1). The sign is drawn for every function; m = 3.
    Trivial error d - 1 + m^2, which is d + 8. Oracle: the posterior mean, least squares (ridge under label
    noise) on the other coordinates given each sign of w_1, weighted by the evidence for the signs.
    Source: Panwar et al. 2024 (ICLR).
    """

    separation: float = Field(3.0, gt=0, le=1e6, description="m, the size of the first weight")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        w = super().sample(n, dims, generator)["w"]
        positive = torch.rand(n, generator=generator, device=generator.device) < 0.5
        w[:, 0] = torch.where(positive, self.separation, -self.separation)
        return {"w": w}

    def trivial_error(self, dims: int) -> float:
        return dims - 1 + self.separation**2

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        # In a uniformly random basis every coordinate has the same share of E|x|^2.
        return None if spectrum is None else sum(spectrum) / dims * self.trivial_error(dims)

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        ys, penalty = prompts.ys.double() / prompts.scale, prompts.noise_variance
        xs, asked = prompts.xs.double(), prompts.query().double()
        answers, evidence = [], []
        for first in (self.separation, -self.separation):
            fits = fit_every_prefix(xs[:, :, 1:], ys - first * xs[:, :, 0], asked[:, :, 1:], penalty=penalty)
            answers.append(fits.predictions + first * asked[:, :, 0])
            evidence.append(log_evidence(fits, xs.square().sum(-1)))
        weights = torch.stack(evidence).softmax(dim=0)
        return (weights * torch.stack(answers)).sum(dim=0) * prompts.scale
