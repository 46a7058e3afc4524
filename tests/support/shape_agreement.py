"""Whether a tensor has the shape and type that a jaxtyping annotation states, in a fraction of jaxtyping's own time.

Signatures are checked millions of times in the tests, and what they state is nearly always plain: a set of types, and
sizes that are numbers or names, with at most one name for several axes. Anything else is left to jaxtyping.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jaxtyping
import torch
from jaxtyping._storage import get_shape_memo
from torch import Tensor

#: The class of all annotations such as ``Float[Tensor, "n dims"]``.
Annotation: Any = type(jaxtyping.Float[Tensor, ""])
by_jaxtyping = Annotation.__instancecheck__
_TYPES = {str(value).removeprefix("torch."): value for value in vars(torch).values() if isinstance(value, torch.dtype)}


@dataclass(frozen=True)
class Stated:
    """What an annotation states: the types, and the axes, each by its size, its name, or None for any.

    ``several``: which of the axes stands for any number of them; -1 where none does.
    """

    types: frozenset[torch.dtype]
    axes: tuple[int | str | None, ...]
    several: int


@functools.cache
def stated(annotation: Any) -> Stated | None:
    """Reads a plain annotation; None for one that is left to jaxtyping."""
    names = annotation.dim_str.split()
    several = [i for i, name in enumerate(names) if name.startswith("*")]
    bare = [name.removeprefix("*") for name in names]
    if annotation.array_type is not Tensor or not all(name.isdecimal() or name.isidentifier() for name in bare):
        return None
    if isinstance(annotation.dtypes, tuple | list) and all(isinstance(name, str) for name in annotation.dtypes):
        # An axis whose name begins with an underscore has any size.
        axes = tuple(int(name) if name.isdecimal() else None if name.startswith("_") else name for name in bare)
        types = frozenset(_TYPES[name] for name in annotation.dtypes if name in _TYPES)
        return Stated(types, axes, several[0] if several else -1)
    return None


def agrees(annotation: Any, value: Any) -> bool:
    """What ``isinstance(value, annotation)`` answers: names mean the same size throughout a call."""
    plain = stated(annotation)
    if plain is None or not isinstance(value, Tensor):
        return bool(by_jaxtyping(annotation, value))
    if value.dtype not in plain.types:
        return False
    sizes, shapes, *_ = get_shape_memo()
    shape, axes, several = value.shape, plain.axes, plain.several
    if several >= 0:
        count = len(shape) - len(axes) + 1
        if count < 0:
            return False
        name, together = axes[several], tuple(shape[several : several + count])
        known = shapes.get(name)
        if known is not None and known[0]:
            return bool(by_jaxtyping(annotation, value))
        if known is not None and tuple(known[1]) != together:
            return False
        axes = (*axes[:several], *axes[several + 1 :])
        shape = (*shape[:several], *shape[several + count :])
    elif len(shape) != len(axes):
        return False
    new: dict[str, int] = {}
    for axis, size in zip(axes, shape, strict=True):
        if axis.__class__ is str:
            expected = sizes.get(axis)
            if expected is None:
                expected = new.setdefault(axis, size)
        else:
            expected = size if axis is None else axis
        if expected != size:
            return False
    sizes.update(new)
    if several >= 0 and name is not None:
        shapes[name] = (False, together)
    return True
