"""Fingerprints of banks: a few sums that tell whether other hardware drew the same prompts up to the last bits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from icl_curriculum.core.prompts import Prompts

#: The last bits may move a weighted sum by this share of the root mean square of the values.
TOLERANCE = 1e-4
_FREQUENCIES = (0.0, 1.0, math.sqrt(2))


def fingerprint(prompts: Prompts) -> dict[str, list[Any]]:
    """Each tensor's type, shape and root mean square, and sums of its values weighted with waves, over sqrt(size).

    A change of a single value moves the sums by its share; last bits move them by about 1e-7.
    """
    found = {}
    for name in ("xs", "ys", "targets", "queries", "mask", "steps"):
        value = getattr(prompts, name)
        if value is not None:
            flat = value.double().flatten()
            positions = torch.arange(len(flat), dtype=torch.float64)
            numbers = [flat.square().mean().sqrt()] + [
                (flat * (frequency * positions).cos()).sum() / math.sqrt(len(flat)) for frequency in _FREQUENCIES
            ]
            shape = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
            found[name] = [shape, *(float(f"{float(number):.9g}") for number in numbers)]
    return found


def same_prompts(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the fingerprints of two banks differ by no more than the last bits."""
    names = recorded.keys() - {"hash"}
    return names == found.keys() - {"hash"} and all(_close(recorded[name], found[name]) for name in names)


def _close(recorded: list[Any], found: list[Any]) -> bool:
    allowed = TOLERANCE * recorded[1]
    return recorded[0] == found[0] and all(
        abs(one - other) <= allowed for one, other in zip(recorded[1:], found[1:], strict=True)
    )
