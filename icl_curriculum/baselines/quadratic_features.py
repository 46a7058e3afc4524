"""Least squares on the products of two coordinates.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix

# How many features are held at once.
_CHUNK = 1 << 22


@register_baseline("quadratic_features")
class QuadraticFeatures(Baseline):
    """Minimum-norm least squares on polynomial features of degree 2.

    ``all``: 1, x_j and x_i x_j for i <= j, (d + 1)(d + 2) / 2 features, as scikit-learn's ``PolynomialFeatures``
    makes them. ``squares``: x_j^2 alone, of which the quadratic class is made.
    """

    answers = NUMBERS_AND_VECTORS

    features: Literal["all", "squares"] = Field("all", description="1, x_j and x_i x_j; or x_j^2 alone")

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        step = max(1, _CHUNK // (prompts.points * (prompts.dims + 1) * (prompts.dims + 2) // 2))
        parts = [prompts[start : start + step] for start in range(0, len(prompts), step)]
        return torch.cat([self._fitted(part) for part in parts])

    def _fitted(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        asked = None if prompts.queries is None else self._features(prompts.queries)
        return predict_every_prefix(self._features(prompts.xs), prompts.ys, asked, rounding=prompts.input_rounding)

    def _features(self, xs: Float[Tensor, "batch points dims"]) -> Float[Tensor, "batch points features"]:
        xs = xs.double()
        if self.features == "squares":
            return xs.square()
        i, j = torch.triu_indices(xs.shape[-1], xs.shape[-1], device=xs.device)
        return torch.cat([torch.ones_like(xs[..., :1]), xs, xs[..., i] * xs[..., j]], dim=-1)
