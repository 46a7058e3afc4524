"""Random decision trees (Garg et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.function_classes.base import FunctionClass, Parameters, register_function_class


@register_function_class("decision_tree")
class DecisionTree(FunctionClass):
    """f(x): the leaf that x reaches in a full binary tree, going right at a node where its coordinate is positive.

    Every inner node looks at a uniformly random coordinate against the threshold 0; the leaves are N(0, 1).
    Trivial error 1 under any inputs, as leaves are independent of x. No oracle is known.
    Source: Garg et al. 2022, section 5.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", "knn", "greedy_tree", "gradient_boosting",
    )  # fmt: skip

    depth: int = Field(4, ge=1, le=16, description="decisions from the root to a leaf")

    @property
    def growth(self) -> float:
        return 0.0

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        inner = 2**self.depth - 1
        return {
            "coordinates": torch.randint(dims, (n, inner), generator=generator, device=generator.device),
            "leaves": normal(n, inner + 1, generator=generator),
        }

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        """Send all points down level by level. Nodes are numbered by level: node i has children 2i + 1 and 2i + 2."""
        coordinates, leaves = parameters["coordinates"], parameters["leaves"]
        positive = xs > 0
        node = torch.zeros(xs.shape[:2], dtype=torch.long, device=xs.device)
        for _ in range(self.depth):
            asked = coordinates.gather(1, node)
            node = 2 * node + 1 + positive.gather(2, asked.unsqueeze(-1)).squeeze(-1)
        return leaves.gather(1, node - coordinates.shape[1])

    def trivial_error(self, dims: int) -> float:
        return 1.0

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return 1.0
