"""Plain in-context training, and the gradients of its loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icl_curriculum.core.prompts import concatenate
from icl_curriculum.models.base import Model
from icl_curriculum.models.calling import given
from icl_curriculum.training.methods.base import Losses, TrainingMethod, register_method
from icl_curriculum.training.session import TRAINING, Cell, Portion, Session


@register_method("in_context")
class InContext(TrainingMethod):
    """Plain in-context training: the mean over prompts and all positions of the weighted squared error.

    Source: Garg et al. 2022, equation 2.
    """

    def update(self, session: Session) -> Losses:
        losses = add_gradients(session.model, session.batch())
        session.step_optimizers()
        return {TRAINING: losses}


def add_gradients(model: Model, batch: Sequence[Portion]) -> dict[Cell, Tensor]:
    """Add the gradients of the mean over prompts of the weighted squared error to ``.grad``; the errors by cell.

    The errors are unweighted means over all prompts of the cell and over positions, scalar tensors that are not waited
    for. Raises ValueError for prompts with separate queries or a mask, which `Session.draw` never gives.
    """
    prompts = concatenate([portion.prompts for portion in batch])
    sizes = [len(portion.prompts) for portion in batch]
    weights = torch.tensor([portion.weight / len(prompts) for portion in batch], device=prompts.xs.device)
    repeated = weights.repeat_interleave(torch.tensor(sizes, device=weights.device), output_size=len(prompts))
    told = given(instruction=prompts.instruction)
    errors = model.backward(prompts.xs, prompts.ys, prompts.targets, repeated, **told)
    parts: dict[Cell, list[Tensor]] = {}
    for portion, part in zip(batch, torch.split(errors, sizes), strict=True):
        parts.setdefault(portion.cell, []).append(part)
    return {cell: (found[0] if len(found) == 1 else torch.cat(found)).mean() for cell, found in parts.items()}
