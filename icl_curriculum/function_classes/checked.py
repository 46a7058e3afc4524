"""A function class's draws, held to the contract: whoever draws for training, banks or moments does it here.

Dimensions: n = prompts, points = K + 1, dims = d, labels = the numbers of a label, if they are several, steps = S, the
reasoning steps of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.contracts import at_work, broken_contract, expect_shape
from icl_curriculum.core.streams import Streams


def checked_draw(
    function_class: Any, inputs: Any, n: int, points: int, dims: int, streams: Streams, *, sampler: Any = None
) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points *labels"], dict[str, Tensor]]:
    """What `FunctionClass.draw` gives. ComponentFailed, naming whose fault it is, for what breaks the contract.

    ``sampler``: what inputs are sampled from instead of the distribution ``inputs``, which errors name.
    """
    with at_work(function_class, "draw"):
        drawn = function_class.draw(n, points, dims, _Checked(inputs if sampler is None else sampler, inputs), streams)
    xs, values, truth = drawn
    expect_shape(function_class, "draw (inputs)", xs, (n, points, dims), "prompts, points, dims")
    expect_shape(function_class, "draw (values)", values, *function_class.label_shape(n, points))
    return xs, values, truth


def checked_counts(
    function_class: Any, truth: dict[str, Tensor], asked: Float[Tensor, "n points dims"]
) -> Bool[Tensor, "n points"] | None:
    """What `FunctionClass.counts` gives."""
    with at_work(function_class, "counts"):
        counting: Tensor | None = function_class.counts(truth, asked)
    if counting is not None:
        expect_shape(function_class, "counts", counting, tuple(asked.shape[:2]), "prompts, points", torch.bool)
    return counting


def checked_steps(
    function_class: Any, truth: dict[str, Tensor], xs: Float[Tensor, "n points dims"]
) -> Float[Tensor, "n points steps"] | None:
    """What `FunctionClass.steps` gives; None where no steps are shown."""
    shown = function_class.shown_steps
    if not shown:
        return None
    with at_work(function_class, "steps"):
        steps: Tensor = function_class.steps(truth, xs)
    expect_shape(function_class, "steps", steps, (*xs.shape[:2], shown), "prompts, points, steps", xs.dtype)
    if not bool(steps.isfinite().all()):
        raise broken_contract(
            function_class, "steps", found="values that are not finite", expected="finite values at every input"
        )
    return steps


@dataclass(frozen=True)
class _Checked:
    """A sampler whose results are checked against the contract; errors name the distribution ``inputs``."""

    sampler: Any
    inputs: Any

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        with at_work(self.inputs, "sample"):
            xs: Tensor = self.sampler.sample(n, points, dims, generator)
        expect_shape(self.inputs, "sample", xs, (n, points, dims), "prompts, points, dims")
        return xs
