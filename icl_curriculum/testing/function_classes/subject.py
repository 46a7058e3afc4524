"""The function class under check: its instance, the dimensions it allows, and draws from fixed streams.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation.learners import owns_oracle
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.testing.dimensions import InDimensions

#: The label noise with which signs and classes are checked: the probability of a flip, or of another class.
FLIPS = 0.25


class FunctionClassSubject(InDimensions[FunctionClass]):
    """A function class under check."""

    registry = FUNCTION_CLASSES
    base = FunctionClass
    example_summary = "f(x) = w·x with w ~ N(0, I)."

    @functools.cached_property
    def kept(self) -> dict[str, Any]:
        """What rules keep for one another, under names of their own: draws that several of them look at."""
        return {}

    @functools.cached_property
    def function_class(self) -> FunctionClass:
        """The instance without its pool and observation: `trivial_error`, `oracle` and the like are those without."""
        return self.as_given.model_copy(update={"pool_size": None, "observation": None})

    def inputs(self, dims: int) -> InputDistribution:
        """The reference inputs in ``dims`` dimensions."""
        self.doing = f"reference({dims})"
        built = INPUTS.build(self.function_class.reference(dims), beside=self.function_class)
        assert isinstance(built, InputDistribution)
        return built

    def noise(self, dims: int, share: float) -> float:
        """A noise that the class's labels can have: `FLIPS`, or a share of the root of the trivial error."""
        if self.function_class.sign_valued or self.function_class.class_valued:
            return FLIPS
        return share * math.sqrt(self.function_class.trivial_error(dims))

    @functools.cached_property
    def without_oracle(self) -> str | None:
        """Why no oracle is claimed, whatever the class inherits; None: it is asked for one."""
        own = self.function_class
        if owns_oracle(own) or self.cls.oracle is FunctionClass.oracle:
            return None
        if own.owns_inputs or own.has_memory or own.repeats_prompts:
            return (
                "not tested: the oracle, which no run asks, as it is inherited from a class of other prompts: one that "
                "declares owns_inputs, has_memory or repeats_prompts needs its own"
            )
        if own.shown_steps:
            return "the class shows steps beside what the one shows whose oracle it inherits, which is not claimed"
        if not (own.asks_itself or own.shows_by_method):
            return None
        what = "shows" if own.shows_by_method else "asks for"
        return f"the class {what} something else than the one whose oracle it inherits, which is not claimed"

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        """The kind of oracle that the class claims in ``dims`` dimensions under this noise."""
        self.doing = "oracle_for"
        return None if self.without_oracle is not None else self.function_class.oracle_for(dims, label_noise)

    def oracles(self, dims: int) -> dict[float, OracleKind]:
        """The kinds of oracle in ``dims`` dimensions: without noise, and under a large one."""
        return {noise: self.oracle_for(dims, noise) for noise in (0.0, self.noise(dims, 1.0))}

    def allows(self, dims: int) -> bool:
        """Whether the class lives in ``dims`` dimensions."""
        try:
            self.function_class.check_dims(dims)
        except Exception:  # The rule on dimensions reports an error that is no UserError.
            return False
        return True

    def sample(self, n: int, dims: int, made: torch.Generator) -> Parameters:
        self.doing = f"sample(n={n}, dims={dims})"
        return self.function_class.sample(n, dims, made)

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Tensor:
        self.doing = f"evaluate of xs of shape {tuple(xs.shape)} and {str(xs.dtype).removeprefix('torch.')}"
        return self.function_class.evaluate(parameters, xs)

    def asked(self, parameters: Parameters, queries: Float[Tensor, "n points dims"]) -> Tensor:
        """What the class asks at queries: `evaluate`, unless it overrides `ask`."""
        if not self.function_class.asks_itself:
            return self.evaluate(parameters, queries)
        self.doing = f"ask of queries of shape {tuple(queries.shape)}"
        return self.function_class.ask(parameters, queries)

    def draw(
        self, n: int, points: int, dims: int, streams: Streams, inputs: InputDistribution | None = None
    ) -> tuple[Tensor, Tensor, Parameters]:
        """Calls the class's own `draw` with the reference inputs, or with others."""
        chosen = self.inputs(dims) if inputs is None else inputs
        self.doing = f"draw(n={n}, points={points}, dims={dims}) with the inputs {chosen.id}"
        return self.function_class.draw(n, points, dims, chosen, streams)

    def example(
        self, n: int, points: int, dims: int, index: int = 0
    ) -> tuple[Parameters, Float[Tensor, "n points dims"]]:
        """Draws functions and reference inputs from streams of their own; ``own`` inputs with their functions."""
        if self.function_class.names_no_inputs(dims):
            xs, _, parameters = self.draw(n, points, dims, self.streams("example", index))
            return parameters, xs
        parameters = self.sample(n, dims, self.generator("functions", index))
        return parameters, self.inputs(dims).sample(n, points, dims, self.generator("inputs", index))

    def common_inputs(self, points: int, dims: int) -> Float[Tensor, "1 points dims"]:
        """The inputs of one prompt, at which all functions are looked at."""
        if self.function_class.names_no_inputs(dims):
            return self.draw(1, points, dims, self.streams("common inputs"))[0]
        return self.inputs(dims).sample(1, points, dims, self.generator("common inputs"))


def doubled(parameters: Parameters) -> Parameters:
    """The parameters with their floating tensors in float64."""
    return {name: value.double() if value.is_floating_point() else value for name, value in parameters.items()}


def copied(parameters: Parameters) -> Parameters:
    return {name: value.clone() for name, value in parameters.items()}
