"""The contract of a function class, the suite's main plugin.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import FUNCTION_CLASSES, Component
from icl_curriculum.streams import Streams

Parameters = dict[str, Tensor]
OracleKind = Literal["optimum", "lower bound"] | None

register_function_class = FUNCTION_CLASSES.register


class InputSampler(Protocol):
    """What a function class needs of an input distribution."""

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]: ...


class FunctionClass(Component):
    """A family of functions from R^d to R, with a distribution over them.

    A subclass gives `sample`, `evaluate` and `trivial_error`; the rest has defaults. Register it with
    ``@register_function_class("name")``; its pydantic fields become parameters in experiment files.
    """

    #: Registered name of the input distribution for which `trivial_error` is stated.
    reference_inputs: ClassVar[str] = "gaussian"
    #: Ids of the baselines that make sense for the class.
    baselines: ClassVar[tuple[str, ...]] = ("zero", "averaging", "least_squares", "ridge", "knn")
    outputs: Literal["raw", "unit"] = Field(
        "raw", description="'unit' divides the labels by the root of the trivial error"
    )
    label_noise: float = Field(0.0, ge=0, description="standard deviation of the noise on context labels, raw units")

    @property
    def growth(self) -> float:
        """g where f(c x) grows like c^g (the degree of a polynomial); decides which moments exist."""
        return 1.0

    @property
    def oracle_kind(self) -> OracleKind:
        """What `oracle` is: the best any learner can do, or a lower bound that knows more; None: no oracle."""
        return None

    def check_dims(self, dims: int) -> None:
        """Raise UserError if the class cannot live in ``dims`` dimensions."""

    @abstractmethod
    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        """Draw ``n`` functions: tensors whose leading axis is ``n``."""

    @abstractmethod
    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        """The clean values f_i(x_ij). Pure: no random draws, nothing mutated."""

    @abstractmethod
    def trivial_error(self, dims: int) -> float:
        """E[f(x)^2] under the reference inputs: the squared error of predicting zero, raw units."""

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        """E[f(x)^2] for other inputs, raw units, or None where there is no closed form.

        ``squared_norm`` is E|x|^2. ``spectrum``, if not None, says that the inputs are N(0, U diag(spectrum) U^T)
        with a uniformly random rotation U per prompt.
        """
        return None

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """The predictions of the class's oracle; the one reader of ``prompts.truth``."""
        raise NotImplementedError(f"{self.name} has no oracle")

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points"], Parameters]:
        """Inputs, clean raw values and parameters. A class that makes its own inputs overrides this."""
        xs = inputs.sample(n, points, dims, streams.generator("inputs"))
        parameters = self.sample(n, dims, streams.generator("functions"))
        return xs, self.evaluate(parameters, xs), parameters

    def output_scale(self, dims: int) -> float:
        """What raw values are multiplied by: 1, or 1 / sqrt(trivial_error) for ``outputs = "unit"``."""
        return 1.0 if self.outputs == "raw" else 1.0 / math.sqrt(self.trivial_error(dims))


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal draws on the generator's device."""
    return torch.randn(*shape, generator=generator, device=generator.device)
