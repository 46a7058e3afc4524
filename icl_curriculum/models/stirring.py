"""Weights without special values, so that every path through a model matters to what it answers."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def stir(model: nn.Module, generator: torch.Generator) -> None:
    """Add normal noise to every parameter of a model, in place; those that begin at zero or one matter then, too.

    ``generator``: on the CPU. The noise of a matrix has half the size of a usual initialisation.
    """
    for value in model.parameters():
        spread = 0.5 * value.shape[-1] ** -0.5 if value.ndim > 1 else 0.2
        value.add_(spread * torch.randn(value.shape, generator=generator).to(value))
