"""Multinomial logistic regression on all prefixes, one length after another and all prompts at once.

Dimensions: batch = prompts, points = K + 1, inputs = d + 1 (a last one that is always 1), classes = C.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.baselines.base import Baseline, chance, register_baseline
from icl_curriculum.core.prompts import Prompts

#: Newton's method ends where no step moves a weight by more, or after so many steps.
_TOLERANCE, _MOST_STEPS = 1e-8, 60
#: How often a step is halved that does not go down, and how far down it must go for its length (Armijo's rule).
_HALVINGS, _ENOUGH = 20, 1e-4
#: Prompts that are fitted together: their Hessians are held at once.
_CHUNK = 1 << 24


@register_baseline("logistic_regression")
class LogisticRegression(Baseline):
    """Multinomial logistic regression with an L2 penalty: the mode of the posterior under weights N(0, 1 / penalty).

    It minimises -sum_i log p(c_i | x_i) + penalty/2 |W|^2 over the C × (d + 1) matrix W, with p = softmax(W (x, 1)), by
    Newton's method. The intercept is penalised like the other weights, so that there is a solution whichever classes
    have been shown. This is scikit-learn's objective with C = 1 / penalty, without its own intercept.
    """

    answers = frozenset({"classes"})

    penalty: float = Field(0.1, gt=0, allow_inf_nan=False, description="penalty on the squared weights")

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points classes"]:
        xs, queries = (F.pad(value.double(), (0, 1), value=1.0) for value in (prompts.xs, prompts.query()))
        labels, found = prompts.ys.double(), chance(prompts)
        n, points, classes = labels.shape
        size = max(1, _CHUNK // (classes * xs.shape[-1]) ** 2)
        asked = prompts.defined().any(dim=0).tolist()
        for start in range(0, n, size):
            part = slice(start, start + size)
            weights = xs.new_zeros(len(xs[part]), classes, xs.shape[-1])
            for k in range(1, points):
                # What is not asked need not be fitted; what comes after begins from the last fit.
                if asked[k]:
                    weights = _fitted(xs[part, :k], labels[part, :k], self.penalty, weights)
                    found[part, k] = torch.einsum("bci,bi->bc", weights, queries[part, k]).log_softmax(dim=-1)
        return found


def _fitted(
    xs: Float[Tensor, "batch k inputs"],
    labels: Float[Tensor, "batch k classes"],
    penalty: float,
    weights: Float[Tensor, "batch classes inputs"],
) -> Float[Tensor, "batch classes inputs"]:
    """The weights at the minimum, by Newton's method from given ones; every prompt takes steps of its own."""
    batch, classes, inputs = weights.shape
    ridge = penalty * torch.eye(classes * inputs, dtype=xs.dtype, device=xs.device)
    going = torch.arange(batch, device=xs.device)
    weights = weights.clone()
    for _ in range(_MOST_STEPS):
        own_xs, own_labels, own = xs[going], labels[going], weights[going]
        p = torch.einsum("bci,bki->bkc", own, own_xs).softmax(dim=-1)
        gradient = torch.einsum("bkc,bki->bci", p - own_labels, own_xs) + penalty * own
        curvature = torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)
        hessian = torch.einsum("bkcd,bki,bkj->bcidj", curvature, own_xs, own_xs)
        hessian = hessian.reshape(len(going), classes * inputs, -1) + ridge
        step = torch.linalg.solve(hessian, gradient.flatten(1)).view_as(own)
        slope = (gradient * step).sum(dim=(1, 2))
        before = _objective(own_xs, own_labels, penalty, own)
        length = torch.ones(len(going), 1, 1, dtype=xs.dtype, device=xs.device)
        for _ in range(_HALVINGS):
            after = _objective(own_xs, own_labels, penalty, own - length * step)
            too_far = after > before - _ENOUGH * length.flatten() * slope + 1e-12 * before.abs()
            if not bool(too_far.any()):
                break
            length = torch.where(too_far.view(-1, 1, 1), length / 2, length)
        weights[going] = own - length * step
        going = going[(length * step).abs().amax(dim=(1, 2)) > _TOLERANCE]
        if not len(going):
            break
    return weights


def _objective(xs: Tensor, labels: Tensor, penalty: float, weights: Tensor) -> Float[Tensor, " batch"]:
    logs = torch.einsum("bci,bki->bkc", weights, xs).log_softmax(dim=-1)
    return penalty / 2 * weights.square().sum(dim=(1, 2)) - (logs * labels).sum(dim=(1, 2))
