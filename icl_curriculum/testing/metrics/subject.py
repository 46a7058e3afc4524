"""The metric under check, the tasks for which it means something, and answers to prompts of these.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from icl_curriculum.core.registry import METRICS
from icl_curriculum.function_classes import FunctionClass, Linear, LinearClassification, LinearMap, MulticlassLinear
from icl_curriculum.inputs import Gaussian
from icl_curriculum.metrics import Metric
from icl_curriculum.tasks import Task
from icl_curriculum.testing.rules import Inapplicable
from icl_curriculum.testing.subject import ComponentSubject

#: By what their labels are, the functions whose answers are judged, and whose examples are shown.
CLASSES: dict[str, FunctionClass] = {
    "numbers": Linear(),
    "signs": LinearClassification(),
    "vectors": LinearMap(label_dims=3),
    "classes": MulticlassLinear(n_classes=4),
}
DIMS, N, POINTS = 4, 24, 5


class MetricSubject(ComponentSubject[Metric]):
    """A metric under check."""

    registry = METRICS
    base = Metric
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "The mean of |prediction - f(q)|."

    @functools.cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks for which it means something, by what their labels are. Inapplicable if there is none."""
        found = {}
        for name in CLASSES:
            task = self.task(name)
            reason: object = self.as_given.undefined(task)
            if reason is None:
                found[name] = task
        if not found:
            raise Inapplicable("undefined gives a reason for numbers, signs, vectors and classes")
        return found

    def task(self, name: str) -> Task:
        """The task whose labels are of a kind, one of `CLASSES`."""
        self.doing = f"undefined, where labels are {name}"
        return Task(CLASSES[name], Gaussian(), DIMS)

    def targets(self, task: Task, n: int = N, points: int = POINTS) -> Tensor:
        """Clean values of a task, in float64."""
        return task.draw(n, points, self.streams(f"targets/{task.function_class.id}")).targets.double()

    def answers(self, task: Task, targets: Tensor, share: float) -> Tensor:
        """Answers that are right but for a share of noise in each: 0 is perfect, 1 knows nothing."""
        noise = torch.randn(targets.shape, generator=self.generator("answers"), dtype=torch.float64)
        if task.function_class.class_valued:
            return (8 * (1 - share) * targets + share * 1e-3 * noise).log_softmax(dim=-1)
        spread = math.sqrt(task.trivial_error() / task.function_class.label_dims)
        return (1 - share) * targets + share * 0.3 * spread * noise

    def nothing(self, task: Task, targets: Tensor) -> Tensor:
        """The answers of who knows nothing: zeros, or equal chances."""
        return torch.zeros_like(targets).log_softmax(dim=-1) if task.function_class.class_valued else 0 * targets

    def errors(self, predictions: Tensor, targets: Tensor, task: Task) -> Tensor:
        self.doing = f"errors of predictions of shape {tuple(predictions.shape)} of {task.function_class.id}"
        return self.as_given.errors(predictions, targets, task)

    def value(self, predictions: Tensor, targets: Tensor, task: Task) -> float:
        """What stands in a table, over all prompts and lengths together."""
        found = self.errors(predictions, targets, task)
        self.doing = "scale"
        scale = float(self.as_given.scale(targets, task))
        return float(found.median() if self.as_given.middle == "median" else found.mean()) / scale
