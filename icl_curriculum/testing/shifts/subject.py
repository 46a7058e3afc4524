"""The shift under check, the tasks that it is tried on, and prompts with and without it from the same streams.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import Uniform
from icl_curriculum.shifts import Shift, reference_task
from icl_curriculum.tasks import Task
from icl_curriculum.testing.subject import ComponentSubject

DIMS = 4
#: A class that is linear, one of degree 2 with noise, one of signs, one that makes its own inputs, one on signs, one of
#: vectors, one of classes, and one whose classes are drawn with their inputs.
USUAL: dict[str, dict[str, float]] = {
    "linear": {},
    "quadratic": {"label_noise": 0.5},
    "linear_classification": {"label_noise": 0.2},
    "linear_dynamics": {},
    "parity": {},
    "linear_map": {},
    "multiclass_linear": {"label_noise": 0.2},
    "gaussian_classes": {},
}
#: A task with inputs that are not those of most classes.
OTHER = "linear with uniform inputs"
#: How many further classes are taken if the shift refuses all of these.
MORE = 3


class ShiftSubject(ComponentSubject[Shift]):
    """A shift under check."""

    registry = SHIFTS
    base = Shift
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "The query at k is -x_k; the context is as in training."

    @functools.cached_property
    def tasks(self) -> dict[str, Task]:
        """The tasks to try, by the class's name: those of `USUAL` that the shift allows, else the first others."""
        allowed = {name: task for name, task in self.candidates() if self.refusal(task) is None}
        usual = {name: task for name, task in allowed.items() if name in {*USUAL, OTHER}}
        return usual or dict(list(allowed.items())[:MORE])

    def candidates(self) -> Iterator[tuple[str, Task]]:
        """Every registered class under its reference inputs, the usual ones first, and one class under others."""
        for name in [*USUAL, *(name for name in FUNCTION_CLASSES.names() if name not in USUAL)]:
            function_class = FUNCTION_CLASSES.build({"name": name, **USUAL.get(name, {})})
            assert isinstance(function_class, FunctionClass)
            try:
                yield name, reference_task(function_class, DIMS if name in USUAL else None)
            except UserError:
                continue
            if name == "linear":
                yield OTHER, Task(function_class, Uniform(), DIMS)

    def undefined(self, task: Task) -> object:
        """What the shift itself says of a task."""
        self.doing = f"undefined({_named(task)})"
        return self.as_given.undefined(task)

    def apply(self, task: Task) -> Task:
        self.doing = f"apply({_named(task)})"
        return self.as_given.apply(task)

    def refusal(self, task: Task) -> str | None:
        """Why the shift makes no sense for a task: it says so, or the shifted task leaves the class's domain."""
        said = self.undefined(task)
        if said is not None:
            return str(said)
        try:
            shifted: object = self.apply(task)
            if isinstance(shifted, Task):
                shifted.check()
        except UserError as error:
            return str(error)
        return None

    def points(self, points: int) -> int:
        self.doing = f"points({points})"
        return self.as_given.points(points)

    def columns(self, task: Task) -> tuple[str, str]:
        self.doing = f"columns({_named(task)})"
        return self.as_given.columns(task)

    def draw(self, task: Task, n: int, points: int, purpose: str, index: int = 0) -> Prompts:
        """Shifted prompts; ``points`` are those that the shift itself has made of a trained prompt's."""
        self.doing = f"draw({_named(task)}, n={n}, points={points})"
        return self.as_given.draw(task, n, points, self.streams(purpose, index))

    def unshifted(self, task: Task, n: int, points: int, purpose: str, index: int = 0) -> Prompts:
        """Prompts of the same streams without the shift."""
        return task.draw(n, points, self.streams(purpose, index))


def _named(task: Task) -> str:
    return f"{task.function_class.id} with {task.inputs.id} inputs"
