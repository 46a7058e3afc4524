"""The grid of the catalogue: every shift and every other input distribution, with the parameters that are usual."""

from __future__ import annotations

from typing import Any

from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.shifts.base import Shift

#: Names or tables of shifts, in the order in which figures show them.
STANDARD: tuple[str | dict[str, Any], ...] = (
    "skewed",
    "half_subspace",
    *(
        {"name": "other_inputs", "inputs": inputs}
        for inputs in ("uniform", "sphere", "rademacher", "laplace", "student_t", "cauchy", "shifted")
    ),
    {"name": "scaled_inputs", "factor": 0.5},
    {"name": "scaled_inputs", "factor": 2.0},
    "random_quadrants",
    "opposite_quadrants",
    "orthogonal_queries",
    "overlapping_queries",
    {"name": "scaled_outputs", "factor": 0.5},
    {"name": "scaled_outputs", "factor": 2.0},
    "label_noise",
    "longer_prompts",
)


def standard_shifts() -> tuple[Shift, ...]:
    """The shifts of `STANDARD`, built."""
    built = [SHIFTS.build(spec) for spec in STANDARD]
    return tuple(shift for shift in built if isinstance(shift, Shift))
