"""Weights by which all positions of a prompt count alike in the loss, however large their errors: "balanced".

The mean over positions is mostly the errors at few examples, much of which no learner can avoid, and its gradients are
mostly their noise. With every position's error over what it has been lately, what is descended is the mean over
positions of the logarithm of the error.

Dimensions: points, p = K + 1 (entry k has k examples before it); n = prompts; e = entries of a position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.curricula import CurriculumPlan
from icl_curriculum.models.base import Model
from icl_curriculum.models.calling import entry_errors, given

#: The first part of the names of the streams whose prompts errors are measured on.
BALANCE = "balance"
#: Errors are measured every so many updates, on so many prompts of each cell, and enter the running mean by this share.
#: Together they cost a hundredth to a thirtieth of the time of training.
EVERY, N_PROMPTS, SHARE = 25, 32, 0.2
#: An error of a position counts as no less than this share of the largest.
_LEAST = 1e-9


class Balance:
    """The running mean of the error of each cell at every position.

    It is measured on prompts that are not trained on, unless training goes through fixed ones: then on some of these.
    """

    def __init__(self) -> None:
        self.errors: dict[tuple[str, str], Tensor] = {}

    def measure(
        self,
        model: Model,
        cells: Iterable[tuple[str, str]],
        step: int,
        draw: Callable[[tuple[str, str]], Prompts],
        each: int = 1,
    ) -> list[tuple[str, str]]:
        """Measure the errors of cells if it is time, and of those that have never been; which ones these are.

        ``draw`` gives the prompts of a cell, of which so many entries, ``each``, are one position.
        """
        due = [cell for cell in cells if cell not in self.errors or step % EVERY == 0]
        for cell in due:
            found = errors_by_position(model, draw(cell), each)
            known = self.errors.get(cell, found)
            # What is not finite once, such as the error on an input of a heavy tail, is left out.
            later = torch.where(found.isfinite(), known.lerp(found, SHARE), known)
            self.errors[cell] = torch.where(known.isfinite(), later, found)
        return due

    def weights(self, cell: tuple[str, str], points: int) -> Float[Tensor, " points"] | None:
        """The weights of the first positions, whose mean is 1; None for a cell that has not been measured.

        All are positive: a position whose error is not known to be finite has that of the largest error.
        """
        if cell not in self.errors:
            return None
        return balanced(self.errors[cell][:points])

    def state_dict(self) -> list[list[Any]]:
        return [[*cell, errors] for cell, errors in self.errors.items()]

    def load_state_dict(self, state: list[list[Any]], device: str) -> None:
        self.errors = {(one, other): errors.to(device) for one, other, errors in state}


def prompts_measured(plan: CurriculumPlan) -> int:
    """How many prompts a run by this plan measures its errors on; by the initial shares of a curriculum that adapts."""
    state, known, cells = plan.initial_state(), set[tuple[str, str]](), 0
    for step in range(plan.steps):
        offered = plan.shares(step, state).offered()
        cells += len(offered - known if step % EVERY else offered)
        known |= offered
    return cells * N_PROMPTS


def balanced(errors: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """Weights of mean 1 that are inverse to errors.

    >>> balanced(torch.tensor([3.0, 1.0]))
    tensor([0.5000, 1.5000])
    """
    finite = errors.isfinite()
    known = torch.where(finite, errors, 0.0)
    largest = known.max()
    inverse = 1 / known.clamp_min(_LEAST * largest)
    inverse = torch.where(finite, inverse, 1 / largest)
    # Where all errors are zero, or none is a number, there is nothing to weigh by.
    inverse = torch.where(largest > 0, inverse, 1.0)
    return inverse / inverse.mean()


@torch.no_grad()
def errors_by_position(model: Model, prompts: Prompts, each: int = 1) -> Float[Tensor, " points"]:
    """The mean over prompts of the error that training descends, at each position; NaN where none of them counts.

    ``each``: so many entries are one position, a pair with its reasoning steps.
    """
    predictions = model(prompts.xs, prompts.ys, **given(instruction=prompts.instruction))
    mask = prompts.mask
    targets = prompts.targets
    if mask is not None:
        targets = torch.where(mask if targets.ndim == 2 else mask.unsqueeze(-1), targets, 0.0)
    errors = entry_errors(predictions.float(), targets, classes=prompts.classes)
    pairs = rearrange(errors, "n (p e) -> n p e", e=each)
    if mask is None:
        return pairs.mean(dim=(0, 2))
    counting = rearrange(mask, "n (p e) -> n p e", e=each)
    return torch.where(counting, pairs, 0.0).sum(dim=(0, 2)) / counting.sum(dim=(0, 2))
