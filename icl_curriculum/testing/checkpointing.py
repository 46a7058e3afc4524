"""States that runs keep between steps: read as checkpoints are, and compared bit by bit."""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor


def read_again(state: dict[str, Any]) -> dict[str, Any]:
    """The state after it was written and read as checkpoints are."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return dict(torch.load(buffer, weights_only=True))


def unequal_places(one: Any, other: Any, place: str = "") -> list[str]:
    """The places where two states, of tensors and plain values, are not equal bit by bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        equal = one.shape == other.shape and bool(((one == other) | ((one != one) & (other != other))).all())
        return [] if equal else [place]
    if isinstance(one, dict) and isinstance(other, dict):
        found = [key for key in {**one, **other} if (key in one) != (key in other)]
        shared = [key for key in one if key in other]
        return [str(key) for key in found] + [
            at
            for key in shared
            for at in unequal_places(one[key], other[key], f"{place}[{key!r}]" if place else str(key))
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [at for i, (left, right) in pairs for at in unequal_places(left, right, f"{place}[{i}]")]
    return [] if one == other else [place]
