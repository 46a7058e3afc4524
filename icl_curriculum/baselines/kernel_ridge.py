"""Kernel ridge regression on all prefixes at once.

Dimensions: batch = prompts, points = K + 1, dims = d. Everything is computed in float64.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.core.prompts import Prompts

# Rounding decides what is left of a diagonal entry below this share of it.
_ROUNDING = 1e-13


@register_baseline("kernel_ridge")
class KernelRidge(Baseline):
    """Kernel ridge regression: sum_i a_i K(x_i, q) with a = (K + penalty I)^-1 y, as scikit-learn's KernelRidge.

    ``polynomial``: K(x, q) = (gamma x·q + coef0)^degree. ``rbf``: exp(-gamma |x - q|^2). ``laplacian``:
    exp(-gamma |x - q|_1). ``arc_cosine``: K(x, q) = gamma d |x||q| (sin a + (pi - a) cos a) / pi, a the angle between
    x and q, the covariance of networks of one hidden layer of ReLUs (Cho and Saul 2009). With the default gamma it is
    that of the class `relu_network`, where no predictor that is linear in the labels does better as the penalty goes
    to 0: .24 at k = 2d for d = 5. The other defaults did best of a small grid on quadratic functions and ReLU networks
    together: normalized errors of .57 and .29 at k = 2d for d = 5, .70 and .30 for d = 20.
    """

    answers = NUMBERS_AND_VECTORS

    kernel: Literal["rbf", "polynomial", "laplacian", "arc_cosine"] = Field("polynomial", description="K(x, q)")
    gamma: float | None = Field(None, gt=0, allow_inf_nan=False, description="scale within the kernel; default: 1 / d")
    degree: int = Field(2, ge=1, le=20, description="degree of the polynomial kernel")
    coef0: float = Field(1.0, ge=0, allow_inf_nan=False, description="constant of the polynomial kernel")
    penalty: float = Field(0.1, gt=0, allow_inf_nan=False, description="penalty on the squared norm of the function")

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """Predict from one Cholesky factor for each prompt, whose leading blocks are the factors of the leading blocks.

        With K + penalty I = L L^T and z = L^-1 y, prediction k is the sum over i < k of (L^-1 K(X, q_k))_i z_i.
        """
        xs, ys, queries = prompts.xs.double(), prompts.ys.double(), prompts.query().double()
        own = self._kernel(xs, xs)
        factor = _cholesky(own, self.penalty)
        asked = own if prompts.queries is None else self._kernel(xs, queries)
        solved = torch.linalg.solve_triangular(factor, torch.cat([asked, ys.unsqueeze(-1)], dim=-1), upper=False)
        # In column k, triu(1) keeps the rows i < k.
        terms: Tensor = solved[..., :-1] * solved[..., -1:]
        return terms.triu(1).sum(dim=1)

    def _kernel(
        self, xs: Float[Tensor, "batch points dims"], others: Float[Tensor, "batch points dims"]
    ) -> Float[Tensor, "batch points points"]:
        gamma = 1 / xs.shape[-1] if self.gamma is None else self.gamma
        if self.kernel == "polynomial":
            return (gamma * torch.bmm(xs, others.mT) + self.coef0).pow(self.degree)
        if self.kernel == "arc_cosine":
            lengths = xs.norm(dim=-1).unsqueeze(-1) * others.norm(dim=-1).unsqueeze(-2)
            # By the chord, as the cosine of small angles loses half of its digits. A vector of zeros has no angle.
            chords = torch.cdist(
                nn.functional.normalize(xs, dim=-1),
                nn.functional.normalize(others, dim=-1),
                compute_mode="donot_use_mm_for_euclid_dist",
            )
            angles = 2 * (chords / 2).clamp_max(1.0).asin()
            values: Tensor = lengths * (angles.sin() + (math.pi - angles) * angles.cos())
            return values * (gamma * xs.shape[-1] / math.pi)
        p = 2.0 if self.kernel == "rbf" else 1.0
        distances = torch.cdist(xs, others, p=p, compute_mode="donot_use_mm_for_euclid_dist")
        return torch.exp(-gamma * distances**p)


def _cholesky(kernel: Float[Tensor, "batch points points"], penalty: float) -> Float[Tensor, "batch points points"]:
    """The lower factor of kernel + penalty I, column by column.

    In exact arithmetic squared pivots are never less than the penalty. Where rounding makes them less, they are raised
    to it here, while LAPACK would give up the whole prompt for one negative pivot.
    """
    factor = torch.zeros_like(kernel)
    for j in range(kernel.shape[-1]):
        before = factor[:, j:, :j]
        column = kernel[:, j:, j] - torch.bmm(before, before[:, 0].unsqueeze(-1)).squeeze(-1)
        least = (kernel[:, j, j] * _ROUNDING).clamp_min(penalty)
        pivot = (column[:, 0] + penalty).maximum(least).sqrt()
        factor[:, j:, j] = column / pivot.unsqueeze(-1)
        factor[:, j, j] = pivot
    return factor
