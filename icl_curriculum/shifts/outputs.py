"""Shifts of the labels, of the functions, and of the prompts' length."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.function_classes import AnyFunctionClass, FunctionClass, labels_of, steps_of
from icl_curriculum.observations import AnyObservation
from icl_curriculum.shifts.base import Shift, register_shift
from icl_curriculum.tasks import Task


def _other_labels(own: FunctionClass, other: FunctionClass) -> str:
    return f"{other.id} has other labels: {labels_of(other)}, not {labels_of(own)}"


def _other_steps(own: FunctionClass, other: FunctionClass) -> str | None:
    """Why prompts of another class are no prompts for whoever reads the steps of this one; None: they are."""
    if own.shown_steps == other.shown_steps:
        return None
    return f"{other.id} shows {steps_of(other)}, and {own.id} {steps_of(own)}"


@register_shift("scaled_outputs")
class ScaledOutputs(Shift):
    """The functions multiplied by ``factor``; label noise stays as it is. Source: Garg et al. 2022."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, ge=1e-6, le=1e6, description="what the functions are multiplied by")

    def undefined(self, task: Task) -> str | None:
        if task.function_class.class_valued:
            return "its values are classes"
        return "its values are signs" if task.function_class.sign_valued else None

    def apply(self, task: Task) -> Task:
        return replace(task, factor=task.factor * self.factor)


@register_shift("label_noise")
class LabelNoise(Shift):
    """Gaussian noise on the context labels, or flips where labels are signs or classes; the target stays clean.

    Source: Garg et al. 2022.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("level",)

    level: float = Field(
        0.5,
        gt=0,
        le=1e6,
        description="standard deviation over the root of the trivial error, of vectors of each number's share of it",
    )
    flips: float = Field(0.1, gt=0, le=0.5, description="probability that a sign is flipped, or a class another one")

    def apply(self, task: Task) -> Task:
        if task.function_class.sign_valued or task.function_class.class_valued:
            return replace(task, label_noise=self.flips)
        power = task.function_class.trivial_error(task.dims) / task.function_class.label_dims
        return replace(task, label_noise=self.level * math.sqrt(power))

    def columns(self, task: Task) -> tuple[str, str]:
        if self.given_id is not None:
            return task.inputs.id, self.id
        # A parameter that the class does not read is not part of the id.
        flipped = task.function_class.sign_valued or task.function_class.class_valued
        read = (
            Identifier.of(self.name, settings={"flips": self.flips})
            if flipped
            else Identifier.of(self.name, [self.level])
        )
        return task.inputs.id, str(read)


@register_shift("other_class")
class OtherClass(Shift):
    """Functions of another class; the tables name it as the function class. Source: Garg et al. 2022, appendix.

    The inputs stay what they are. Only where one of the two classes makes inputs that have no name, ``own``, they are
    the reference inputs of the class at test time.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("function_class",)

    function_class: AnyFunctionClass = Field("linear", validate_default=True, description="the class at test time")

    def undefined(self, task: Task) -> str | None:
        own, other = task.function_class, self.function_class
        return _other_steps(own, other) if labels_of(own) == labels_of(other) else _other_labels(own, other)

    def apply(self, task: Task) -> Task:
        other = replace(task, function_class=self.function_class, label_noise=None)
        if task.has_own_inputs or self.function_class.names_no_inputs(task.dims):
            other = replace(other, inputs=other.reference_inputs())
        return other

    def columns(self, task: Task) -> tuple[str, str]:
        return self.apply(task).inputs.id, "none"


@register_shift("other_functions")
class OtherFunctions(Shift):
    """Functions of the same form from another distribution: the tables go on calling them by the trained class.

    The form is the same where the other class inherits `evaluate` from the trained one, or both from a third. The unit
    of the labels, their noise and what the context shows of them stay as they are, reasoning steps included. Source:
    Goddard et al. 2025, for weights from a cap of the sphere.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("function_class",)

    function_class: AnyFunctionClass = Field(
        "power_law_linear", validate_default=True, description="the class whose functions are asked at test time"
    )

    def undefined(self, task: Task) -> str | None:
        own, other = task.function_class, self.function_class
        if labels_of(own) != labels_of(other):
            return _other_labels(own, other)
        if own.form != other.form:
            return f"the functions of {other.id} have another form"
        return _other_steps(own, other.model_copy(update={"show_steps": own.show_steps}))

    def apply(self, task: Task) -> Task:
        own = task.function_class
        kept = {
            "outputs": own.outputs,
            "label_noise": own.label_noise,
            "show_steps": own.show_steps,
            "observation": own.observation,
            "given_id": None,
        }
        other = self.function_class.model_copy(update=kept)
        if other.id != own.id:
            other = other.model_copy(update={"given_id": own.id})
        if other == own:
            return task
        return replace(task, function_class=other, unit=task.output_unit if own.outputs == "unit" else task.unit)


@register_shift("other_observation")
class OtherObservation(Shift):
    """The context shows its examples in another way than in training; the targets stay what they are.

    Undefined where inputs would be shown as more or fewer numbers than the model reads: missing features keep their
    number with ``indicator = "left_out"``, or where the trained class shows an indicator, too.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("observation",)

    observation: AnyObservation = Field(
        "outliers", validate_default=True, description="how the context shows the examples at test time"
    )

    def apply(self, task: Task) -> Task:
        own = task.function_class
        if own.observation == self.observation:
            return task
        changed = own.model_copy(update={"observation": self.observation, "given_id": own.id})
        return replace(task, function_class=changed)


@register_shift("longer_prompts")
class LongerPrompts(Shift):
    """Prompts with ``factor`` times as many examples as any trained prompt had, and at least one more."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, gt=1, le=1e6, description="examples over trained examples")

    def points(self, points: int) -> int:
        return max(round(self.factor * (points - 1)), points) + 1
