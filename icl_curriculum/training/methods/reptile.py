"""Reptile: the model moves towards the parameters that tasks adapt."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.training.counting import counting_prompts
from icl_curriculum.training.methods.base import Losses, register_method
from icl_curriculum.training.methods.fomaml import FirstOrderMaml, adapting
from icl_curriculum.training.methods.meta_training import QUERY, SUPPORT, MetaTask, mean_losses
from icl_curriculum.training.session import Session


@register_method("reptile")
class Reptile(FirstOrderMaml):
    """Reptile: inner steps on one batch after another, and the model moves towards where they lead.

    The prompts of a task are divided over ``inner_steps`` batches. The outer optimizer is given
    (theta - theta_i) / (inner_rate * inner_steps), averaged over tasks, as if it were a gradient: the mean of the inner
    steps' directions. With one step, or a small rate, it is the gradient of plain training.

    Losses by role: ``support`` is the first batch, whose error is that of the unadapted model; ``query`` are the later
    ones, whose errors come after the steps on the batches before, and before their own. Source: Nichol et al. 2018,
    arXiv 1803.02999.
    """

    inner_steps: int = Field(4, ge=1, le=1000, description="steps of each task, each on a batch of its own")
    inner_rate: float = Field(0.05, gt=0, le=1e6, description="rate of the inner steps")

    def check_task_size(self, training: TrainingConfig, size: int) -> None:
        if size % self.inner_steps:
            raise UserError(
                f"{size} prompts a task cannot be divided over training.method.inner_steps = {self.inner_steps} "
                f"batches of equal size",
                key="training.batch_size",
            )

    def drawn_tasks(self, session: Session) -> list[MetaTask]:
        each = session.batch_size // self.n_tasks // self.inner_steps
        tasks = []
        for cell in session.choose(self.n_tasks, role=SUPPORT):
            batches = [self.draw(session, cell, each, SUPPORT)]
            if self.inner_steps > 1:
                # In one draw, so that no prompt of a fixed set comes twice.
                later = self.draw(session, cell, each * (self.inner_steps - 1), QUERY)
                parts = [later[start : start + each] for start in range(0, len(later), each)]
                # Where nothing of a batch counts, a step is taken on another one.
                batches += [part for part in parts if counting_prompts(part.counted(), len(part))]
            tasks.append(MetaTask(cell, session.weight(cell), batches, None))
        return tasks

    def update(self, session: Session) -> Losses:
        tasks = self.drawn_tasks(session)
        model, scale = session.model, 1 / (self.inner_steps * len(tasks))

        def gradients_of(rows: slice) -> Tensor:
            total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
            found = []
            for task in tasks[rows]:
                gone = {name: torch.zeros_like(value) for name, value in total.items()}
                with adapting(model):
                    first, *later = self.adapt(session, task, gone)
                for name, directions in gone.items():
                    total[name] += directions * scale
                found.append(torch.stack([first, *([torch.stack(later).mean()] if later else [])]).detach())
            for name, parameter in model.named_parameters():
                parameter.grad = total[name]
            return torch.stack(found)

        errors = session.shards.gradients(model, len(tasks), gradients_of).unbind(dim=1)
        session.step_optimizers()
        return mean_losses(tasks, dict(zip((SUPPORT, QUERY), errors, strict=False)))

    def operations(self, role: str, forward: int) -> float:
        return 3.0 * forward
