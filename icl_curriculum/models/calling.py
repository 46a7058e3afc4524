"""How a model's forward pass is called, and what its errors are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def given(**options: object) -> dict[str, Any]:
    """The keywords that say anything: a model without a capability does not know its keyword."""
    return {name: value for name, value in options.items() if value is not None}


def prompt_errors(
    predictions: Float[Tensor, "batch points"], targets: Float[Tensor, "batch points"]
) -> Float[Tensor, " batch"]:
    """The mean squared error of each prompt, in float32; ValueError for predictions of another shape or type.

    Broadcasting would train on something else without a word.
    """
    check_shape(predictions, targets)
    half = (torch.bfloat16, torch.float16) if torch.is_autocast_enabled(predictions.device.type) else ()
    if predictions.dtype not in (torch.float32, targets.dtype, *half):
        raise ValueError(f"predictions are {predictions.dtype}, expected {targets.dtype}")
    return (predictions.float() - targets).square().mean(dim=1)


def by_prefix(
    ask: Callable[[Tensor, Tensor], Tensor],
    xs: Float[Tensor, "batch points dims"],
    ys: Float[Tensor, "batch points"],
    queries: Float[Tensor, "batch points dims"],
) -> Float[Tensor, "batch points"]:
    """The answers to separate queries, each asked as the last input of a plain prompt of its own, without its label."""
    found = []
    for k in range(xs.shape[1]):
        inputs = torch.cat([xs[:, :k], queries[:, k : k + 1]], dim=1)
        labels = torch.cat([ys[:, :k], torch.zeros_like(ys[:, k : k + 1])], dim=1)
        found.append(ask(inputs, labels)[:, k])
    return torch.stack(found, dim=1)


def check_shape(predictions: Tensor, targets: Tensor) -> None:
    """Raise ValueError unless there is a prediction for every target."""
    if not isinstance(predictions, Tensor):
        raise ValueError(f"predictions are a {type(predictions).__name__}, expected a tensor")
    if predictions.shape != targets.shape:
        expected = f"{tuple(targets.shape)} (prompts, points)"
        raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
