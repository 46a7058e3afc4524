"""What learners are asked on the command line: function classes by inputs by shifts, as banks."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from icl_curriculum.config.identifiers import component
from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, SHIFTS, Registry
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task

#: On the command line, every registered one, or for shifts the catalogue's grid.
ALL = "all"


@dataclass(frozen=True)
class BankGrid:
    """The banks, and why other cells are none."""

    banks: tuple[Bank, ...]
    undefined: tuple[str, ...]


@dataclass(frozen=True)
class AskedCells:
    """What the user named on the command line; in Python, the components themselves may stand there as well."""

    function_classes: Sequence[str | Component] = ()
    inputs: Sequence[str | Component] = ()
    shifts: Sequence[str | Component] = ()

    def classes(self, known: Sequence[FunctionClass]) -> list[FunctionClass]:
        return _components(self.function_classes, FUNCTION_CLASSES, option("--function-class"), known)

    def distributions(self, known: Sequence[InputDistribution]) -> list[InputDistribution]:
        return _components(self.inputs, INPUTS, option("--inputs"), known)

    def named_shifts(self, known: Sequence[Shift]) -> list[Shift]:
        return _components([item for item in self.shifts if item != ALL], SHIFTS, option("--shift"), known)


@dataclass(frozen=True)
class Frame:
    """What all banks of a grid share; ``source``: what to call where the dimensions come from."""

    dims: int
    points: int
    n_prompts: int
    seed: int
    source: str


def usual_points(dims: int) -> int:
    """The points of a prompt where nobody says how many: those of 4 d examples and a query."""
    return 4 * dims + 1


def build_grid(
    function_classes: Sequence[FunctionClass],
    inputs: Sequence[InputDistribution],
    shifts: Sequence[Shift],
    frame: Frame,
    too_long: Callable[[Shift], str | None] = lambda shift: None,
    other_form: Callable[[FunctionClass], str | None] = lambda function_class: None,
) -> BankGrid:
    """Every cell that is defined, without a shift and under each of them; without ``inputs``, the class's own.

    ``too_long``: why a learner cannot take the prompts of a shift. ``other_form``: why it can't read
    or answer the prompts of a class. UserError if nothing is defined, or if two different cells have one name.
    """
    banks: dict[tuple[str, str, str], Bank] = {}
    undefined: dict[str, None] = {}
    for function_class in function_classes:
        if (why := other_form(function_class)) is not None:
            undefined[why] = None
            continue
        for distribution in inputs or _reference_inputs(function_class, frame.dims):
            task = Task(function_class, distribution, frame.dims)
            reason = _outside(task, frame.source)
            if reason is not None:
                undefined[f"{function_class.id} with {distribution.id} inputs: {reason}"] = None
                continue
            for shift in (None, *shifts):
                reason = None if shift is None else why_undefined(shift, task) or too_long(shift)
                if shift is not None and reason is not None:
                    undefined[f"{function_class.id} with {distribution.id} inputs under {shift.id}: {reason}"] = None
                    continue
                bank = Bank(task, shift, frame.n_prompts, frame.points, frame.seed)
                _expect_same(banks.setdefault(bank.key, bank), bank)
    if not banks:
        raise UserError("nothing to evaluate: " + "; ".join(undefined))
    return BankGrid(tuple(banks.values()), tuple(undefined))


def _reference_inputs(function_class: FunctionClass, dims: int) -> list[InputDistribution]:
    built = INPUTS.build(function_class.reference(dims), beside=function_class)
    assert isinstance(built, InputDistribution)
    return [built]


def _components(
    asked: Sequence[str | Component], registry: Registry, option: str, known: Sequence[Component]
) -> list[Any]:
    """The components of the registry's kind that the texts mean, each once. UserError for one of another kind."""
    found: dict[str, Component] = {}
    for item in (name for text in asked for name in (registry.names() if text == ALL else [text])):
        if isinstance(item, str):
            if item not in found:
                found[item] = component(item, registry, option, known)
        elif isinstance(item, registry.base):
            found[item.id] = item
        else:
            raise UserError(
                f"{option}: expected the name of {'an' if registry.kind[0] in 'aeiou' else 'a'} {registry.kind}, or "
                f"one itself, found {reprlib.repr(item)}"
            )
    return list(found.values())


def _outside(task: Task, source: str) -> str | None:
    """Why a function class is not defined in these dimensions or for these inputs."""
    try:
        task.function_class.check_dims(task.dims)
        task.inputs.check_dims(task.dims)
    except UserError as error:
        # What to set in an experiment file is no help here, and the class is named by whoever says it.
        subject = "" if error.subject == task.function_class.name else error.subject
        return f"{UserError(error.reason, subject=subject)}, {source}"
    reason = task.outside_domain()
    return None if reason is None else f"{reason}; give {option('--inputs', task.reference_inputs().id)}"


def _expect_same(one: Bank, other: Bank) -> None:
    """UserError for two components of one id, of which the table could hold only one."""
    if not one.same_prompts(other):
        raise UserError(
            f'two different cells are called {"/".join(one.key)}; give one of them id = "...", in a TOML table'
        )
