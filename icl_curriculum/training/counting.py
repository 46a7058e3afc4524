"""Which positions of a training prompt count in the loss, and how much: options of ``[training]``.

Dimensions: n = prompts, points = K + 1 (entry k has k examples before it).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from icl_curriculum.config.positions import Positions
from icl_curriculum.core.prompts import Prompts, shares
from icl_curriculum.core.transfers import free_to_look, sent


@dataclass(frozen=True)
class Counting:
    """What ``training.positions``, ``training.shortest_prompt`` and ``training.label_smoothing`` say."""

    positions: Positions = "all"
    shortest: int | None = None
    smoothing: float = 0.0

    def weighed(
        self, prompts: Prompts, lengths: torch.Generator | None, balance: Float[Tensor, " points"] | None = None
    ) -> tuple[Prompts, int]:
        """The prompts with the weights of their entries, and with smoothed labels; themselves where nothing is asked.

        And how many of them count at all. ``lengths``: the generator of the prompts' numbers of points, where these are
        random; ``balance``: the weights of positions that are balanced, once these are known, all positive.
        """
        if self.smoothing:
            uniform = 1 / prompts.label_dims
            prompts = replace(prompts, targets=(1 - self.smoothing) * prompts.targets + self.smoothing * uniform)
        if self.positions in ("all", "balanced") and self.shortest is None and balance is None:
            return prompts, counting_prompts(prompts.counted(), len(prompts))
        # Without a mask all is known on the CPU, and no device has to be asked what counts.
        counting = torch.ones(prompts.xs.shape[:2], dtype=torch.bool) if prompts.mask is None else prompts.mask
        if self.shortest is not None:
            beginnings = _beginnings(len(prompts), prompts.points, self.shortest, lengths)
            counting = counting & sent(beginnings, counting.device)
        weights = counting.to(prompts.xs.dtype)
        if self.positions == "last":
            weights = last_of(counting).to(prompts.xs.dtype)
        elif isinstance(self.positions, int):
            weights = weights.clone()
            weights[:, : self.positions] = 0
        elif isinstance(self.positions, tuple):
            weights = weights * sent(torch.tensor(self.positions[: prompts.points]), weights.device)
        # A mask takes nothing away from weights that were made of it, nor does balance, which is positive everywhere.
        counted = counting_prompts(weights, len(prompts))
        if balance is not None:
            weights = sent(weights, balance.device) * balance
        return replace(prompts, loss_weights=sent(shares(weights), prompts.xs.device)), counted


def last_of(counting: Bool[Tensor, "n points"], each: int = 1) -> Bool[Tensor, "n points"]:
    """Of the entries that count in each prompt the last one alone; the last ``each`` of pairs that have as many."""
    pairs = counting[:, ::each]
    later = pairs.flip(1).cumsum(dim=1).flip(1)
    last = pairs & (later == 1)
    return last if each == 1 else last.repeat_interleave(each, dim=1)


def _beginnings(n: int, points: int, shortest: int, made: torch.Generator | None) -> Bool[Tensor, "n points"]:
    """The first entries of each prompt, so many as its length drawn uniformly from ``shortest`` to all."""
    drawn = torch.randint(min(shortest, points), points + 1, (n, 1), generator=made)
    return torch.arange(points) < drawn


def counting_prompts(weights: Float[Tensor, "n points"] | None, n: int) -> int:
    """How many prompts count at all; waits for the device of the weights, but where all count."""
    return n if weights is None else int((weights.sum(dim=1) > 0).sum())


def number_counting(weights: Float[Tensor, "n points"] | None, n: int) -> int | Int[Tensor, ""]:
    """The same as `counting_prompts`, as a tensor where its number would be waited for."""
    if weights is None or free_to_look(weights):
        return counting_prompts(weights, n)
    return (weights.sum(dim=1) > 0).sum()


def mean_counting(errors: Float[Tensor, "n ..."], counts: Bool[Tensor, " n"] | None) -> Float[Tensor, ""]:
    """The mean of the errors of those prompts that count, one each; of all errors where ``counts`` is None."""
    if counts is None:
        return errors.mean()
    if free_to_look(counts):
        return errors[counts].mean()
    # To pick some of them, their number would have to be waited for.
    return torch.where(counts, errors, 0.0).sum() / counts.sum()
