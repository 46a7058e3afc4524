"""Second moments of the targets of drawn prompts, with standard errors.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.results.statistics.moments import MomentEstimate, estimate_of

#: The prompts of a round, and the numbers of rounds after which an estimate may do: more follow while tails need them.
PROMPTS = 1 << 13
ROUNDS = (2, 4, 16, 64)
#: The most numbers drawn for one estimate, which keeps classes with many parameters affordable.
BUDGET = 1 << 24


@dataclass(frozen=True)
class SecondMoments:
    """Estimates of E target^2 over all defined entries of a prompt, and at each k that is defined."""

    overall: MomentEstimate
    at: dict[int, MomentEstimate]


def second_moments(draw: Callable[[int], Prompts]) -> SecondMoments:
    """Estimate second moments by Monte Carlo. ``draw(round)``, called 2 to 64 times, gives `PROMPTS` new prompts.

    Entries of a prompt share its function, so the overall standard error is that of means over whole prompts.
    Undefined entries are left out.
    """
    parts: list[Tensor] = []
    for rounds, more in zip(ROUNDS, (*ROUNDS[1:], 0), strict=True):
        for index in range(len(parts), rounds):
            prompts = draw(index)
            squared = prompts.targets.double().square()
            parts.append(squared if squared.ndim == 2 else squared.sum(dim=-1))
        squares = torch.cat(parts)
        defined = _defined(prompts)
        overall = estimate_of(squares[:, defined].mean(dim=1))
        if overall.judges_tails or more * len(prompts) * _numbers(prompts) > BUDGET:
            break
    at = {k: estimate_of(squares[:, k]) for k in range(squares.shape[1]) if defined[k]}
    return SecondMoments(overall, at)


def _defined(prompts: Prompts) -> Bool[Tensor, " points"]:
    """The entries that are defined. They are the same in every prompt."""
    if prompts.mask is None:
        return torch.ones(prompts.points, dtype=torch.bool)
    return prompts.mask.all(dim=0)


def _numbers(prompts: Prompts) -> int:
    """How many numbers it takes to draw one prompt."""
    parameters = prompts.truth or {}
    return prompts.xs[0].numel() + sum(value[0].numel() for value in parameters.values())
