"""MetaICL: the loss on the last output alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from icl_curriculum.core.prompts import concatenate
from icl_curriculum.models.base import Model
from icl_curriculum.models.calling import check_shape, given
from icl_curriculum.training.methods.base import Losses, TrainingMethod, register_method
from icl_curriculum.training.session import TRAINING, Cell, Portion, Session


@register_method("meta_icl")
class MetaIcl(TrainingMethod):
    """MetaICL: the mean over prompts of the weighted squared error at the last position alone.

    The demonstrations and the query of one task stand in one prompt, and nothing but the answer to the query is
    trained. The losses that it returns are means over all positions, as those of other methods. Source: Min et al.
    2022, arXiv 2110.15943.
    """

    def update(self, session: Session) -> Losses:
        losses = add_last_gradients(session.model, session.batch())
        session.step_optimizers()
        return {TRAINING: losses}


def add_last_gradients(model: Model, batch: Sequence[Portion]) -> dict[Cell, Tensor]:
    """Add to ``.grad`` the gradients of the mean over prompts of the weighted squared error at the last position.

    Returns the unweighted errors by cell, means over prompts and all positions, without a graph.
    """
    prompts = concatenate([portion.prompts for portion in batch])
    sizes = [len(portion.prompts) for portion in batch]
    predictions = model(prompts.xs, prompts.ys, **given(instruction=prompts.instruction))
    check_shape(predictions, prompts.targets)
    errors = (predictions.float() - prompts.targets).square()
    weights = torch.tensor([portion.weight / len(prompts) for portion in batch], device=errors.device)
    last = weights.repeat_interleave(torch.tensor(sizes, device=errors.device), output_size=len(prompts))
    (errors[:, -1] * last).sum().backward()
    return {
        portion.cell: part.detach().mean()
        for portion, part in zip(batch, torch.split(errors, sizes), strict=True)
    }  # fmt: skip
