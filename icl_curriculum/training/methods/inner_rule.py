"""The rules by which tasks adapt their own parameters in an inner loop.

A rule is elementwise, so that it serves the parameters of one task as well as those of several, stacked on a leading
axis; and differentiable, so that a gradient flows through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor

from icl_curriculum.training.session import Session

#: Added to the second moment *inside* the root, the square of Adam's usual 1e-8. Outside the root, the second
#: derivative at a gradient of zero would be no number.
EPSILON_SQUARED = 1e-16

Parameters = dict[str, Tensor]
Rule = Literal["gradient_descent", "shared_adam"]


class InnerRule(Protocol):
    """One inner loop's way of stepping: it is made anew for every loop, and remembers its earlier steps."""

    def directions(self, gradients: Mapping[str, Tensor]) -> Parameters:
        """What the next step subtracts ``rate`` times from the parameters, for their gradients."""
        ...

    def keep(self) -> None:
        """Make what the loop has come to the outer optimizer's own state, where the rule shares it."""
        ...


def stepped(parameters: Mapping[str, Tensor], directions: Mapping[str, Tensor], rate: float) -> Parameters:
    """The parameters after a step along these directions; nothing is changed in place."""
    return {name: value - rate * directions[name] for name, value in parameters.items()}


class InnerDescent:
    """theta' = theta - rate g."""

    def directions(self, gradients: Mapping[str, Tensor]) -> Parameters:
        return dict(gradients)

    def keep(self) -> None:
        """There is nothing to keep."""


class SharedAdam:
    """Adam whose moments are forks of the outer optimizer's, for one inner loop.

    At the inner step j = 1, 2, ... after t outer ones: m' = b1 m + (1 - b1) g, v' = b2 v + (1 - b2) g^2, and
    theta' = theta - rate (m' / (1 - b1^(t + j))) / sqrt(v' / (1 - b2^(t + j)) + 1e-16), where m, v, b1, b2 and t are
    those of the outer Adam or AdamW. There is no weight decay. The fork is discarded, unless `keep` is called.
    """

    def __init__(self, session: Session) -> None:
        shared = {name: session.optimizers.moments(value) for name, value in session.model.named_parameters()}
        self.means = {name: moments.mean.clone() for name, moments in shared.items()}
        self.squares = {name: moments.square.clone() for name, moments in shared.items()}
        self.counts = {name: moments.steps.clone() for name, moments in shared.items()}
        self.shared = shared

    def directions(self, gradients: Mapping[str, Tensor]) -> Parameters:
        found = {}
        for name, gradient in gradients.items():
            b1, b2 = self.shared[name].betas
            mean = self.means[name] = b1 * self.means[name] + (1 - b1) * gradient
            square = self.squares[name] = b2 * self.squares[name] + (1 - b2) * gradient.square()
            count = self.counts[name] = self.counts[name] + 1
            spread = (square / (1 - b2**count) + EPSILON_SQUARED).sqrt()
            found[name] = (mean / (1 - b1**count)) / spread
        return found

    @torch.no_grad()
    def keep(self) -> None:
        for name, moments in self.shared.items():
            moments.mean.copy_(self.means[name].reshape(moments.mean.shape))
            moments.square.copy_(self.squares[name].reshape(moments.square.shape))
            moments.steps.copy_(self.counts[name])


def inner_rule(rule: Rule, session: Session) -> InnerRule:
    """A fresh rule for an inner loop of this update."""
    return InnerDescent() if rule == "gradient_descent" else SharedAdam(session)
