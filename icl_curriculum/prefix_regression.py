"""Linear regression on every prefix of every prompt at once.

Dimensions: batch = prompts, points = K + 1, features = columns of the design.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# A row whose part outside the span of the earlier rows has less than this share of its squared norm
# counts as lying in that span. In float64 rounding leaves about 1e-28.
_DEPENDENT = 1e-20


@dataclass(frozen=True)
class PrefixFits:
    """What the regressions on the first k rows say, for every k, in float64.

    ``predictions``: at query k. ``residuals``: the label of row k less its prediction. ``variances``: the
    predictive variance of the label of row k, for weights N(0, I) and noise of variance ``penalty``.
    """

    predictions: Float[Tensor, "batch points"]
    residuals: Float[Tensor, "batch points"]
    variances: Float[Tensor, "batch points"]


def predict_every_prefix(
    features: Float[Tensor, "batch points features"],
    labels: Float[Tensor, "batch points"],
    query_features: Float[Tensor, "batch points features"] | None = None,
    *,
    penalty: float = 0.0,
) -> Float[Tensor, "batch points"]:
    """Entry k: the prediction at query k by the regression on the first k rows; see `fit_every_prefix`."""
    return fit_every_prefix(features, labels, query_features, penalty=penalty).predictions


def fit_every_prefix(
    features: Float[Tensor, "batch points features"],
    labels: Float[Tensor, "batch points"],
    query_features: Float[Tensor, "batch points features"] | None = None,
    *,
    penalty: float = 0.0,
) -> PrefixFits:
    """The regressions on the first k rows, for every k.

    ``penalty = 0`` gives the minimum-norm least-squares solution (prediction 0 at k = 0), for any rank:
    Greville's recursion (1960) updates the solution, the projector onto the unseen directions and the
    pseudo-inverse of the Gram matrix row by row. ``penalty > 0`` gives ridge regression,
    argmin |y - Xw|^2 + penalty |w|^2, by the same recursion started from the inverse penalty, which is
    recursive least squares. Cost: points x features^2 per prompt; nothing is solved twice.
    """
    rows, ys = features.double(), labels.double()
    asked = rows if query_features is None else query_features.double()
    batch, points, width = rows.shape
    weights = rows.new_zeros(batch, width)
    gram_inverse = rows.new_zeros(batch, width, width)
    unseen = rows.new_zeros(batch, width, width)
    eye = torch.eye(width, dtype=rows.dtype, device=rows.device)
    if penalty > 0:
        gram_inverse += eye / penalty
    else:
        unseen += eye
    rank = torch.zeros(batch, 1, dtype=torch.long, device=rows.device)
    predictions, residuals, variances = (rows.new_zeros(batch, points) for _ in range(3))
    for k in range(points):
        predictions[:, k] = (weights * asked[:, k]).sum(-1)
        row = rows[:, k]
        known = torch.bmm(gram_inverse, row.unsqueeze(-1)).squeeze(-1)
        stretch = 1 + (known * row).sum(-1, keepdim=True)
        gain = known / stretch
        variances[:, k] = penalty * stretch.squeeze(-1)
        before, shrunk = gram_inverse, gram_inverse - gain.unsqueeze(-1) * known.unsqueeze(-2)
        gram_inverse = shrunk
        if penalty == 0:
            outside = torch.bmm(unseen, row.unsqueeze(-1)).squeeze(-1)
            size = (outside * outside).sum(-1, keepdim=True)
            variances[:, k] = size.squeeze(-1)
            # The rank caps them: past it, only rounding is left outside the span.
            new = (size > _DEPENDENT * (row * row).sum(-1, keepdim=True)) & (rank < width)
            rank = rank + new
            if bool(new.any()):
                dual = outside / torch.where(new, size, torch.ones_like(size))
                cross = known.unsqueeze(-1) * dual.unsqueeze(-2)
                grown = before - cross - cross.mT + stretch.unsqueeze(-1) * dual.unsqueeze(-1) * dual.unsqueeze(-2)
                gram_inverse = torch.where(new.unsqueeze(-1), grown, shrunk)
                rest = unseen - outside.unsqueeze(-1) * dual.unsqueeze(-2)
                unseen = torch.where(new.unsqueeze(-1), rest, unseen)
                gain = torch.where(new, dual, gain)
        residual = ys[:, k] - (weights * row).sum(-1)
        residuals[:, k] = residual
        weights = weights + gain * residual.unsqueeze(-1)
    return PrefixFits(predictions, residuals, variances)
