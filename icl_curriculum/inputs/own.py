"""The inputs that function classes make themselves, as far as they have no distribution with a name.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.inputs.base import InputDistribution, register_inputs


@register_inputs("own")
class Own(InputDistribution):
    """What a function class makes itself: points chosen given the function, earlier values, rows of a fixed set.

    Only classes with ``reference_inputs = "own"`` have such inputs, and nothing is stated of them: E|x|^2 is NaN, and
    there is no bound, no spectrum and no symmetry, so moments of functions come from the class's own draw. ``sample``
    gives N(0, I), which the class may make its inputs of.
    """

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return normal(n, points, dims, generator=generator)

    def squared_norm(self, dims: int) -> float:
        """NaN, as it is not known."""
        return math.nan

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        return None
