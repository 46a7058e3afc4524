"""Shifts: out-of-distribution prompts made from a task.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.inputs import InputDistribution
from icl_curriculum.inputs import Skewed as SkewedInputs
from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import SHIFTS, Component
from icl_curriculum.streams import Streams
from icl_curriculum.tasks import Task


class Shift(Component):
    """A change between training and test. The defaults change nothing; a subclass overrides what it changes."""

    def undefined(self, task: Task) -> str | None:
        """Why the shift makes no sense for this task, or None where it does."""
        return None

    def apply(self, task: Task) -> Task:
        """The task that prompts are drawn from and whose E f(q)^2 normalises the error."""
        return task

    def points(self, points: int) -> int:
        """Points of a shifted prompt, given those of a trained one."""
        return points

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        """``n`` shifted prompts; ``task`` is the original one, ``points`` already the shifted number."""
        return self.apply(task).draw(n, points, streams)

    def columns(self, task: Task) -> tuple[str, str]:
        """What the tables say in ``input_distribution`` and ``shift``."""
        return task.inputs.id, self.id


register_shift = SHIFTS.of(Shift)


@register_shift("skewed")
class Skewed(Shift):
    """Inputs from the skewed Gaussian, a fresh rotation for every prompt. Source: Garg et al. 2022."""

    def apply(self, task: Task) -> Task:
        return replace(task, inputs=SkewedInputs())

    def columns(self, task: Task) -> tuple[str, str]:
        return SkewedInputs().id, "none"


@register_shift("scaled_inputs")
class ScaledInputs(Shift):
    """All inputs multiplied by ``factor``. Source: Garg et al. 2022."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, ge=1e-6, le=1e6, description="what the inputs are multiplied by")

    def apply(self, task: Task) -> Task:
        return replace(task, inputs=_Scaled(factor=self.factor, inputs=task.inputs))


@register_shift("random_quadrants")
class RandomQuadrants(Shift):
    """All context inputs in one random orthant, the query anywhere; every prompt length asks a query of its own.

    The marginal of the query is that of the task's inputs. Source: Garg et al. 2022.
    """

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        xs, _, truth = task.function_class.draw(n, points, task.dims, task.inputs, streams)
        queries = task.inputs.sample(n, points, task.dims, streams.generator("queries"))
        signs = torch.randint(
            0, 2, (n, 1, task.dims), generator=(made := streams.generator("orthants")), device=made.device
        )
        xs = xs.abs() * (2 * signs - 1)
        function_class = task.function_class
        return task.label(
            xs,
            function_class.evaluate(truth, xs),
            truth,
            streams,
            queries=queries,
            query_values=function_class.evaluate(truth, queries),
        )


@register_shift("label_noise")
class LabelNoise(Shift):
    """Gaussian noise on the context labels; the target stays clean. Source: Garg et al. 2022."""

    id_fields: ClassVar[tuple[str, ...]] = ("level",)

    level: float = Field(0.5, gt=0, le=1e6, description="standard deviation over the root of the trivial error")

    def apply(self, task: Task) -> Task:
        trivial = task.function_class.trivial_error(task.dims)
        return replace(task, label_noise=self.level * math.sqrt(trivial))


@register_shift("longer_prompts")
class LongerPrompts(Shift):
    """Prompts with ``factor`` times as many examples as any trained prompt had."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, gt=1, le=1e6, description="examples over trained examples")

    def points(self, points: int) -> int:
        return round(self.factor * (points - 1)) + 1


class _Scaled(InputDistribution):
    """Another distribution's inputs times a factor."""

    factor: float
    inputs: InputDistribution

    @property
    def tail_index(self) -> float:
        return self.inputs.tail_index

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return self.inputs.sample(n, points, dims, generator) * self.factor

    def squared_norm(self, dims: int) -> float:
        return self.inputs.squared_norm(dims) * self.factor**2

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        spectrum = self.inputs.spectrum(dims)
        return None if spectrum is None else tuple(value * self.factor**2 for value in spectrum)
