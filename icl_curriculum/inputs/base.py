"""The contract of an input distribution.

Dimensions: n = prompts, points = K + 1, dims = d. Context and query of a prompt share all that is drawn per prompt.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.registry import INPUTS, Registered


class InputDistribution(Component):
    """A distribution of the inputs of a prompt."""

    @property
    def tail_index(self) -> float:
        """The order below which moments of |x| exist; infinite for light tails."""
        return math.inf

    def check_dims(self, dims: int) -> None:
        """Raise UserError if the distribution does not exist in ``dims`` dimensions."""

    @abstractmethod
    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        """Draw the inputs of ``n`` prompts."""

    @abstractmethod
    def squared_norm(self, dims: int) -> float:
        """E|x|^2."""

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        """The eigenvalues of S if x ~ N(0, S) in a basis drawn uniformly for each prompt, else None."""
        return None

    def largest(self, dims: int) -> float:
        """The least bound on |x_j| that always holds; infinite if there is none."""
        return math.inf

    def only_signs(self, dims: int) -> bool:
        """Whether every coordinate is -1 or 1."""
        return False

    def only_corners(self, dims: int) -> bool:
        """Whether every coordinate is -b or b, where b is `largest`, so that E|x|^2 = d b^2."""
        largest = self.largest(dims)
        bounded = math.isfinite(largest) and math.isclose(self.squared_norm(dims), dims * largest**2)
        return bounded or self.only_signs(dims)

    def rotation_invariant(self, dims: int) -> bool:
        """Whether the distribution of a prompt's inputs stays the same if all are rotated by the same rotation."""
        return self.spectrum(dims) is not None

    def rank(self, dims: int) -> int:
        """The dimensions of the space that a prompt's inputs span, if there are enough inputs."""
        spectrum = self.spectrum(dims)
        return dims if spectrum is None else sum(value > 0 for value in spectrum)


register_inputs = INPUTS.of(InputDistribution)

#: A field that holds an input distribution.
AnyInputs = Annotated[InputDistribution, Registered(INPUTS)]
