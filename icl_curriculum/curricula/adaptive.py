"""Curricula that read the losses. Their state is plain values, and a function of the losses they were told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field

from icl_curriculum.curricula.base import Curriculum, State, block_of, check_blocks, register_curriculum


@register_curriculum("when_converged")
class WhenConverged(Curriculum):
    """The mixed curriculum, whose blocks end early where the newest item has converged.

    An item has converged when its mean normalized loss over its last ``window`` updates is below ``below`` (so that
    it has left the plateau) and at most the share ``improvement`` lower than over the ``window`` before. A block
    ends at the latest where that of `Mixed` does, so later items start no later than there.

    >>> curriculum = WhenConverged(window=1)
    >>> state = curriculum.start(["a", "b"], 100)
    >>> curriculum.shares(2, state, items=["a", "b"], steps=100)
    [1.0, 0.0]
    >>> for loss in (0.5, 0.5):
    ...     state = curriculum.update(state, {"a": loss})
    >>> curriculum.shares(2, state, items=["a", "b"], steps=100)
    [0.5, 0.5]
    """

    window: int = Field(40, ge=1, le=100_000, description="updates over which losses are averaged")
    improvement: float = Field(0.05, ge=0, lt=1, description="share of its loss by which an item must still improve")
    below: float = Field(0.9, gt=0, description="normalized loss that an item must have reached")

    def check(self, items: Sequence[str], steps: int) -> None:
        check_blocks(self, items, steps)

    def initial_state(self) -> State:
        return {"losses": {}, "converged": []}

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        opened = block_of(step, steps, len(items)) + 1
        while opened < len(items) and items[opened - 1] in state["converged"]:
            opened += 1
        return [1 / opened if i < opened else 0.0 for i in range(len(items))]

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        losses, converged = dict(state["losses"]), list(state["converged"])
        for item, loss in signals.items():
            if item in converged:
                continue
            recent = [*losses.get(item, ()), loss][-2 * self.window :]
            losses[item] = recent
            if len(recent) == 2 * self.window and self._has_converged(recent):
                converged.append(item)
                del losses[item]
        return {"losses": losses, "converged": converged}

    def _has_converged(self, losses: Sequence[float]) -> bool:
        before, after = (math.fsum(half) / self.window for half in (losses[: self.window], losses[self.window :]))
        return after < self.below and after >= (1 - self.improvement) * before


@register_curriculum("bandit")
class Bandit(Curriculum):
    """A bandit whose reward is learning progress: Exp3.S with rescaled rewards (Graves et al. 2017, arXiv 1704.03003).

    The progress on an item is how far its normalized loss lies below its own running mean, before the update; the
    source compares losses before and after the update on the same batch, which would cost another forward pass.
    Rewards are progress rescaled to [-1, 1], where -1 and 1 are the 20th and 80th percentile of the last
    ``history``. The policy is (1 - epsilon) softmax(weights) + epsilon / n. After step t with reward r on item i of
    probability p_i, with alpha = 1 / t and u = weights + (rate r / p_i on item i):

        weights_j = log((1 - alpha) exp(u_j) + alpha / (n - 1) sum over l != j of exp(u_l))

    Where prompts of several items are in one batch, each is observed for certain, and its p is 1.

    >>> curriculum = Bandit()
    >>> curriculum.shares(0, curriculum.start(["a", "b"], 100), items=["a", "b"], steps=100)
    [0.5, 0.5]
    """

    rate: float = Field(0.05, gt=0, le=100, description="step size of the weights, eta")
    epsilon: float = Field(0.1, ge=0, le=1, description="share that is uniform over all items")
    smoothing: float = Field(0.1, gt=0, le=1, description="weight of a new loss in its item's running mean")
    history: int = Field(400, ge=2, le=100_000, description="rewards that the percentiles are of")

    def start(self, items: Sequence[str], steps: int) -> State:
        return {"weights": dict.fromkeys(items, 0.0), "means": {}, "progress": [], "updates": 0}

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        policy = self._policy(state)
        return [policy[item] for item in items]

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        policy, weights, means = self._policy(state), dict(state["weights"]), dict(state["means"])
        progress, updates = list(state["progress"]), state["updates"] + 1
        for item, loss in signals.items():
            if item in means:
                made = means[item] - loss
                progress = [*progress, made][-self.history :]
                observed = policy[item] if len(signals) == 1 else 1.0
                weights[item] += self.rate * _rescaled(made, progress) / observed
                means[item] += self.smoothing * (loss - means[item])
            else:
                means[item] = loss
        return {"weights": _shared(weights, 1 / updates), "means": means, "progress": progress, "updates": updates}

    def _policy(self, state: State) -> dict[str, float]:
        weights = state["weights"]
        largest = max(weights.values())
        powers = {item: math.exp(weight - largest) for item, weight in weights.items()}
        total = math.fsum(powers.values())
        return {
            item: (1 - self.epsilon) * power / total + self.epsilon / len(weights) for item, power in powers.items()
        }


def _rescaled(made: float, history: Sequence[float]) -> float:
    """Rescale progress so that the 20th and 80th percentile of the history become -1 and 1, and cut it off there."""
    ordered = sorted(history)
    low, high = (ordered[round(part * (len(ordered) - 1))] for part in (0.2, 0.8))
    if high <= low:
        return 0.0
    return min(1.0, max(-1.0, 2 * (made - low) / (high - low) - 1))


def _shared(weights: Mapping[str, float], alpha: float) -> dict[str, float]:
    """The step of Exp3.S that gives each item the share alpha of the others' mean, so that none is ever lost."""
    if len(weights) == 1:
        return dict(weights)
    largest = max(weights.values())
    powers = {item: math.exp(weight - largest) for item, weight in weights.items()}
    total = math.fsum(powers.values())
    # Without a floor, a weight that underflows while alpha is 0 would have no logarithm.
    return {
        item: largest + math.log(max(1e-300, (1 - alpha) * power + alpha / (len(weights) - 1) * (total - power)))
        for item, power in powers.items()
    }
