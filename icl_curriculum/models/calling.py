"""How a model's forward pass is called, and what its errors are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.progress import one_by_one
from icl_curriculum.core.prompts import Prompts


def given(**options: object) -> dict[str, Any]:
    """The keywords that say anything: a model without a capability does not know its keyword."""
    return {name: value for name, value in options.items() if value is not None}


def prompt_errors(predictions: Tensor, of: Prompts | Float[Tensor, "batch points *labels"]) -> Float[Tensor, " batch"]:
    """The error of each prompt that training descends, in float32; ValueError for another shape or type.

    ``of``: the prompts, or their targets where these are numbers and every entry counts alike. Numbers have squared
    errors, summed over those of a label; classes the cross-entropy of the predictions, which are logits or
    log-probabilities. It is the mean over the entries of a prompt by `Prompts.entry_weights`. Broadcasting would train
    on something else without a word.
    """
    if not isinstance(of, Prompts):
        return mean_errors(predictions, of)
    return mean_errors(predictions, of.targets, of.counted(), classes=of.classes)


def mean_errors(
    predictions: Tensor,
    targets: Float[Tensor, "batch points *labels"],
    entry_weights: Float[Tensor, "batch points"] | None = None,
    *,
    classes: bool = False,
) -> Float[Tensor, " batch"]:
    """The same of targets, and of the weights of entries where they don't all count alike."""
    check_shape(predictions, targets)
    half = (torch.bfloat16, torch.float16) if torch.is_autocast_enabled(predictions.device.type) else ()
    if predictions.dtype not in (torch.float32, targets.dtype, *half):
        raise ValueError(f"predictions are {predictions.dtype}, expected {targets.dtype}")
    if entry_weights is None:
        return entry_errors(predictions.float(), targets, classes=classes).mean(dim=1)
    # What does not count may be no number, which even times zero would be in the sum.
    counts = entry_weights > 0
    known = torch.where(counts if targets.ndim == 2 else counts.unsqueeze(-1), targets, 0.0)
    return (entry_errors(predictions.float(), known, classes=classes) * entry_weights).sum(dim=1)


def entry_errors(
    predictions: Float[Tensor, "batch points *labels"], targets: Float[Tensor, "batch points *labels"], *, classes: bool
) -> Float[Tensor, "batch points"]:
    """The squared error of each entry, summed over the numbers of its label; of classes the cross-entropy."""
    if classes:
        return -(F.log_softmax(predictions, dim=-1) * targets).sum(dim=-1)
    squared = (predictions - targets).square()
    return squared if squared.ndim == 2 else squared.sum(dim=-1)


def by_prefix(
    ask: Callable[[Tensor, Tensor], Tensor],
    xs: Float[Tensor, "batch points dims"],
    ys: Float[Tensor, "batch points *labels"],
    queries: Float[Tensor, "batch points dims"],
) -> Float[Tensor, "batch points *labels"]:
    """The answers to separate queries, each asked as the last input of a plain prompt of its own, without its label.

    Prompt length by prompt length, each of which is told of (`core.progress.heard_by`); nothing of one is kept for the
    next but its answers.
    """
    found = []
    for k in one_by_one(range(xs.shape[1]), "length"):
        inputs = torch.cat([xs[:, :k], queries[:, k : k + 1]], dim=1)
        labels = torch.cat([ys[:, :k], torch.zeros_like(ys[:, k : k + 1])], dim=1)
        # A copy: the answers to the other entries of the prompt go.
        found.append(ask(inputs, labels)[:, k].clone())
    return torch.stack(found, dim=1)


def check_shape(predictions: Tensor, targets: Tensor) -> None:
    """Raise ValueError unless there is a prediction for every target."""
    if not isinstance(predictions, Tensor):
        raise ValueError(f"predictions are a {type(predictions).__name__}, expected a tensor")
    if predictions.shape != targets.shape:
        axes = "prompts, points" if targets.ndim == 2 else "prompts, points, numbers of a label"
        expected = f"{tuple(targets.shape)} ({axes})"
        raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
