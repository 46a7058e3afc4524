"""The cases to verify: the built-in function classes, in dimensions that suit them, and the built-in shifts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import BUILT_IN, FUNCTION_CLASSES, SHIFTS, Registry
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.shifts import Shift, reference_task, why_undefined
from icl_curriculum.tasks import Task

Spec = str | dict[str, Any]


def task_of(spec: Spec, dims: int | None = None) -> Task:
    """The task of a class under its reference inputs."""
    return reference_task(cast(FunctionClass, FUNCTION_CLASSES.build(spec)), dims)


def built_in(registry: Registry) -> list[str]:
    """The names of the components that the package itself registers."""
    found = []
    for name in registry.names():
        try:
            origin = registry.origin(name)
        except UserError:  # An installed package that fails to load is not built in.
            continue
        if origin == BUILT_IN:
            found.append(name)
    return found


def tasks() -> Mapping[str, Task]:
    """The tasks of all built-in function classes with default parameters, by name, e.g. ``linear, d = 5``."""
    found = [task_of(name) for name in built_in(FUNCTION_CLASSES)]
    return {named(task.function_class, task.dims): task for task in found}


def named(function_class: FunctionClass, dims: int) -> str:
    return f"{function_class.id}, d = {dims}"


def banks_of(task: Task, n_prompts: int, points: int) -> Iterator[tuple[str, Bank]]:
    """The banks of a task without a shift (``none``) and under every built-in shift that is defined for it, by name."""
    yield "none", Bank(task, None, n_prompts, points, seed=0)
    for name in built_in(SHIFTS):
        shift = cast(Shift, SHIFTS.build(name))
        if why_undefined(shift, task) is None:
            yield name, Bank(task, shift, n_prompts, points, seed=0)
