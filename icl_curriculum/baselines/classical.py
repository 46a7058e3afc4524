"""Zero, averaging, least squares, ridge regression and nearest neighbours, on all prefixes at once.

Dimensions: batch = prompts, points = K + 1, dims = d. Everything is computed in float64.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import (
    ALL_LABELS,
    NUMBERS_AND_VECTORS,
    Baseline,
    chance,
    each_number,
    register_baseline,
)
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix


@register_baseline("zero")
class Zero(Baseline):
    """Predict 0, or where labels are classes that all are as likely: normalized error 1 by definition."""

    answers = ALL_LABELS

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        return chance(prompts) if prompts.classes else torch.zeros_like(prompts.ys)


@register_baseline("averaging")
class Averaging(Baseline):
    """Predict w·x with w the mean of y_i x_i. Source: Garg et al. 2022, section 3.

    For the linear class and Gaussian inputs the normalized error is (d + 1) / k.
    """

    answers = NUMBERS_AND_VECTORS

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        products = prompts.ys.double().unsqueeze(-1) * prompts.xs.double()
        counts = torch.arange(1, prompts.points + 1, device=products.device).unsqueeze(-1)
        means = products.cumsum(dim=1) / counts
        before = torch.cat([torch.zeros_like(means[:, :1]), means[:, :-1]], dim=1)
        return (before * prompts.query().double()).sum(-1)


@register_baseline("least_squares")
class LeastSquares(Baseline):
    """Minimum-norm least squares without intercept."""

    answers = NUMBERS_AND_VECTORS

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        return predict_every_prefix(prompts.xs, prompts.ys, prompts.queries, rounding=prompts.input_rounding)


@register_baseline("ridge")
class Ridge(Baseline):
    """Ridge regression without intercept: argmin |y - Xw|^2 + penalty |w|^2.

    If no penalty is given, it is the variance of the label noise over the square of the factor that the class's raw
    values were multiplied by. For raw weights w ~ N(0, I) this gives the posterior mean, whatever the unit of the
    outputs; without noise it is least squares.
    """

    answers = NUMBERS_AND_VECTORS

    penalty: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="penalty; default: the variance of the label noise, in the class's raw units",
    )

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        penalty = prompts.noise_variance if self.penalty is None else self.penalty
        return predict_every_prefix(
            prompts.xs, prompts.ys, prompts.queries, penalty=penalty, rounding=prompts.input_rounding
        )


@register_baseline("knn")
class NearestNeighbours(Baseline):
    """The mean label of the ``neighbors`` nearest examples (of all k where there are fewer), Euclidean distance.

    Where labels are classes, a class is as probable as its share of the neighbours and of one more example, which
    stands for all classes alike: (weight of the class + 1/C) / (weight of all neighbours + 1), with a mean weight of 1.
    """

    answers = ALL_LABELS
    id_fields: ClassVar[tuple[str, ...]] = ()

    neighbors: int = Field(3, ge=1, description="how many neighbours are averaged")
    weights: Literal["uniform", "distance"] = Field("uniform", description="equal, or inverse to the distance")

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        xs, ys, queries = prompts.xs.double(), prompts.ys.double(), prompts.query().double()
        points = prompts.points
        distances = torch.cdist(queries, xs, compute_mode="donot_use_mm_for_euclid_dist")
        later = torch.ones(points, points, dtype=torch.bool, device=xs.device).triu()
        nearest = distances.masked_fill(later, math.inf).topk(min(self.neighbors, points), dim=-1, largest=False)
        if self.weights == "uniform":
            shares = nearest.values.isfinite().to(ys.dtype)
        else:
            # A query that coincides with examples takes their mean alone, as in scikit-learn.
            exact = (nearest.values == 0).any(-1, keepdim=True)
            shares = torch.where(exact, (nearest.values == 0).to(ys.dtype), 1 / nearest.values)
        total = shares.sum(-1).clamp_min(torch.finfo(shares.dtype).tiny)
        if ys.ndim == 2:
            labels = ys.unsqueeze(1).expand_as(distances).gather(-1, nearest.indices)
            return (shares * labels).sum(-1) / total
        rows = torch.arange(len(ys), device=ys.device).view(-1, 1, 1)
        means = (shares.unsqueeze(-1) * ys[rows, nearest.indices]).sum(-2) / total.unsqueeze(-1)
        if not prompts.classes:
            return means
        weight = nearest.values.isfinite().sum(-1, keepdim=True)
        return ((means * weight + 1 / prompts.label_dims) / (weight + 1)).log()
