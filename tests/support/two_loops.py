"""A training method of another kind, as somebody outside would write it: two loops, first order, with a memory."""

import torch
from pydantic import Field

import icl_curriculum as icl
from icl_curriculum.models import prompt_errors


@icl.register_method("two_loops")
class TwoLoops(icl.TrainingMethod):
    """First-order meta-training: every task adapts its own copy, and the copies' query gradients move the model.

    A task is one function: support and query prompts share it. The query gradients are averaged over tasks and then
    over time, with ``memory`` as the share of the past. Source: after Finn et al. 2017 (arXiv 1703.03400).
    """

    signal = "support"
    needs = frozenset({icl.Capability.EXPLICIT_PARAMETERS})

    tasks: int = Field(2, ge=1, description="functions an update")
    inner_steps: int = Field(1, ge=0, description="steps of gradient descent on the support prompts")
    inner_rate: float = Field(0.05, ge=0, description="their rate")
    memory: float = Field(0.5, ge=0, lt=1, description="share of the past in the running mean of the gradients")

    def check(self, training, *, cells, draw):
        if training.batch_size < 2 * self.tasks:
            raise icl.UserError(
                f"{training.batch_size} is too few for a support and a query prompt of each of {self.tasks} tasks; "
                f"expected at least {2 * self.tasks}",
                key="training.batch_size",
            )

    def initial_state(self, model):
        return {"past": {name: torch.zeros_like(value) for name, value in model.named_parameters()}, "updates": 0}

    def update(self, session):
        model, n = session.model, session.batch_size // (2 * self.tasks)
        total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        losses = {"support": {}, "query": {}}
        for cell in session.choose(self.tasks):
            support = session.draw(cell, n, role="support", prompts_per_function=n)
            query = session.draw(cell, n, role="query", prompts_per_function=n, functions_of="support")
            adapted = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
            losses["support"].setdefault(cell, []).append(error(model, adapted, support).detach())
            for _ in range(self.inner_steps):
                gradients = torch.autograd.grad(error(model, adapted, support), list(adapted.values()))
                moved = zip(adapted.items(), gradients, strict=True)
                adapted = {
                    name: (value - self.inner_rate * gradient).detach().requires_grad_()
                    for (name, value), gradient in moved
                }
            after = error(model, adapted, query)
            losses["query"].setdefault(cell, []).append(after.detach())
            gradients = torch.autograd.grad(session.weight(cell) * after / self.tasks, list(adapted.values()))
            for sum_, gradient in zip(total.values(), gradients, strict=True):
                sum_ += gradient
        session.state["updates"] += 1
        for name, parameter in model.named_parameters():
            past = session.state["past"][name].lerp_(total[name], 1 - self.memory)
            parameter.grad = past / (1 - self.memory ** session.state["updates"])
        session.step_optimizers()
        return {
            role: {cell: torch.stack(found).mean() for cell, found in cells.items()} for role, cells in losses.items()
        }

    def operations(self, role, forward):
        return forward * (1 + 3 * self.inner_steps) if role == "support" else 3 * forward


def error(model, parameters, prompts):
    found = model.forward_with(parameters, prompts.xs, prompts.ys, instruction=prompts.instruction)
    return prompt_errors(found, prompts.targets).mean()
