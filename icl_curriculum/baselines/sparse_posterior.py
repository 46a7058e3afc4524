"""The posterior mean for sparse linear functions whose support is unknown.

Dimensions: batch = prompts, points = K + 1, dims = d, supports = subsets of s coordinates.
"""

from __future__ import annotations

import itertools
import math

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import Baseline, register_baseline
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import fit_every_prefix, log_evidence

#: The most supports. It weighs all of them, and is not offered where there are more.
MOST_SUPPORTS = 20_000
# Supports whose weight is below this share of the best one's are dropped, as all of them together don't matter.
_NEGLIGIBLE = 1e-18
# How many inputs on supports are held at once.
_CHUNK = 1 << 21


@register_baseline("sparse_posterior")
class SparsePosterior(Baseline):
    """The posterior mean for f(x) = w·x, all but s = ``sparsity`` weights 0, the support uniform, the others N(0, 1).

    It is ridge regression on every support (least squares without noise), weighted by the evidence that the labels
    give for it: the best that can be learnt on `sparse_linear`. The cost grows as the number of supports, d choose s.
    UserError for s above d and for more than 20,000 supports. Normalized errors for d = 20, s = 3 without noise:
    .93, .87, .70, .01 at k = 1, 2, 3, 4 (20,000 prompts, standard errors of .01).
    """

    sparsity: int = Field(3, ge=1, le=1_000_000, description="number of non-zero coordinates, s")

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        supports = self._supports(prompts.dims).to(prompts.xs.device)
        step = max(1, _CHUNK // (prompts.points * supports.numel()))
        parts = [prompts[start : start + step] for start in range(0, len(prompts), step)]
        return torch.cat([_posterior_mean(part, supports) for part in parts])

    def check_dims(self, dims: int) -> None:
        if self.sparsity > dims:
            raise UserError(f"sparse_posterior: sparsity {self.sparsity} exceeds the number of dimensions {dims}")
        count = math.comb(dims, self.sparsity)
        if count > MOST_SUPPORTS:
            raise UserError(
                f"sparse_posterior: expected at most {MOST_SUPPORTS:,} supports to weigh, found {count:,}, "
                f"{self.sparsity} of {dims} coordinates"
            )

    def _supports(self, dims: int) -> Int64[Tensor, "supports sparsity"]:
        self.check_dims(dims)
        return torch.tensor(list(itertools.combinations(range(dims), self.sparsity)))


def _posterior_mean(prompts: Prompts, supports: Int64[Tensor, "supports sparsity"]) -> Float[Tensor, "batch points"]:
    """Predict the first s + 2 entries from all supports, and the others from those that this many examples leave."""
    answers = torch.zeros(prompts.ys.shape, dtype=torch.float64, device=prompts.xs.device)
    of = torch.arange(len(prompts), device=answers.device).repeat(len(supports))
    on = supports.repeat_interleave(len(prompts), dim=0)
    first = min(supports.shape[1] + 2, prompts.points)
    for start, end in ((0, first), (first, prompts.points)):
        if start == end:
            continue
        predictions, evidence = _fitted(prompts.first_points(end), of, on)
        best = torch.full((len(prompts), end), -math.inf, dtype=torch.float64, device=answers.device)
        best.scatter_reduce_(0, of.unsqueeze(1).expand_as(evidence), evidence, "amax")
        weights = (evidence - best[of]).exp()
        sums = torch.zeros_like(best).index_add_(0, of, weights * predictions)
        mass = torch.zeros_like(best).index_add_(0, of, weights)
        answers[:, start:end] = (sums / mass)[:, start:]
        # Later entries know all labels that entry `end - 1` knows.
        left = weights[:, -1] > _NEGLIGIBLE
        of, on = of[left], on[left]
    return answers * prompts.scale


def _fitted(
    prompts: Prompts, of: Int64[Tensor, " rows"], on: Int64[Tensor, "rows sparsity"]
) -> tuple[Float[Tensor, "rows points"], Float[Tensor, "rows points"]]:
    """The predictions for prompts ``of`` a batch by regression on supports ``on``, and the evidence for these."""

    def columns(xs: Float[Tensor, "batch points dims"]) -> Float[Tensor, "rows points sparsity"]:
        return xs.double().permute(1, 2, 0)[:, on.T, of].permute(2, 0, 1)

    queries = None if prompts.queries is None else columns(prompts.queries)
    penalty = prompts.noise_variance
    fits = fit_every_prefix(columns(prompts.xs), (prompts.ys.double() / prompts.scale)[of], queries, penalty=penalty)
    return fits.predictions, log_evidence(fits, prompts.xs.double().square().sum(-1)[of])
