"""The input distribution under check, and its draws from fixed streams.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import torch
from torch import Tensor

from icl_curriculum.core.registry import INPUTS
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.testing.dimensions import InDimensions


class InputsSubject(InDimensions[InputDistribution]):
    """An input distribution under check."""

    registry = INPUTS
    base = InputDistribution
    example_summary = "x ~ N(0, I)."

    def sample(self, n: int, points: int, dims: int, made: torch.Generator) -> Tensor:
        self.doing = f"sample(n={n}, points={points}, dims={dims})"
        return self.as_given.sample(n, points, dims, made)

    def drawn(self, n: int, points: int, dims: int, purpose: str, index: int = 0) -> Tensor:
        """Inputs (n, points, dims) from a stream of their own."""
        return self.sample(n, points, dims, self.generator(purpose, index))

    def stated(self, method: str, dims: int) -> object:
        """What a method of the dimensions alone says."""
        self.doing = f"{method}({dims})"
        return getattr(self.as_given, method)(dims)

    @property
    def stated_tail_index(self) -> object:
        self.doing = "tail_index"
        return self.as_given.tail_index
