"""Linear regression on every prefix of every prompt at once.

Dimensions: batch = prompts, points = K + 1, features = columns of the design, labels = the numbers of a label, an axis
that is only there if they are several, each of which has a regression of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# A row whose part outside the span of the earlier rows has less than this share of its squared norm
# counts as lying in that span. In float64 rounding leaves about 1e-28.
_DEPENDENT = 1e-20
# Labels are float32: their rounding counts as noise of this share of an input's squared norm.
_ROUNDING = 1e-10
# How many numbers of one kind are held in memory at once.
_CHUNK = 1 << 19


@dataclass(frozen=True)
class PrefixFits:
    """The results of the regressions on the first k rows, for every k, in float64.

    ``predictions``: at query k. ``residuals``: the label of row k less its prediction. ``variances``: the
    predictive variance of the label of row k, for weights N(0, I) and noise of variance ``penalty``.
    ``stretches``: the variance that independent errors of variance 1 in all labels give to the residual,
    1 + x (X^T X + penalty I)^+ x^T where row k, x, lies in the span of the rows X before it.
    """

    predictions: Float[Tensor, "batch points *labels"]
    residuals: Float[Tensor, "batch points *labels"]
    variances: Float[Tensor, "batch points"]
    stretches: Float[Tensor, "batch points"]


def predict_every_prefix(
    features: Float[Tensor, "batch points features"],
    labels: Float[Tensor, "batch points *labels"],
    query_features: Float[Tensor, "batch points features"] | None = None,
    *,
    penalty: float = 0.0,
    rounding: float = 0.0,
) -> Float[Tensor, "batch points *labels"]:
    """Entry k: the prediction at query k by the regression on the first k rows; see `fit_every_prefix`."""
    return fit_every_prefix(features, labels, query_features, penalty=penalty, rounding=rounding).predictions


def fit_every_prefix(
    features: Float[Tensor, "batch points features"],
    labels: Float[Tensor, "batch points *labels"],
    query_features: Float[Tensor, "batch points features"] | None = None,
    *,
    penalty: float = 0.0,
    rounding: float = 0.0,
) -> PrefixFits:
    """The regressions on the first k rows, for every k.

    ``rounding``: the share of a row's norm up to which its part outside the span of the earlier rows is taken to be
    rounding of the features, by which nothing is told; 0: that of float64. Without a penalty alone.

    ``penalty = 0`` gives the minimum-norm least-squares solution (prediction 0 at k = 0), for any rank:
    Greville's recursion (1960) updates the solution, the projector onto the unseen directions and the
    pseudo-inverse of the Gram matrix row by row. ``penalty > 0`` gives ridge regression,
    argmin |y - Xw|^2 + penalty |w|^2, by the same recursion started from the inverse penalty, which is
    recursive least squares. Rows with more features than there are points are first written in an orthonormal
    basis of their span. Cost: points x min(points, features)^2 per prompt; nothing is solved twice.
    """
    batch, points, width = features.shape
    step = max(1, _CHUNK // max(1, points * min(points, width)))
    fits = []
    for start in range(0, batch, step):
        part = slice(start, start + step)
        rows, ys = features[part].double(), labels[part].double()
        asked = None if query_features is None else query_features[part].double()
        reached = [width] * points
        if width > points:
            rows, asked = _in_basis_of_rows(rows, asked)
            reached = list(range(1, points + 1))
        # The prompts come last, so that every step is arithmetic on whole rows of them.
        last = [value.permute(1, 2, 0).contiguous() for value in (rows, rows if asked is None else asked)]
        dependent = max(_DEPENDENT, rounding**2)
        fits.append(_recursion(last[0], torch.movedim(ys, 0, -1).contiguous(), last[1], penalty, dependent, reached))
    if not fits:
        nothing = labels.new_zeros(labels.shape, dtype=torch.float64)
        plain = features.new_zeros(0, points, dtype=torch.float64)
        return PrefixFits(nothing, nothing, plain, plain)
    return PrefixFits(*(torch.movedim(torch.cat(parts, dim=-1), -1, 0) for parts in zip(*fits, strict=True)))


def log_evidence(fits: PrefixFits, squared_norms: Float[Tensor, "batch points"]) -> Float[Tensor, "batch points"]:
    """Entry k: the log density of the first k labels under the model of the fits, up to a term in k alone.

    The model: weights N(0, I), noise of variance ``penalty``, and labels off by some 1e-5 of the norm of the inputs
    that they are made of, whose square is ``squared_norms``. Entry 0 is 0.
    """
    variances = fits.variances + _ROUNDING * (1 + squared_norms) * fits.stretches
    terms = -(fits.residuals.square() / variances + variances.log()) / 2
    return F.pad(terms[:, :-1].cumsum(dim=1), (1, 0))


def _in_basis_of_rows(
    rows: Float[Tensor, "batch points features"], asked: Float[Tensor, "batch points features"] | None
) -> tuple[Float[Tensor, "batch points points"], Float[Tensor, "batch points points"] | None]:
    """Rows and queries in an orthonormal basis, in which only the first k + 1 entries of row k are not zero.

    Householder's QR makes the basis vector by vector: a later row changes none of the vectors before its own. The
    parts of a query along later vectors, or outside the span of all, meet weights that are zero.
    """
    basis, triangle = torch.linalg.qr(rows.mT)
    return triangle.mT, None if asked is None else torch.bmm(asked, basis)


def _recursion(
    rows: Float[Tensor, "points features batch"],
    labels: Float[Tensor, "points *labels batch"],
    asked: Float[Tensor, "points features batch"],
    penalty: float,
    dependent: float,
    reached: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The fields of `PrefixFits`, the prompts last; the first k + 1 rows are zero from ``reached[k]`` on."""
    points, width, batch = rows.shape
    weights = rows.new_zeros(width, *labels.shape[1:])

    def beside(value: Float[Tensor, "features batch"]) -> Float[Tensor, "features *labels_or_1 batch"]:
        return value if labels.ndim == 2 else value.unsqueeze(1)

    # The pseudo-inverse of X^T X + penalty I, and the projector onto the directions that no row of X has.
    gram_inverse, unseen = rows.new_zeros(2, width, width, batch)
    (gram_inverse if penalty > 0 else unseen).diagonal().fill_(1 / penalty if penalty > 0 else 1.0)
    rank = torch.zeros(batch, dtype=torch.long, device=rows.device)
    predictions, residuals = torch.zeros_like(labels), torch.zeros_like(labels)
    variances, stretches = rows.new_zeros(2, points, batch)
    for k in range(points):
        predictions[k] = (weights * beside(asked[k])).sum(0)
        among = slice(reached[k])
        row = rows[k, among]
        inverse, others = gram_inverse[among, among], unseen[among, among]
        residuals[k] = labels[k] - (weights[among] * beside(row)).sum(0)
        known = (inverse * row).sum(1)
        stretches[k] = 1 + (known * row).sum(0)
        gain = known / stretches[k]
        if penalty > 0:
            variances[k] = penalty * stretches[k]
            inverse.addcmul_(gain.unsqueeze(1), known, value=-1)
        else:
            outside = (others * row).sum(1)
            variances[k] = (outside * outside).sum(0)
            # The rank caps them: past it, only rounding is left outside the span.
            new = (variances[k] > dependent * (row * row).sum(0)) & (rank < width)
            rank += new
            # A new direction adds d (stretch d - known)^T - known d^T to the inverse, where d is `dual`; any other
            # row subtracts gain known^T.
            dual = torch.where(new, outside / torch.where(new, variances[k], 1.0), 0.0)
            gain = torch.where(new, dual, gain)
            inverse.addcmul_(gain.unsqueeze(1), torch.where(new, stretches[k] * dual - known, -known))
            if bool(new.any()):
                inverse.addcmul_(known.unsqueeze(1), dual, value=-1)
                others.addcmul_(outside.unsqueeze(1), dual, value=-1)
        weights[among] += beside(gain) * residuals[k]
    return predictions, residuals, variances, stretches
