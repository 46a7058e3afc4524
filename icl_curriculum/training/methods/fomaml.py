"""First-order MAML: the same two loops without second derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Model, prompt_errors
from icl_curriculum.training.methods.base import Losses, register_method
from icl_curriculum.training.methods.inner_rule import stepped
from icl_curriculum.training.methods.meta_training import QUERY, SUPPORT, MetaTask, MetaTraining, mean_losses
from icl_curriculum.training.session import Session


@register_method("fomaml")
class FirstOrderMaml(MetaTraining):
    """First-order MAML: the model moves by the mean of the query gradients at each task's adapted parameters.

    Like `maml`, but an inner step counts as if its gradient did not depend on where it is taken. It needs nothing of a
    model but its gradients. Source: Finn et al. 2017, arXiv 1703.03400, section 5.2.
    """

    def update(self, session: Session) -> Losses:
        tasks = self.drawn_tasks(session)
        model = session.model
        total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        before, after = [], []
        for task in tasks:
            assert task.query is not None
            with adapting(model):
                before.append(self.adapt(session, task).errors[0])
                after.append(add_errors(model, task.query, task.weight / len(tasks)))
                for name, gradient in taken_gradients(model).items():
                    total[name] += gradient
        for name, parameter in model.named_parameters():
            parameter.grad = total[name]
        session.step_optimizers()
        return mean_losses(tasks, {SUPPORT: before, QUERY: after})

    def adapt(self, session: Session, task: MetaTask) -> AdaptedTask:
        """Take the inner steps of a task in the model itself."""
        model, rule = session.model, self.rule(session)
        errors, gone = [], {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        for number in range(self.inner_steps):
            errors.append(add_errors(model, task.support[number % len(task.support)], task.weight))
            own = dict(model.named_parameters())
            gradients = taken_gradients(model)
            with torch.no_grad():
                way = rule.directions({name: gradients.get(name, torch.zeros_like(own[name])) for name in own})
                for name, moved in stepped(own, way, self.inner_rate).items():
                    own[name].copy_(moved)
                    gone[name] += way[name]
        if self.carry:
            rule.keep()
        if not errors:
            with torch.no_grad():
                errors.append(plain_error(model, task.support[0]))
        return AdaptedTask(errors, gone)

    def operations(self, role: str, forward: int) -> float:
        if role == QUERY:
            return 3.0 * forward
        return (3.0 * self.inner_steps if self.inner_steps else 1.0) * forward


@dataclass(frozen=True)
class AdaptedTask:
    """What an inner loop met: the error on each batch before the step on it, and the sum of all directions."""

    errors: list[Tensor]
    directions: dict[str, Tensor]


@contextmanager
def adapting(model: Model) -> Iterator[None]:
    """Gives the model its parameters back at the end, whatever inner steps made of them."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(before[name])


def add_errors(model: Model, prompts: Prompts, weight: float) -> Tensor:
    """Add to ``.grad`` the gradients of ``weight`` times the mean squared error of prompts; returns that mean."""
    n = len(prompts)
    weights = torch.full((n,), weight / n, device=prompts.xs.device)
    told = {} if prompts.instruction is None else {"instruction": prompts.instruction}
    errors: Tensor = model.backward(prompts.xs, prompts.ys, prompts.targets, weights, **told)
    return errors.mean()


def plain_error(model: Model, prompts: Prompts) -> Tensor:
    """The mean squared error of prompts, over positions too."""
    told = {} if prompts.instruction is None else {"instruction": prompts.instruction}
    predictions = model(prompts.xs, prompts.ys, **told)
    return prompt_errors(predictions, prompts.targets).mean()


def taken_gradients(model: Model) -> dict[str, Tensor]:
    """The gradients in ``.grad``, which are cleared."""
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found
