"""Rules of the conformity check, their findings and their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from icl_curriculum.testing.subject import AnySubject

Status = Literal["ok", "failed", "does not apply"]
#: The subject that a rule is for: that of its kind of component. A rule on components of every kind is one on each.
S = TypeVar("S", bound=AnySubject)
Looked = TypeVar("Looked", bound=AnySubject, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One failure of a rule: what was expected, what was found, and how to mend it."""

    rule: str = ""  # Filled in when the rule is run.
    expected: str
    found: str
    mend: str


@dataclass(frozen=True)
class Note:
    """Something that a rule could not check. The rule holds as far as it could be checked."""

    text: str


class Inapplicable(Exception):
    """Raised by a rule that has nothing to check in this component; the message says why."""


@dataclass(frozen=True)
class Result:
    """The verdict of one rule on one component. ``note``: why it does not apply, or what it could not check."""

    rule: str
    description: str
    status: Status
    findings: tuple[Finding, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Rule(Generic[Looked]):
    """A named requirement. ``requires``: rules that must hold before this one means anything."""

    name: str
    description: str
    requires: tuple[str, ...]
    run: Callable[[Looked], Iterator[Finding | Note]]


def rule(
    name: str, description: str, *, requires: tuple[str, ...] = ()
) -> Callable[[Callable[[S], Iterator[Finding | Note]]], Rule[S]]:
    """Decorator for a rule: a function that yields a `Finding` for every failure, or raises `Inapplicable`."""
    return lambda run: Rule(name, description, requires, run)


def unless_raised(examined: S, examine: Rule[S]) -> tuple[list[Finding | Note], str | None]:
    """The findings of a rule, and why it does not apply if it doesn't. An error of the component becomes a finding."""
    said: list[Finding | Note] = []
    try:
        said.extend(examine.run(examined))
    except Inapplicable as reason:
        return said, str(reason)
    except (Exception, SystemExit) as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        where = examined.where_raised(error)
        said.append(
            Finding(
                expected=f"no exception in {examined.doing}",
                found=f"{message[:400]} ({where or 'raised outside the code of the class'})",
                mend=f"mend {where.split(', in ')[0] if where else examined.doing}, then check again",
            )
        )
    return said, None
