"""A two-layer network trained by gradient descent on the examples of a prompt.

Dimensions: batch = prompts, points = K + 1, dims = d, hidden = units, k = examples.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import generator

#: Adam's decays, and the small number that keeps its division safe, as in PyTorch.
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@register_baseline("mlp_gd")
class NetworkByGradientDescent(Baseline):
    """f(x) = v·relu(W x + b) + c, trained by Adam on the mean squared error over the k examples, all of them at a step.

    It starts from PyTorch's initialisation of linear layers, drawn once: the same for every prompt and length.
    Source: Garg et al. 2022, section 5; their released code takes 100 steps at a rate of 5e-3. On ReLU networks with
    d = 20 that leaves a normalized error of .17 at k = 100, as printed; more steps, or others, gain nothing.
    """

    answers = NUMBERS_AND_VECTORS

    costly: ClassVar[bool] = True

    hidden: int = Field(100, ge=1, le=1_000_000, description="number of hidden units")
    steps: int = Field(100, ge=1, le=10_000_000, description="steps of Adam")
    learning_rate: float = Field(5e-3, gt=0, allow_inf_nan=False, description="rate of Adam")

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        predictions = torch.zeros(prompts.ys.shape, dtype=torch.float64, device=prompts.xs.device)
        # A single prompt is computed twice, as products of one matrix are rounded differently from those of several.
        count = max(2, len(prompts))
        xs, ys, queries = (
            value.double().expand(count, *value.shape[1:]) for value in (prompts.xs, prompts.ys, prompts.query())
        )
        asked = range(prompts.points) if prompts.mask is None else prompts.mask.any(dim=0).nonzero().flatten().tolist()
        for k in asked:
            if k > 0:
                network = self._trained(xs[:, :k], ys[:, :k])
                predictions[:, k] = network.values(queries[:, k : k + 1]).squeeze(1)[: len(prompts)]
        return predictions

    def _trained(self, xs: Float[Tensor, "batch k dims"], ys: Float[Tensor, "batch k"]) -> _Networks:
        networks = _Networks(len(xs), xs.shape[-1], self.hidden, xs.device)
        first, second = torch.zeros_like(networks.flat), torch.zeros_like(networks.flat)
        for step in range(1, self.steps + 1):
            gradient = networks.gradient(xs, ys)
            first.lerp_(gradient, 1 - _BETAS[0])
            second.lerp_(gradient.square(), 1 - _BETAS[1])
            deviation = (second / (1 - _BETAS[1] ** step)).sqrt_().add_(_EPSILON)
            networks.flat.addcdiv_(first, deviation, value=-self.learning_rate / (1 - _BETAS[0] ** step))
        return networks


class _Networks:
    """One network for each prompt, with all parameters in one tensor (batch, parameters)."""

    def __init__(self, count: int, dims: int, hidden: int, device: torch.device) -> None:
        self.shapes = {"w": (dims, hidden), "b": (hidden,), "v": (hidden,), "c": (1,)}
        drawn = generator(0, f"mlp_gd/{dims}/{hidden}")
        bounds = {"w": dims**-0.5, "b": dims**-0.5, "v": hidden**-0.5, "c": hidden**-0.5}
        parts = [
            bounds[name] * (2 * torch.rand(math.prod(shape), generator=drawn, dtype=torch.float64) - 1)
            for name, shape in self.shapes.items()
        ]
        self.flat = torch.cat(parts).to(device).repeat(count, 1)

    def _parts(self, flat: Float[Tensor, "batch parameters"]) -> list[Tensor]:
        """Views of a tensor laid out as the parameters are: w, b, v, c."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = torch.split(flat, sizes, dim=1)
        return [part.view(-1, *shape) for part, shape in zip(parts, self.shapes.values(), strict=True)]

    def values(self, xs: Float[Tensor, "batch k dims"]) -> Float[Tensor, "batch k"]:
        w, b, v, c = self._parts(self.flat)
        hidden = torch.baddbmm(b.unsqueeze(1), xs, w).relu_()
        return torch.baddbmm(c.unsqueeze(1), hidden, v.unsqueeze(-1)).squeeze(-1)

    def gradient(self, xs: Float[Tensor, "batch k dims"], ys: Float[Tensor, "batch k"]) -> Tensor:
        """The gradient of the mean squared error over the examples, laid out as the parameters are."""
        w, b, v, c = self._parts(self.flat)
        hidden = torch.baddbmm(b.unsqueeze(1), xs, w).relu_()
        residuals = torch.baddbmm(c.unsqueeze(1), hidden, v.unsqueeze(-1)).squeeze(-1) - ys
        weighted = residuals * (2 / ys.shape[1])
        by_w, by_b, by_v, by_c = self._parts(gradient := torch.empty_like(self.flat))
        by_c.copy_(weighted.sum(1, keepdim=True))
        by_v.copy_(torch.bmm(hidden.mT, weighted.unsqueeze(-1)).squeeze(-1))
        back = weighted.unsqueeze(-1) * v.unsqueeze(1) * (hidden > 0)
        by_b.copy_(back.sum(1))
        by_w.copy_(torch.bmm(xs.mT, back))
        return gradient
