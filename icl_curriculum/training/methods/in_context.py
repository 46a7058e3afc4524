"""Plain in-context training, and the gradients of its loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.prompts import concatenate
from icl_curriculum.core.transfers import sent
from icl_curriculum.models.base import Model
from icl_curriculum.models.calling import given
from icl_curriculum.training.counting import mean_counting, number_counting
from icl_curriculum.training.methods.base import Losses, TrainingMethod, register_method
from icl_curriculum.training.session import TRAINING, Cell, Portion, Session
from icl_curriculum.training.shards import WHOLE, Shards


@register_method("in_context")
class InContext(TrainingMethod):
    """Plain in-context training: the mean over prompts and all positions of the weighted error.

    Squared errors of numbers and vectors, the cross-entropy of classes; the positions that count, as ``[training]``
    says. Source: Garg et al. 2022, equation 2.
    """

    weighs_entries = True

    def update(self, session: Session) -> Losses:
        with session.model.threads_of_step():
            losses = add_gradients(session.model, session.batch(), shards=session.shards)
            session.step_optimizers()
        return {TRAINING: losses}

    def most_shards(self, training: TrainingConfig) -> int:
        return training.batch_size


def add_gradients(model: Model, batch: Sequence[Portion], *, shards: Shards = WHOLE) -> dict[Cell, Tensor]:
    """Add the gradients of the mean over prompts of the weighted error to ``.grad``; the errors by cell.

    The errors are means over all prompts of the cell that count, and over positions as these count, without the cells'
    weights: scalar tensors that are not waited for. ``shards``: those of the session, where the method says by
    `TrainingMethod.most_shards` that it can be divided. Raises ValueError for prompts with separate queries, which
    `Session.draw` never gives.
    """
    prompts = concatenate([portion.prompts for portion in batch])
    entries = prompts.counted()
    repeated = portion_weights(batch, number_counting(entries, len(prompts)))

    def gradients_of(rows: slice) -> Tensor:
        part = prompts[rows]
        told = given(instruction=part.instruction, entry_weights=None if entries is None else entries[rows])
        return model.backward(part.xs, part.ys, part.targets, repeated[rows], **told)

    return means_by_cell(batch, shards.gradients(model, len(prompts), gradients_of), entries)


def portion_weights(batch: Sequence[Portion], n: int | Int[Tensor, ""]) -> Float[Tensor, " prompts"]:
    """The weight of every prompt of a batch, of which ``n`` count; nothing is waited for."""
    sizes = torch.tensor([len(portion.prompts) for portion in batch])
    device = batch[0].prompts.xs.device
    if isinstance(n, Tensor):
        # In float64, in which Python divides, too.
        weights = torch.tensor([portion.weight for portion in batch], dtype=torch.float64)
        return (sent(weights.repeat_interleave(sizes), device) / n).float()
    weights = torch.tensor([portion.weight / n for portion in batch])
    return sent(weights.repeat_interleave(sizes), device)


def means_by_cell(
    batch: Sequence[Portion],
    errors: Float[Tensor, "prompts ..."],
    entries: Float[Tensor, "prompts points"] | None,
) -> dict[Cell, Tensor]:
    """The mean error of each cell over those of its prompts that count; ``errors``: of prompts, or of all entries."""
    sizes = [len(portion.prompts) for portion in batch]
    parts, counts = _by_cell(batch, torch.split(errors, sizes)), dict[Cell, Tensor]()
    if entries is not None:
        counts = _by_cell(batch, torch.split(entries.sum(dim=1) > 0, sizes))
    return {cell: mean_counting(found, counts.get(cell)) for cell, found in parts.items()}


def _by_cell(batch: Sequence[Portion], parts: Sequence[Tensor]) -> dict[Cell, Tensor]:
    """The parts of portions of one cell, joined."""
    found: dict[Cell, list[Tensor]] = {}
    for portion, part in zip(batch, parts, strict=True):
        found.setdefault(portion.cell, []).append(part)
    return {cell: each[0] if len(each) == 1 else torch.cat(each) for cell, each in found.items()}
