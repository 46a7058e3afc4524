"""Errors of predicted numbers and vectors.

Dimensions: n = prompts, lengths = prompt lengths, labels = the numbers of a label, an axis that is only there if they
are several.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.metrics.base import Metric, register_metric
from icl_curriculum.metrics.of_classes import chance_of_error, wrong_answers
from icl_curriculum.tasks import Task


def summed(values: Float[Tensor, "n lengths *labels"]) -> Float[Tensor, "n lengths"]:
    """Values summed over the numbers of a label."""
    return values if values.ndim == 2 else values.sum(dim=-1)


class OfNumbers(Metric):
    """A metric that means something where labels are numbers or vectors."""

    def undefined(self, task: Task) -> str | None:
        return "its labels are classes" if task.function_class.class_valued else None


@register_metric("squared_error")
class SquaredError(OfNumbers):
    """The mean of |prediction - f(q)|^2, summed over the numbers of a label, in the units of the targets."""

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        return summed((predictions - targets).square())

    def trivial(self, task: Task) -> float | None:
        return task.second_moment()


@register_metric("normalized_error")
class NormalizedError(Metric):
    """1 for a learner that knows nothing, 0 for a perfect one, whatever the labels are.

    For numbers and vectors the squared error over E|f(q)|^2 under the bank's own inputs, in closed form or from one
    fixed Monte Carlo; for signs and classes the share of wrong answers over that of chance, 1/2 or 1 - 1/C.
    """

    title: ClassVar[str] = "normalized error"

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        if chance_of_error(task) is not None:
            return wrong_answers(predictions, targets, task)
        return summed((predictions - targets).square())

    def scale(self, targets: Float[Tensor, "n lengths *labels"], task: Task) -> float:
        chance = chance_of_error(task)
        return task.second_moment() if chance is None else chance

    def trivial(self, task: Task) -> float | None:
        return 1.0

    def exists(self, task: Task, *, interval: bool = False) -> bool:
        return chance_of_error(task) is not None or super().exists(task, interval=interval)


@register_metric("error_over_reference")
class ErrorOverReference(SquaredError):
    """The squared error over the class's trivial error under its reference inputs, as Garg et al. 2022 define it."""

    def scale(self, targets: Float[Tensor, "n lengths *labels"], task: Task) -> float:
        return task.trivial_error()

    def trivial(self, task: Task) -> float | None:
        return task.second_moment() / task.trivial_error()


@register_metric("absolute_error")
class AbsoluteError(OfNumbers):
    """The mean of |prediction - f(q)|, of vectors the sum over the numbers of a label, in the units of the targets."""

    power: ClassVar[float] = 1

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        return summed((predictions - targets).abs())


@register_metric("median_error")
class MedianError(OfNumbers):
    """The median squared error over the median of |f(q)|^2: what is left where the mean is infinite.

    Empty for a class that is zero on half of its inputs.
    """

    middle: ClassVar[Literal["mean", "median"]] = "median"

    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        return summed((predictions - targets).square())

    def scale(self, targets: Float[Tensor, "n lengths *labels"], task: Task) -> float:
        return float(np.median(summed(targets.square()).numpy())) or math.nan

    def trivial(self, task: Task) -> float | None:
        return 1.0
