"""Inputs that are shown in part.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.observations.base import Observation, Pairs, register_observation

#: Ridge regression whose penalty follows from the examples (MacKay 1992): what is missing is noise of unknown size.
BAYESIAN_RIDGE: dict[str, Any] = {
    "name": "sklearn",
    "regressor": "BayesianRidge",
    "parameters": {"fit_intercept": False},
    "id": "bayesian_ridge",
}


@register_observation("missing_features")
class MissingFeatures(Observation):
    """A share of the coordinates of every input is missing: it is shown as 0, with an indicator beside it.

    Coordinates are missing completely at random, in context and query alike; the label and the target are those of
    the whole input. With ``indicator = "shown"`` an input is shown as 2 d numbers: the d coordinates, then 1 where one
    was seen and 0 where it is missing. With ``"left_out"`` it stays d numbers, and a 0 may be either.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("share",)
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (BAYESIAN_RIDGE,)

    share: float = Field(0.2, ge=0, lt=1, description="probability that a coordinate is missing")
    indicator: Literal["shown", "left_out"] = Field(
        "shown", description="'shown': d further numbers, 1 where a coordinate was seen and 0 where it is missing"
    )

    def shown_dims(self, dims: int) -> int:
        return 2 * dims if self.indicator == "shown" else dims

    def show(self, pairs: Pairs, generator: torch.Generator) -> Pairs:
        xs = self._masked(pairs.xs, generator)
        return replace(pairs, xs=xs, queries=None if pairs.queries is None else self._masked(pairs.queries, generator))

    def _masked(
        self, xs: Float[Tensor, "n points dims"], generator: torch.Generator
    ) -> Float[Tensor, "n points shown"]:
        seen = torch.rand(xs.shape, generator=generator, device=generator.device) >= self.share
        known = torch.where(seen, xs, 0.0)
        return known if self.indicator == "left_out" else torch.cat([known, seen.to(xs.dtype)], dim=-1)
