"""First-order MAML: the same two loops without second derivatives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Model, prompt_errors
from icl_curriculum.models.calling import given
from icl_curriculum.training.methods.base import Losses, register_method
from icl_curriculum.training.methods.in_context import add_gradients
from icl_curriculum.training.methods.inner_rule import stepped
from icl_curriculum.training.methods.meta_training import (
    QUERY,
    SUPPORT,
    MetaTask,
    MetaTraining,
    mean_error,
    mean_losses,
)
from icl_curriculum.training.session import Portion, Session


@register_method("fomaml")
class FirstOrderMaml(MetaTraining):
    """First-order MAML: the model moves by the mean of the query gradients at each task's adapted parameters.

    Like `maml`, but an inner step counts as if its gradient did not depend on where it is taken. It needs nothing of a
    model but its gradients. Source: Finn et al. 2017, arXiv 1703.03400, section 5.2.
    """

    def update(self, session: Session) -> Losses:
        tasks = self.drawn_tasks(session)
        model = session.model

        def gradients_of(rows: slice) -> Tensor:
            total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
            errors = []
            for task in tasks[rows]:
                assert task.query is not None
                with adapting(model):
                    before = self.adapt(session, task)[0]
                    after = add_error(model, task, task.query, task.weight / len(tasks))
                    for name, gradient in taken_gradients(model).items():
                        total[name] += gradient
                errors.append(torch.stack([before, after]).detach())
            for name, parameter in model.named_parameters():
                parameter.grad = total[name]
            return torch.stack(errors)

        before, after = session.shards.gradients(model, len(tasks), gradients_of).unbind(dim=1)
        session.step_optimizers()
        return mean_losses(tasks, {SUPPORT: before, QUERY: after})

    def adapt(self, session: Session, task: MetaTask, gone: dict[str, Tensor] | None = None) -> list[Tensor]:
        """Take the inner steps of a task in the model itself; its error on each batch before the step on it.

        ``gone``: what the directions of all steps are added to, by the parameter's name.
        """
        model, rule = session.model, self.rule(session)
        errors = []
        for number in range(self.inner_steps):
            errors.append(add_error(model, task, task.support[number % len(task.support)], task.weight))
            own = dict(model.named_parameters())
            gradients = taken_gradients(model)
            with torch.no_grad():
                way = rule.directions({name: gradients.get(name, torch.zeros_like(own[name])) for name in own})
                for name, moved in stepped(own, way, self.inner_rate).items():
                    own[name].copy_(moved)
                for name, sum_ in (gone or {}).items():
                    sum_ += way[name]
        if self.carry:
            rule.keep()
        if not errors:
            asked = task.support[0]
            with torch.no_grad():
                found = model.answer(asked.xs, asked.ys, **given(instruction=asked.instruction))
            errors.append(mean_error(prompt_errors(found, asked), asked))
        return errors

    def operations(self, role: str, forward: int) -> float:
        if role == QUERY:
            return 3.0 * forward
        return (3.0 * self.inner_steps if self.inner_steps else 1.0) * forward


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


def add_error(model: Model, task: MetaTask, prompts: Prompts, weight: float) -> Tensor:
    """Add to ``.grad`` the gradients of ``weight`` times the mean squared error of prompts; returns that mean."""
    return add_gradients(model, [Portion(task.cell, prompts, weight)])[task.cell]


def taken_gradients(model: Model) -> dict[str, Tensor]:
    """The gradients in ``.grad``, which are cleared."""
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found
