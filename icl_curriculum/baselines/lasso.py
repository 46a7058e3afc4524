"""The lasso, on all prefixes of all prompts.

Dimensions: batch = prompts, points = K + 1, dims = d, k = examples in context. Everything is computed in float64.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import NUMBERS_AND_VECTORS, Baseline, each_number, register_baseline
from icl_curriculum.baselines.lasso_paths import LassoFits
from icl_curriculum.core.prompts import Prompts

# Where weights are tied, e.g. those of two equal columns, there is more than one solution. Penalties that differ by up
# to this share of alpha choose one of them, and keep a path from going in circles among them.
_TIES = 1e-8
# How many numbers of the largest kind are held at once.
_CHUNK = 1 << 19


@register_baseline("lasso")
class Lasso(Baseline):
    """Lasso regression without intercept: argmin |y - Xw|^2 / 2k + alpha |w|_1. Source: Tibshirani 1996.

    The objective is scikit-learn's, in which the loss is a mean over the k examples.
    """

    answers = NUMBERS_AND_VECTORS

    id_fields: ClassVar[tuple[str, ...]] = ("alpha",)

    alpha: float = Field(
        0.1,
        gt=0,
        allow_inf_nan=False,
        description="penalty on the sum of the absolute weights, beside half the mean square",
    )

    @each_number
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        weights = lasso_coefficients(prompts.xs, prompts.ys, self.alpha)
        return (weights * prompts.query().double()).sum(-1)


def lasso_coefficients(
    xs: Float[Tensor, "batch points dims"], ys: Float[Tensor, "batch points"], alpha: float
) -> Float[Tensor, "batch points dims"]:
    """Returns in entry k argmin_w |y - Xw|^2 / 2k + alpha |w|_1 over the first k examples, in float64; 0 at k = 0.

    Exact but for rounding and for ties: with g = X^T (y - Xw) / k, g_j is alpha sign(w_j) where w_j is not 0 and
    |g_j| at most alpha where it is, both within 2e-8 alpha, or within about 1e-15 |x_j| |y| / k if that is more.
    Of several solutions it is always the same one, whatever the order of the examples. The last example is not used.
    """
    batch, points, dims = xs.shape
    rows, labels = xs.double().cpu().numpy(), ys.double().cpu().numpy()
    weights = np.zeros((batch, points, dims))
    # The sines of 1, 2, 3, ... have no rational relation, so the penalties that break ties have none either.
    penalties = alpha * (1 + _TIES * (1 + np.sin(np.arange(1, dims + 1))) / 2)
    step = max(1, _CHUNK // dims**2)
    for start in range(0, batch, step):
        part = slice(start, start + step)
        fits = LassoFits(len(rows[part]), dims)
        for k in range(1, points):
            fits.move_on(rows[part, :k], labels[part, :k], k * penalties)
            weights[part, k] = fits.weights
    return torch.from_numpy(weights).to(xs.device)
