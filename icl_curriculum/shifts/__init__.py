"""Shifts: out-of-distribution prompts made from a task. Importing the package registers them."""

from icl_curriculum.shifts.base import Shift, keeps_oracle, makes_own_prompts, register_shift, why_undefined
from icl_curriculum.shifts.coverage import coverage, reference_task
from icl_curriculum.shifts.other_inputs import HalfSubspaceShift, OtherInputs, ScaledInputs, SkewedShift
from icl_curriculum.shifts.outputs import (
    LabelNoise,
    LongerPrompts,
    OtherClass,
    OtherFunctions,
    OtherObservation,
    ScaledOutputs,
)
from icl_curriculum.shifts.queries import OppositeQuadrants, OrthogonalQueries, OverlappingQueries, RandomQuadrants
from icl_curriculum.shifts.standard import STANDARD, standard_shifts
from icl_curriculum.shifts.steps import StepsGiven, StepsLeftOut

__all__ = [
    "STANDARD",
    "HalfSubspaceShift",
    "LabelNoise",
    "LongerPrompts",
    "OppositeQuadrants",
    "OrthogonalQueries",
    "OtherClass",
    "OtherFunctions",
    "OtherInputs",
    "OtherObservation",
    "OverlappingQueries",
    "RandomQuadrants",
    "ScaledInputs",
    "ScaledOutputs",
    "Shift",
    "SkewedShift",
    "StepsGiven",
    "StepsLeftOut",
    "coverage",
    "keeps_oracle",
    "makes_own_prompts",
    "reference_task",
    "register_shift",
    "standard_shifts",
    "why_undefined",
]
