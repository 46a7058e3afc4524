"""Shifts that draw the inputs from another distribution.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from icl_curriculum.inputs import AnyInputs, HalfSubspace, InputDistribution, Scaled, Skewed
from icl_curriculum.shifts.base import Shift, register_shift
from icl_curriculum.tasks import Task


class _InputsShift(Shift):
    """A shift to other inputs in the whole prompt. The tables name them as the input distribution."""

    @abstractmethod
    def changed(self) -> InputDistribution:
        """The inputs at test time."""

    def apply(self, task: Task) -> Task:
        return replace(task, inputs=self.changed())

    def columns(self, task: Task) -> tuple[str, str]:
        return self.changed().id, "none"


@register_shift("skewed")
class SkewedShift(_InputsShift):
    """Inputs from the skewed Gaussian, a fresh rotation for every prompt. Source: Garg et al. 2022."""

    def changed(self) -> InputDistribution:
        return Skewed()


@register_shift("half_subspace")
class HalfSubspaceShift(_InputsShift):
    """Inputs from a random subspace of half the dimensions, fresh for every prompt. Source: Garg et al. 2022."""

    def changed(self) -> InputDistribution:
        return HalfSubspace()


@register_shift("other_inputs")
class OtherInputs(_InputsShift):
    """Inputs from any distribution, Student's t by default."""

    id_fields: ClassVar[tuple[str, ...]] = ("inputs",)

    inputs: AnyInputs = Field("student_t", validate_default=True, description="the distribution at test time")

    def changed(self) -> InputDistribution:
        return self.inputs


@register_shift("scaled_inputs")
class ScaledInputs(Shift):
    """All inputs multiplied by ``factor``. Source: Garg et al. 2022."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, ge=1e-6, le=1e6, description="what the inputs are multiplied by")

    def undefined(self, task: Task) -> str | None:
        return "it makes its own inputs" if task.function_class.owns_inputs else None

    def apply(self, task: Task) -> Task:
        return replace(task, inputs=Scaled(factor=self.factor, of=task.inputs))
