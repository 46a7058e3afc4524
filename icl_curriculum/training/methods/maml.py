"""Model-agnostic meta-learning with second derivatives.

Dimensions: tasks = tasks that are adapted together, n = prompts of each, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_curriculum.core.machine import is_out_of_memory
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.transfers import sent
from icl_curriculum.models.base import Capability, Model
from icl_curriculum.models.calling import check_shape, mean_errors
from icl_curriculum.training.methods.base import Losses, register_method
from icl_curriculum.training.methods.inner_rule import stepped
from icl_curriculum.training.methods.meta_training import QUERY, SUPPORT, MetaTask, MetaTraining, mean_losses
from icl_curriculum.training.session import Session


@register_method("maml")
class Maml(MetaTraining):
    """MAML: the model moves by the gradient, through the inner steps, of the adapted parameters' query errors.

    From the model's parameters each task takes ``inner_steps`` on its support prompts; the mean over tasks of the
    weighted squared errors on their query prompts is differentiated by the parameters before, second derivatives
    included. Source: Finn et al. 2017, arXiv 1703.03400, algorithm 1.
    """

    def required(self) -> frozenset[Capability]:
        second = {Capability.SECOND_DERIVATIVES} if self.inner_steps else set()
        return frozenset({Capability.EXPLICIT_PARAMETERS, *second})

    def update(self, session: Session) -> Losses:
        tasks = self.drawn_tasks(session)
        own = dict(session.model.named_parameters())

        def gradients_of(rows: slice) -> Tensor:
            errors = []
            for group in self._groups(tasks[rows]):
                support, query, loss = self._errors(session, group, own)
                gradients = torch.autograd.grad(loss / len(tasks), list(own.values()), allow_unused=True)
                for parameter, gradient in zip(own.values(), gradients, strict=True):
                    if gradient is not None:
                        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
                errors.append(torch.stack([support, query], dim=1))
            return torch.cat(errors)

        before, after = session.shards.gradients(session.model, len(tasks), gradients_of).unbind(dim=1)
        session.step_optimizers()
        return mean_losses(tasks, {SUPPORT: before, QUERY: after})

    def _groups(self, tasks: Sequence[MetaTask]) -> Iterator[Sequence[MetaTask]]:
        """Tasks that are adapted together: all, or one after another where the next begins with what is carried."""
        yield from ([task] for task in tasks) if self.carry else [tasks]

    def _errors(
        self, session: Session, tasks: Sequence[MetaTask], own: Mapping[str, Tensor]
    ) -> tuple[Float[Tensor, " tasks"], Float[Tensor, " tasks"], Float[Tensor, ""]]:
        """Each task's support error before its inner steps, its query error after them, and the sum to descend."""
        model, rule = session.model, self.rule(session)
        support = Stacked.of([task.support[0] for task in tasks])
        weights = sent(torch.tensor([task.weight for task in tasks]), support.xs.device)
        # Without inner steps all tasks have the parameters of the model.
        shared = not self.inner_steps
        adapted = {} if shared else {name: value.expand(len(tasks), *value.shape) for name, value in own.items()}
        first: Tensor | None = None
        for _ in range(self.inner_steps):
            errors = support.errors(model, adapted)
            first = errors.detach() if first is None else first
            gradients = torch.autograd.grad(
                (weights * errors).sum(), list(adapted.values()), create_graph=True, materialize_grads=True
            )
            adapted = stepped(adapted, rule.directions(dict(zip(adapted, gradients, strict=True))), self.inner_rate)
        if first is None:
            with torch.no_grad():
                first = support.errors(model, adapted)
        if self.carry:
            rule.keep()
        after = Stacked.of([task.query for task in tasks if task.query is not None]).errors(model, adapted)
        return first, after.detach(), (weights * after).sum()

    def operations(self, role: str, forward: int) -> float:
        """A support prompt goes forward, backward and backward through both in every inner step; a query prompt once.

        The backward pass through a forward and a backward pass is twice as much as these together.
        """
        if role == QUERY:
            return 3.0 * forward
        return (9.0 * self.inner_steps if self.inner_steps else 1.0) * forward


@dataclass(frozen=True)
class Stacked:
    """The prompts of several tasks of equal shape, of which each is asked with parameters of its own."""

    xs: Float[Tensor, "tasks n points dims"]
    ys: Float[Tensor, "tasks n points *labels"]
    targets: Float[Tensor, "tasks n points *labels"]
    instruction: Int[Tensor, "tasks n"] | None
    entries: Float[Tensor, "tasks n points"] | None
    classes: bool

    @classmethod
    def of(cls, prompts: Sequence[Prompts]) -> Stacked:
        """The prompts of tasks, in their order."""
        told = [item.instruction for item in prompts if item.instruction is not None]
        return cls(
            torch.stack([item.xs for item in prompts]),
            torch.stack([item.ys for item in prompts]),
            torch.stack([item.targets for item in prompts]),
            torch.stack(told) if told else None,
            torch.stack([item.entry_weights() for item in prompts])
            if any(item.counted() is not None for item in prompts)
            else None,
            prompts[0].classes,
        )

    def errors(self, model: Model, parameters: Mapping[str, Tensor]) -> Float[Tensor, " tasks"]:
        """The mean squared error of each task, over its prompts and their positions, at its own parameters.

        ``parameters``: by name, with the tasks on a leading axis; none: all at the model's own.
        """
        if not parameters:
            told = None if self.instruction is None else self.instruction.flatten()
            found = model.forward_with({}, self.xs.flatten(0, 1), self.ys.flatten(0, 1), instruction=told)
            return self._means(found.reshape(self.targets.shape))
        inputs = (self.xs, self.ys) if self.instruction is None else (self.xs, self.ys, self.instruction)

        def predictions(own: Mapping[str, Tensor], xs: Tensor, ys: Tensor, *told: Tensor) -> Tensor:
            return model.forward_with(own, xs, ys, instruction=told[0] if told else None)

        return self._means(_all_at_once(predictions, dict(parameters), inputs))

    def _means(self, found: Float[Tensor, "tasks n points *labels"]) -> Float[Tensor, " tasks"]:
        check_shape(found[0], self.targets[0])
        if self.entries is None and not self.classes and self.targets.ndim == 3:
            return (found.to(self.targets.dtype) - self.targets).square().mean(dim=(1, 2))
        tasks, n = self.xs.shape[:2]
        weights = None if self.entries is None else self.entries.flatten(0, 1)
        whole = (found.flatten(0, 1), self.targets.flatten(0, 1))
        errors = mean_errors(*whole, weights, classes=self.classes).view(tasks, n)
        if self.entries is None:
            return errors.mean(dim=1)
        return errors.sum(dim=1) / (self.entries.sum(dim=2) > 0).sum(dim=1)


def _all_at_once(call: Callable[..., Tensor], parameters: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """``call`` for every task; together where the model's operations can be vectorised, else one after another."""
    try:
        together: Tensor = torch.func.vmap(call)(parameters, *inputs)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # What a model does may have no vectorised form. If the error is its own, it is raised here.
        each = [
            call({name: value[i] for name, value in parameters.items()}, *(part[i] for part in inputs))
            for i in range(len(inputs[0]))
        ]
        return torch.stack(each)
    return together
