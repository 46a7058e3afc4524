"""What Python's functions are given: numbers of numpy and paths of any kind become Python's own, the rest is refused.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError


def plain(value: Any) -> Any:
    """The value with numbers, texts and arrays of numpy as Python's own, at any depth of dicts, lists and tuples."""
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if type(value) is dict:
        return {plain(key): plain(item) for key, item in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def whole_number(value: Any, name: str, *, least: int | None = None, most: int | None = None) -> int:
    """A whole number from Python, numpy or torch. UserError, naming the argument, for anything else.

    >>> whole_number(3.0, "dims")
    Traceback (most recent call last):
    icl_curriculum.core.errors.UserError: dims: expected a whole number, found 3.0
    """
    bounds = "" if least is None else f" of at least {least}" if most is None else f" from {least} to {most}"
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise UserError(f"expected a whole number{bounds}, found {reprlib.repr(value)}", key=name) from None
    if (least is not None and number < least) or (most is not None and number > most):
        raise UserError(f"expected a whole number{bounds}, found {number}", key=name)
    return number


def whole_numbers(values: Any, name: str) -> list[int]:
    """Several whole numbers, such as a range or an array. UserError, naming the argument, for anything else."""
    found = plain(values)
    if isinstance(found, str | bytes | dict) or not isinstance(found, Iterable):
        raise UserError(f"expected several whole numbers, as in [0, 1, 2], found {reprlib.repr(values)}", key=name)
    return [whole_number(value, f"{name}.{number}") for number, value in enumerate(found)]


def as_finite(value: Any, name: str) -> float | None:
    """A finite number from Python or numpy, or None. UserError, naming the argument, for anything else."""
    found = plain(value)
    if found is None or (isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)):
        return None if found is None else float(found)
    raise UserError(f"expected a finite number, found {reprlib.repr(value)}", key=name)


def as_path(value: Any, name: str) -> Path:
    """A path from a text, bytes or what stands for one. UserError, naming the argument, for anything else."""
    try:
        return Path(os.fsdecode(value))
    except TypeError:
        raise UserError(f"expected a path, found {reprlib.repr(value)}", key=name) from None


def as_paths(values: Any, name: str) -> list[Path]:
    """Several paths; one alone counts as such. UserError, naming the argument, for anything else."""
    return [as_path(value, name) for value in _several(values, name)]


def as_texts(values: Any, name: str) -> list[str]:
    """Several texts; one alone counts as such. UserError, naming the argument, for anything else."""
    found = list(_several(plain(values), name))
    for value in found:
        if not isinstance(value, str):
            raise UserError(f"expected texts, found {reprlib.repr(value)}", key=name)
    return [str(value) for value in found]


def _several(values: Any, name: str) -> Iterable[Any]:
    if isinstance(values, str | bytes | os.PathLike):
        return [values]
    if isinstance(values, dict) or not isinstance(values, Iterable):
        raise UserError(f"expected a list, found {reprlib.repr(values)}", key=name)
    return values
