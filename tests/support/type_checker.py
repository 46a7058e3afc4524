"""What checks the shapes that signatures state, whenever the tests run: beartype. Other types are mypy's business."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import random
from collections.abc import Callable
from typing import Any

import jaxtyping
from shape_agreement import Annotation, agrees

# beartype looks at random items of a list. Tests watch Python's global generator, so beartype gets one of its own.
_shared = random.getrandbits
random.getrandbits = random.Random(0).getrandbits
try:
    from beartype import beartype
finally:
    random.getrandbits = _shared

_jaxtyped = jaxtyping.jaxtyped


def context() -> contextlib.AbstractContextManager[None]:
    """A block in which names of sizes mean the same throughout, as in a call of a function that is checked."""
    found: contextlib.AbstractContextManager[None] = _jaxtyped("context")
    return found


def check_shapes(package: str) -> None:
    """Have the shapes checked in whatever is imported from ``package`` from now on."""
    # jaxtyping would wrap every function of the package, which makes all tests take half as long again.
    jaxtyping.jaxtyped = _where_shapes_are_stated  # type: ignore[assignment]
    Annotation.__instancecheck__ = agrees
    jaxtyping.install_import_hook(package, "type_checker.check")


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with those arguments and results checked that are annotated like ``Float[Tensor, "n dims"]``."""
    names, annotations = function.__globals__, function.__annotations__.items()
    # beartype doesn't find the names that a dataclass uses.
    function.__annotations__ = {
        name: eval(annotation, names) if isinstance(annotation, str) else annotation
        for name, annotation in annotations if _states_shape(annotation)
    }  # fmt: skip
    return beartype(function) if function.__annotations__ else function


def _where_shapes_are_stated(*, typechecker: Any) -> Callable[[Any], Any]:
    """jaxtyping's decorator, which leaves alone what states no shape."""

    def decorate(decorated: Any) -> Any:
        if inspect.isclass(decorated):
            annotations = decorated.__init__.__annotations__ if dataclasses.is_dataclass(decorated) else {}
        else:
            annotations = decorated.__annotations__
        if not any(_states_shape(annotation) for annotation in annotations.values()):
            return decorated
        if inspect.isclass(decorated):
            decorated.__init__ = _checked(decorated.__init__)
            return decorated
        if inspect.isgeneratorfunction(decorated):
            return _jaxtyped(decorated, typechecker=typechecker)
        return _checked(decorated)

    return decorate


def _checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """As jaxtyping's decorator, which checks arguments twice and explains at length, in a third of its time."""
    checked, shapes = check(function), context()

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with shapes:
            return checked(*args, **kwargs)

    return wrapper


def _states_shape(annotation: Any) -> bool:
    return "[Tensor, " in str(annotation)
