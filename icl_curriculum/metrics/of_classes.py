"""Right and wrong answers where labels are signs or classes, and how likely the right class was said to be.

Dimensions: n = prompts, lengths = prompt lengths, labels = the numbers of a label, an axis that is only there if they
are several.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.metrics.base import Metric, register_metric
from icl_curriculum.tasks import Task


def chance_of_error(task: Task) -> float | None:
    """How often chance is wrong: 1/2 of signs, 1 - 1/C of classes; None where labels are numbers."""
    if task.function_class.sign_valued:
        return 0.5
    return 1 - 1 / task.function_class.label_dims if task.function_class.class_valued else None


def right_answers(
    predictions: Float[Tensor, "n lengths *labels"], targets: Float[Tensor, "n lengths *labels"], task: Task
) -> Float[Tensor, "n lengths"]:
    """1 where the answer is right, 0 where it is wrong; an answer of several is right in part; NaN where it is NaN.

    Of signs a prediction of 0 is half right; of classes the most probable ones share the answer.
    """
    if task.function_class.class_valued:
        best = predictions == predictions.amax(dim=-1, keepdim=True)
        right = (best * targets).sum(dim=-1) / best.sum(dim=-1)
        return torch.where(predictions.isnan().any(dim=-1), math.nan, right)
    right = (1 + predictions.sign() * targets.sign()) / 2
    return torch.where(predictions.isnan(), math.nan, right)


def wrong_answers(
    predictions: Float[Tensor, "n lengths *labels"], targets: Float[Tensor, "n lengths *labels"], task: Task
) -> Float[Tensor, "n lengths"]:
    """1 less the `right_answers`."""
    return 1 - right_answers(predictions, targets, task)


@register_metric("accuracy")
class Accuracy(Metric):
    """The share of right answers, where labels are signs or classes."""

    improves: ClassVar[Literal["down", "up"]] = "up"
    power: ClassVar[float] = 0

    def undefined(self, task: Task) -> str | None:
        return "its labels are neither signs nor classes" if chance_of_error(task) is None else None

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        return right_answers(predictions, targets, task)

    def trivial(self, task: Task) -> float | None:
        chance = chance_of_error(task)
        return None if chance is None else 1 - chance


@register_metric("negative_log_likelihood")
class NegativeLogLikelihood(Metric):
    """The mean of -log p(right class), in nats: log C for chance."""

    title: ClassVar[str] = "negative log-likelihood"
    power: ClassVar[float] = 0

    def undefined(self, task: Task) -> str | None:
        return None if task.function_class.class_valued else "its labels are no classes, so nothing gives them a chance"

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        # A class that cannot be, of probability 0, costs nothing unless it is the right one.
        return -torch.where(targets > 0, predictions * targets, 0.0).sum(dim=-1)

    def trivial(self, task: Task) -> float | None:
        return math.log(task.function_class.label_dims)
