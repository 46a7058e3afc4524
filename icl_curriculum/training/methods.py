"""Training methods: what an update is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts, concatenate
from icl_curriculum.core.registry import METHODS, Component
from icl_curriculum.models.base import Model
from icl_curriculum.training.optimizers import Optimizers


@dataclass
class Trainee:
    """A model in training with its optimizers."""

    model: Model
    optimizers: Optimizers
    clip: float | None


@dataclass(frozen=True)
class Portion:
    """The prompts of one task in a batch, and the weight of their squared errors in the loss."""

    prompts: Prompts
    weight: float = 1.0


class TrainingMethod(Component):
    """Owns what an update is, for a group of runs of one shape (one run is a group of one)."""

    #: What an update costs for each of its prompts, in forward passes: a backward pass is as much as two.
    forward_passes: ClassVar[float] = 3.0

    @abstractmethod
    def update(
        self, group: Sequence[Trainee], batches: Sequence[Sequence[Portion]], factor: float
    ) -> list[list[Tensor]]:
        """One update of every trainee on its batch, with learning rates at ``factor`` of their peaks.

        Returns, per trainee and portion, the mean squared error over prompts and positions before the
        update (a scalar tensor on the device, not waited for).
        """


register_method = METHODS.of(TrainingMethod)


@register_method("in_context")
class InContext(TrainingMethod):
    """Plain in-context training: the mean over prompts and all positions of the weighted squared error.

    Source: Garg et al. 2022, equation 2.
    """

    def update(
        self, group: Sequence[Trainee], batches: Sequence[Sequence[Portion]], factor: float
    ) -> list[list[Tensor]]:
        return [self._update(trainee, batch, factor) for trainee, batch in zip(group, batches, strict=True)]

    def _update(self, trainee: Trainee, batch: Sequence[Portion], factor: float) -> list[Tensor]:
        prompts = concatenate([portion.prompts for portion in batch])
        sizes = [len(portion.prompts) for portion in batch]
        weights = torch.tensor([portion.weight / len(prompts) for portion in batch], device=prompts.xs.device)
        repeated = weights.repeat_interleave(torch.tensor(sizes, device=weights.device), output_size=len(prompts))
        errors = trainee.model.backward(prompts.xs, prompts.ys, prompts.targets, repeated)
        if trainee.clip is not None:
            torch.nn.utils.clip_grad_norm_(trainee.model.parameters(), trainee.clip)
        trainee.optimizers.step(factor)
        return [part.mean() for part in torch.split(errors, sizes)]
