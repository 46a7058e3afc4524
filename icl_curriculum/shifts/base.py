"""The contract of a shift: out-of-distribution prompts made from a task."""

from __future__ import annotations

from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS, Component
from icl_curriculum.core.streams import Streams
from icl_curriculum.tasks import Task


class Shift(Component):
    """A change between training and test. The defaults change nothing; a subclass overrides what it changes."""

    def undefined(self, task: Task) -> str | None:
        """Why the shift makes no sense for this task, or None if it does make sense."""
        return None

    def apply(self, task: Task) -> Task:
        """The task from which prompts are drawn, and whose E f(q)^2 normalises the error."""
        return task

    def points(self, points: int) -> int:
        """The number of points of a shifted prompt, given that of a trained one."""
        return points

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        """Draw ``n`` shifted prompts. ``task`` is the original task, ``points`` the number that `points` returned."""
        return self.apply(task).draw(n, points, streams)

    def columns(self, task: Task) -> tuple[str, str]:
        """The values of the columns ``input_distribution`` and ``shift`` in the tables."""
        return task.inputs.id, self.id


register_shift = SHIFTS.of(Shift)


def why_undefined(shift: Shift, task: Task) -> str | None:
    """Why a shift makes no sense for a task: the shift says so, or the shifted task leaves the class's domain."""
    with at_work(shift, "undefined"):
        reason = shift.undefined(task)
    if reason is not None:
        return reason
    try:
        with at_work(shift, "apply"):
            shifted = shift.apply(task)
        shifted.function_class.check_dims(shifted.dims)
        shifted.inputs.check_dims(shifted.dims)
    except UserError as error:
        return str(error)
    return shifted.outside_domain()
