"""Errors of components from outside that break their contract in the middle of a run: each names the component."""

from __future__ import annotations

import contextlib
import numbers
import reprlib
from collections.abc import Iterator

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError, described
from icl_curriculum.core.plugin_reads import StrayRead, no_strays
from icl_curriculum.core.registry import origin_of, source_of


class ComponentFailed(Exception):
    """A component broke its contract while it worked: a run that failed, not a config that is wrong.

    ``found``, ``expected``: what it returned and should have, in words, where that is what was wrong.
    """

    def __init__(self, message: str, *, found: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.expected = expected


@contextlib.contextmanager
def at_work(component: Component | None, doing: str) -> Iterator[None]:
    """Turn whatever a component from outside raises into `ComponentFailed`, which names it and the line.

    Errors of a built-in component pass unchanged, as they are the suite's own, and so do those where there is none.
    """
    try:
        with no_strays():
            yield
    except StrayRead as error:
        if component is None:
            raise
        raise ComponentFailed(f"{component.id!r} failed in {doing}: {error}") from error
    except (UserError, ComponentFailed):
        raise
    except Exception as error:
        source = None if component is None else source_of(component)
        if component is None or source is None:
            raise
        raise ComponentFailed(
            f"{component.id!r} ({origin_of(component)}) failed in {doing}: {described(error, source)}"
        ) from error


def broken_contract(component: Component, doing: str, *, found: object, expected: object) -> ComponentFailed:
    """The error for a component that returned what its contract does not allow."""
    message = f"{component.id!r} ({origin_of(component)}): {doing} returned {found}, expected {expected}"
    return ComponentFailed(message, found=str(found), expected=str(expected))


def expect_shape(
    component: Component,
    doing: str,
    value: object,
    shape: tuple[int, ...],
    axes: str,
    kind: object = "torch.float32",
) -> None:
    """Raise ComponentFailed unless a component returned a tensor of this shape, whose axes have these names, and type.

    ``kind``: the type of its numbers. torch would refuse another one only where it meets these, in words of its own.
    """
    found = getattr(value, "shape", None)
    if found is None or tuple(found) != shape:
        what = f"a {type(value).__name__}" if found is None else f"shape {tuple(found)}"
        raise broken_contract(component, doing, found=what, expected=f"shape {shape} ({axes})")
    if kind_of(value) != str(kind):
        raise broken_contract(component, doing, found=kind_of(value), expected=f"{kind} of shape {shape} ({axes})")


def kind_of(value: object) -> str:
    """The type of the numbers of a tensor, as ``torch.float64``; of an array, ``a numpy array of float32``."""
    kind = getattr(value, "dtype", None)
    if kind is None:
        return f"a {type(value).__name__}"
    return str(kind) if str(kind).startswith("torch.") else f"a numpy array of {kind}"


def as_number(component: Component, doing: str, value: object) -> float:
    """The real number that a component returned, whatever library it is of; ComponentFailed for anything else."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) and getattr(value, "ndim", 1) == 0 else value
    if not isinstance(plain, numbers.Real):
        what = f"{kind_of(value)}: {reprlib.repr(value)}" if hasattr(value, "dtype") else reprlib.repr(value)
        raise broken_contract(component, doing, found=what, expected="a real number")
    return float(plain)
