"""Which shift is defined for which function class, and why others are not."""

from __future__ import annotations

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.shifts.base import Shift, why_undefined
from icl_curriculum.tasks import Task

#: A class is looked at in the first of these numbers of dimensions in which it is defined.
DIMS = (5, 4, 8, 1)


def reference_task(function_class: FunctionClass, dims: int | None = None) -> Task:
    """The class under its reference inputs, in ``dims`` dimensions or the first of `DIMS` in which it is defined.

    Raises UserError if it is defined in none of them.
    """
    refusals = []
    for candidate in DIMS if dims is None else (dims,):
        try:
            function_class.check_dims(candidate)
        except UserError as error:
            refusals.append(error)
            continue
        inputs = INPUTS.build(function_class.reference(candidate), beside=function_class)
        assert isinstance(inputs, InputDistribution)
        return Task(function_class, inputs, candidate)
    raise refusals[0]


def coverage() -> dict[tuple[str, str], str | None]:
    """By (function class, shift), why the shift with its defaults is undefined under the class's reference inputs.

    The reason is None where it is defined.
    """
    reasons: dict[tuple[str, str], str | None] = {}
    for name in FUNCTION_CLASSES.names():
        function_class = FUNCTION_CLASSES.build(name)
        assert isinstance(function_class, FunctionClass)
        task = reference_task(function_class)
        for shift_name in SHIFTS.names():
            shift = SHIFTS.build(shift_name)
            assert isinstance(shift, Shift)
            reasons[name, shift_name] = why_undefined(shift, task)
    return reasons
