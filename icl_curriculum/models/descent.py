"""Full-batch steps of a copy of a model: the loss and its gradients, plain gradient descent, plain Adam.

Dimensions: batch = prompts, points = K + 1.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.calling import check_shape, entry_errors, given

#: Decays of Adam's moments, and what is added to its denominators.
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class AdaptationDiverged(RunFailed):
    """An adaptation whose weights, loss or predictions are no finite numbers any more."""


class Descent:
    """A copy of a model, and the steps that it takes; the model itself is left as it is, whatever happens.

    ``taken``: the steps since the copy was as the model is. ``place``: what errors name, such as a cell.
    """

    def __init__(self, model: Any, adaptation: Adaptation, place: str) -> None:
        self.model, self.adaptation, self.place = model, adaptation, place
        self.copy = copied(model)
        self.parameters: dict[str, Tensor] = {
            name: value for name, value in self.copy.named_parameters() if value.requires_grad
        }
        if not self.parameters:
            raise UserError(f"{type(model).__name__} has no parameters that take gradients, so it cannot be adapted")
        self.restart()

    def restart(self) -> None:
        """Make the copy as the model is."""
        own: Mapping[str, Tensor] = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(own[name])
        self.taken = 0
        self.moments = {name: (torch.zeros_like(value), torch.zeros_like(value)) for name, value in
                        self.parameters.items()} if self.adaptation.optimizer == "adam" else {}  # fmt: skip

    def step(self, backward: Callable[[Any], float]) -> None:
        """Take a step; ``backward`` adds the gradients of the loss to those of the copy, and returns the loss.

        Raises `AdaptationDiverged` where the loss or a weight is no finite number.
        """
        self.copy.zero_grad(set_to_none=True)
        self.taken += 1
        with torch.enable_grad():
            loss = backward(self.copy)
        if not loss < float("inf"):
            raise self.diverged("the loss is no finite number")
        with torch.no_grad():
            for name, value in self.parameters.items():
                if value.grad is not None:
                    value -= self.adaptation.rate * self._direction(name, value.grad)
        self.copy.zero_grad(set_to_none=True)
        if not bool(torch.stack([value.isfinite().all() for value in self.parameters.values()]).all()):
            raise self.diverged("a weight is no finite number")

    def _direction(self, name: str, gradient: Tensor) -> Tensor:
        if name not in self.moments:
            return gradient
        mean, square = self.moments[name]
        mean.mul_(_BETAS[0]).add_(gradient, alpha=1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        corrected = (square / (1 - _BETAS[1] ** self.taken)).sqrt_().add_(_EPSILON)
        return mean / (1 - _BETAS[0] ** self.taken) / corrected

    def diverged(self, what: str) -> AdaptationDiverged:
        """The error for numbers that are not finite."""
        steps = f"step {self.taken}" if self.taken else "0 steps"
        where = f" on {self.place}" if self.place else ""
        return AdaptationDiverged(
            f"adaptation{where} diverged at {steps}, rate {self.adaptation.rate:g}: {what}; take a lower rate"
        )


def copied(model: Any) -> Any:
    """A copy of a model with weights of its own, without gradients, compiled code and where its prompts come from."""
    # What draws the usual prompts holds a whole config, which nothing changes.
    memo = {id(model.usual_prompts): model.usual_prompts}
    memo.update({id(value.grad): None for value in model.parameters() if value.grad is not None})
    made = copy.deepcopy(model, memo)
    made.zero_grad(set_to_none=True)
    return made


def mean_square(values: Tensor) -> float:
    """The mean square, in float64; 1 where it is 0, so that something can be divided by it."""
    return float(values.double().square().mean()) or 1.0 if values.numel() else 1.0


def bank_loss(prompts: Prompts) -> Callable[[Any], float]:
    """What `Descent.step` takes: the mean squared error to the targets, divided by the mean square of the targets.

    Both are over all defined entries; of classes it is the mean cross-entropy over that of chance. By `Model.backward`;
    separate queries and a mask go by `Model.forward` and autograd. UserError where no entry is defined.
    """
    plain = prompts.queries is None and prompts.mask is None
    entries = len(prompts) * prompts.points if prompts.mask is None else int(prompts.mask.sum())
    if not entries:
        raise UserError("the adaptation prompts have no entry that is defined")
    if prompts.classes:
        scale = math.log(prompts.label_dims)
    else:
        defined = prompts.targets if prompts.mask is None else prompts.targets[prompts.mask]
        scale = mean_square(defined) * prompts.label_dims

    def backward(model: Any) -> float:
        loss = 0.0
        for start in range(0, len(prompts), model.prompts_per_pass):
            part = prompts[start : start + model.prompts_per_pass]
            xs, ys, queries, rows = next(model.passes(part, len(part)))
            targets = part.targets.to(xs.device)
            if plain:
                weights = torch.full((len(part),), 1 / (len(prompts) * scale), device=xs.device)
                errors = model.backward(xs, ys, targets, weights, **given(instruction=rows))
                loss += float((errors.double() * weights).sum())
                continue
            mask = part.defined().to(xs.device)
            found = model.answer(xs, ys, queries, **given(instruction=rows))
            check_shape(found, targets)
            # What is undefined may be no number.
            known = torch.where(mask if targets.ndim == 2 else mask.unsqueeze(-1), targets, found.detach().float())
            errors = entry_errors(found.float(), known, classes=prompts.classes)
            of_part = (errors * mask).sum() / (entries * scale)
            of_part.backward()  # type: ignore[no-untyped-call]
            loss += float(of_part.detach())
        return loss

    return backward
