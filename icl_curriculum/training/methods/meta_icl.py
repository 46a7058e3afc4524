"""MetaICL: the loss on the last output alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import concatenate, shares
from icl_curriculum.models.base import Model, prompt_errors
from icl_curriculum.models.calling import entry_errors, given
from icl_curriculum.training.counting import last_of, number_counting
from icl_curriculum.training.methods.base import Losses, TrainingMethod, register_method
from icl_curriculum.training.methods.in_context import means_by_cell, portion_weights
from icl_curriculum.training.session import TRAINING, Cell, Portion, Session
from icl_curriculum.training.shards import WHOLE, Shards


@register_method("meta_icl")
class MetaIcl(TrainingMethod):
    """MetaICL: the mean over prompts of the weighted squared error at the last position alone.

    The demonstrations and the query of one task stand in one prompt, and nothing but the answer to the query is
    trained. The losses that it returns are means over all positions, as those of other methods. Source: Min et al.
    2022, arXiv 2110.15943.
    """

    weighs_entries = True

    def check(self, training: TrainingConfig, *, cells: int, draw: Literal["batch", "prompt"]) -> None:
        if training.positions != "all":
            raise UserError(f'expected "all", as {self.name} trains the last position alone', key="training.positions")

    def update(self, session: Session) -> Losses:
        losses = add_last_gradients(session.model, session.batch(), session.read_per_point, shards=session.shards)
        session.step_optimizers()
        return {TRAINING: losses}

    def most_shards(self, training: TrainingConfig) -> int:
        return training.batch_size


def add_last_gradients(
    model: Model, batch: Sequence[Portion], each: int = 1, *, shards: Shards = WHOLE
) -> dict[Cell, Tensor]:
    """Add to ``.grad`` the gradients of the mean over prompts of the weighted error at the last position that counts.

    ``each``: the positions of a pair, more than one where it has reasoning steps, which are trained with the answer.

    Returns the errors by cell without these weights, means over prompts and the positions that count, without a graph.
    """
    prompts = concatenate([portion.prompts for portion in batch])
    entries = prompts.counted()
    counting = torch.ones_like(prompts.defined()) if entries is None else entries > 0
    last = replace(prompts, mask=None, loss_weights=shares(last_of(counting, each).to(prompts.xs.dtype)))
    weights = portion_weights(batch, number_counting(entries, len(prompts)))

    def gradients_of(rows: slice) -> Tensor:
        part = prompts[rows]
        predictions = model(part.xs, part.ys, **given(instruction=part.instruction))
        (prompt_errors(predictions, last[rows]) * weights[rows]).sum().backward()  # type: ignore[no-untyped-call]
        found = predictions.detach()
        if entries is None:  # The mean over prompts and positions together, as ever: it is rounded once.
            return entry_errors(found.float(), part.targets, classes=part.classes)
        return prompt_errors(found, part)

    return means_by_cell(batch, shards.gradients(model, len(prompts), gradients_of), entries)
