"""The observation under check, and prompts that it shows of built-in classes with labels of every kind."""

from __future__ import annotations

import functools

import torch

from icl_curriculum.core.registry import OBSERVATIONS
from icl_curriculum.inputs import Gaussian
from icl_curriculum.observations import Observation, Pairs
from icl_curriculum.tasks import Task
from icl_curriculum.testing.metrics.subject import CLASSES
from icl_curriculum.testing.subject import ComponentSubject

DIMS = (1, 4)
N, POINTS = 6, 5


class ObservationSubject(ComponentSubject[Observation]):
    """An observation under check."""

    registry = OBSERVATIONS
    base = Observation
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "Every label has the noise of the label before it, halved, and a new one."

    @functools.cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks whose examples it shows, by what their labels are and their dimensions."""
        return {
            f"{kind}, d = {dims}": self.task(kind, dims)
            for kind in CLASSES if kind in self.as_given.kinds
            for dims in DIMS
        }  # fmt: skip

    def task(self, kind: str, dims: int) -> Task:
        shown = CLASSES[kind].model_copy(update={"observation": self.as_given})
        return Task(shown, Gaussian(), dims)

    def pairs(self, task: Task, n: int = N, points: int = POINTS, purpose: str = "pairs", index: int = 0) -> Pairs:
        """Examples as they are, with queries that are the inputs themselves."""
        xs, values, _ = task.clean(n, points, self.streams(purpose, index))
        kind = task.function_class.label_kind
        size = (task.trivial_error() / (task.function_class.label_dims if kind == "vectors" else 1)) ** 0.5
        return Pairs(xs, values, None, size=size, scale=1.0, kind=kind)

    def show(self, pairs: Pairs, made: torch.Generator) -> Pairs:
        self.doing = f"show of {pairs.kind} with xs of shape {tuple(pairs.xs.shape)}"
        return self.as_given.show(pairs, made)
