"""The contract of a shift: out-of-distribution prompts made from a task."""

from __future__ import annotations

import inspect
from typing import ClassVar

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import ComponentFailed, at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS, claims_itself, is_built_in
from icl_curriculum.core.streams import Streams
from icl_curriculum.tasks import MEMORY, Task


class Shift(Component):
    """A change between training and test. The defaults change nothing; a subclass overrides what it changes.

    One that overrides `draw` makes prompts in a way of its own. Then nothing is claimed of them that cannot be known:
    they have no oracle unless the class says that `oracle_holds`, and are never in distribution.
    """

    #: For a class that overrides `draw`: whether oracles stay what they say they are on its prompts. So it is where
    #: only inputs and queries are changed, in ways that say nothing of the function. The claim is not inherited by a
    #: class that overrides more than `undefined`, `points` and `columns`.
    oracle_holds: ClassVar[bool] = False

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

#: What decides neither the prompts nor their denominators.
_HARMLESS = ("undefined", "points", "columns")


def makes_own_prompts(shift: Shift | None) -> bool:
    """Whether a shift makes prompts in a way of its own, rather than from another task alone."""
    return shift is not None and type(shift).draw is not Shift.draw


def keeps_oracle(shift: Shift | None, task: Task) -> bool:
    """Whether the oracle of the shifted ``task``'s class can be what it says on the prompts of a shift."""
    if type(task) is not Task:
        return False  # Its prompts may be anything.
    if shift is None or not makes_own_prompts(shift):
        return True
    # What the built-in classes define that a shift extends, but for what decides neither prompts nor denominators.
    contract = {name for cls in type(shift).__mro__ if issubclass(cls, Shift) and is_built_in(cls)
                for name, value in vars(cls).items() if inspect.isfunction(value) and name[0] != "_"}  # fmt: skip
    return shift.oracle_holds and claims_itself(type(shift), {"oracle_holds"}, contract - {*_HARMLESS})


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
        own, other = task.shown_dims, shifted.shown_dims
    except UserError as error:
        return str(error)
    if own != other:
        return f"it shows inputs of {other} numbers, and without it they are of {own}"
    outside = shifted.outside_domain() or shifted.not_to_be_shown()
    if outside is None and shifted.function_class.has_memory and _asks_separately(shift, task):
        return MEMORY
    return outside


def _asks_separately(shift: Shift, task: Task) -> bool:
    """Whether a shift, which need not know of memory, asks about queries beside the inputs; it is tried on a prompt."""
    if not makes_own_prompts(shift):
        return False
    try:
        with at_work(shift, "draw"):
            drawn = shift.draw(task, 1, shift.points(3), Streams(0, "asks separately"))
    except UserError:
        return True  # So says `Task.label`.
    except ComponentFailed:
        return False  # Whoever draws its prompts in earnest says what failed.
    return isinstance(drawn, Prompts) and drawn.queries is not None
