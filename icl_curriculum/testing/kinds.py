"""The kinds of components whose contract is checked: by which rules, on which subject."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import KINDS
from icl_curriculum.testing import (
    baselines,
    curricula,
    function_classes,
    inputs,
    launchers,
    methods,
    metrics,
    models,
    observations,
    shifts,
)
from icl_curriculum.testing.baselines.subject import BaselineSubject
from icl_curriculum.testing.curricula.subject import CurriculumSubject
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.launchers.subject import LauncherSubject
from icl_curriculum.testing.methods.subject import MethodSubject
from icl_curriculum.testing.metrics.subject import MetricSubject
from icl_curriculum.testing.models.subject import ModelSubject
from icl_curriculum.testing.observations.subject import ObservationSubject
from icl_curriculum.testing.rules import Rule
from icl_curriculum.testing.shifts.subject import ShiftSubject
from icl_curriculum.testing.subject import AnySubject

#: A component to check: an instance, a class that is built with its defaults, or a registered name.
Checkable = Component | type[Component] | str


@dataclass(frozen=True)
class CheckedKind:
    """The check of one kind of component: the subject that it looks at, and the rules in their order."""

    subject: type[AnySubject]
    by_name: Mapping[str, Rule[Any]]

    @property
    def noun(self) -> str:
        """The name for one component of the kind, such as ``training method``."""
        return self.subject.registry.kind

    def descriptions(self) -> dict[str, str]:
        """The rules by name, with one line on each."""
        return {name: rule.description for name, rule in self.by_name.items()}


def _checked(subject: type[AnySubject], rules: tuple[Rule[Any], ...]) -> CheckedKind:
    return CheckedKind(subject, {rule.name: rule for rule in rules})


#: By the names of `KINDS`, in their order. A further kind is a room with a subject and its rules, and a line here.
CHECKED: dict[str, CheckedKind] = {
    "function_classes": _checked(FunctionClassSubject, function_classes.RULES),
    "inputs": _checked(InputsSubject, inputs.RULES),
    "observations": _checked(ObservationSubject, observations.RULES),
    "shifts": _checked(ShiftSubject, shifts.RULES),
    "curricula": _checked(CurriculumSubject, curricula.RULES),
    "baselines": _checked(BaselineSubject, baselines.RULES),
    "models": _checked(ModelSubject, models.RULES),
    "methods": _checked(MethodSubject, methods.RULES),
    "metrics": _checked(MetricSubject, metrics.RULES),
    "launchers": _checked(LauncherSubject, launchers.RULES),
}


def checked_kind(kind: str) -> CheckedKind:
    """The check of a kind. UserError, with the closest name, for an unknown one."""
    if kind not in CHECKED:
        raise UserError(f"unknown kind {kind!r}{did_you_mean(kind, CHECKED)}")
    return CHECKED[kind]


def kind_of(component: Checkable, kind: str | None = None) -> str:
    """The kind of a component; of a registered name, the one kind that has it.

    ``kind``: what it must be, where one name stands for components of two kinds. UserError for a name that no kind
    has, or more than one; TypeError for what is no component, or of another kind than ``kind``.
    """
    if kind is not None:
        checked_kind(kind)
    if isinstance(component, str):
        return _kind_of_name(component, kind)
    cls = component if inspect.isclass(component) else type(component)
    for name, checked in CHECKED.items():
        if kind in (None, name) and issubclass(cls, checked.subject.base):
            return name
    bases = [checked.subject.base.__name__ for name, checked in CHECKED.items() if kind in (None, name)]
    raise TypeError(
        f"expected an instance of {alternatives(bases)}, a subclass of it or a registered name, found {component!r}"
    )


def _kind_of_name(name: str, kind: str | None) -> str:
    if kind is not None:
        KINDS[kind].get(name)
        return kind
    known = {key: set(KINDS[key].names()) for key in CHECKED}
    having = [key for key in CHECKED if name in known[key]]
    if len(having) == 1:
        return having[0]
    if having:
        nouns = " and ".join(with_article(CHECKED[key].noun) for key in having)
        raise UserError(f"{name!r} is {nouns}; say which by {option('--kind')}: {alternatives(having)}")
    # The kind that has the closest name is the one that was meant.
    kinds = {item: key for key in reversed(CHECKED) for item in known[key]}
    close = difflib.get_close_matches(name, sorted(kinds), n=1)
    if close:
        KINDS[kinds[close[0]]].get(name)
    raise UserError(f"unknown {any_noun()} {name!r}{did_you_mean(name, kinds)}")


def with_article(noun: str) -> str:
    """The noun with its article: ``a shift``, ``an input distribution``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def any_noun(kinds: Iterable[str] = CHECKED) -> str:
    """The name for a component of any of these kinds: ``function class, model or training method``."""
    return alternatives([CHECKED[kind].noun for kind in kinds])


def alternatives(names: list[str]) -> str:
    """The names as a choice.

    >>> alternatives(["function class", "model", "training method"])
    'function class, model or training method'
    """
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
