"""The part that meta-training methods with two loops share: their tasks, their keys, and what they refuse.

Dimensions: tasks = tasks of an update, n = prompts of a task under a role.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.training.counting import mean_counting
from icl_curriculum.training.methods.base import Losses, TrainingMethod
from icl_curriculum.training.methods.inner_rule import InnerRule, Rule, inner_rule
from icl_curriculum.training.session import Cell, Session

#: The prompts that a task adapts to, and those that judge its adapted parameters.
SUPPORT, QUERY = "support", "query"


@dataclass(frozen=True)
class MetaTask:
    """One task of an update: its cell, the weight of its squared errors, and its prompts.

    ``support``: a batch for every inner step, or one for all of them. ``query``: prompts for the adapted parameters.
    """

    cell: Cell
    weight: float
    support: Sequence[Prompts]
    query: Prompts | None


class MetaTraining(TrainingMethod):
    """Two loops: each of a few tasks adapts parameters of its own in an inner loop, and then the model moves.

    A task is a cell, a function class with an input distribution, drawn with replacement by the curriculum's shares;
    or one function of such a cell, with several prompts. All have equally many prompts, ``training.batch_size`` in all.
    Errors are weighted as ``training.loss`` says, in both loops. The inner rate follows no schedule, and no
    inner gradient is clipped. Losses by role: the errors of the support prompts before any inner step, and those of the
    query prompts after all of them.

    MAML-en-LLM (Sinha et al. 2024, arXiv 2405.11446) trains language models in this way; its hyper-parameters and code
    are not published, so these methods are in its style.
    """

    weighs_entries = True
    signal: ClassVar[str] = SUPPORT
    roles: ClassVar[tuple[str, ...]] = (SUPPORT, QUERY)

    tasks: Literal["cells", "functions"] = Field(
        "cells",
        description="what a task is: 'cells', a function class with an input distribution, a new function for every "
        "prompt; 'functions', one function for all prompts of the task",
    )
    n_tasks: int = Field(4, ge=1, le=4096, description="tasks of an update; batch_size is divided over them")
    inner_steps: int = Field(1, ge=0, le=1000, description="steps of each task in the inner loop")
    inner_rate: float = Field(0.05, ge=0, le=1e6, description="rate of the inner steps")
    inner_rule: Rule = Field(
        "gradient_descent",
        description="'gradient_descent', or 'shared_adam': Adam that starts from the outer optimizer's moments",
    )
    carry: bool = Field(
        False,
        description="with shared_adam: the moments of a task's inner steps stay, for the next task and the outer step",
    )

    def check(self, training: TrainingConfig, *, cells: int, draw: Literal["batch", "prompt"]) -> None:
        size = self.check_tasks(training, draw)
        self.check_task_size(training, size)
        if self.inner_rule == "shared_adam" and training.optimizer.name == "muon":
            raise UserError(
                "expected 'adam' or 'adamw' for inner steps that share its moments, found 'muon', which has none of "
                "Adam's for the block matrices",
                key="training.optimizer.name",
                way_out='set training.method.inner_rule = "gradient_descent"',
            )
        if self.carry and self.inner_rule != "shared_adam":
            raise UserError(
                f"there are no moments to carry with inner_rule = {self.inner_rule!r}", key="training.method.carry"
            )
        fixed = training.fixed_prompts
        if fixed is not None and self.tasks == "functions":
            raise UserError(
                'a fixed set has one prompt of every function, and tasks = "functions" takes several of each',
                key="training.fixed_prompts",
                way_out='leave it out and give the classes a pool_size, or set training.method.tasks = "cells"',
            )
        if fixed is not None and fixed < size:
            raise UserError(
                f"{fixed} is less than the {size} support and query prompts of a task, which must differ",
                key="training.fixed_prompts",
            )

    def most_shards(self, training: TrainingConfig) -> int:
        """The tasks of an update; one, where a task begins with the moments that the one before it leaves."""
        return 1 if self.carry else self.n_tasks

    def check_tasks(self, training: TrainingConfig, draw: Literal["batch", "prompt"]) -> int:
        """The prompts of a task, UserError if the batch is not divided into so many tasks."""
        if draw == "prompt":
            raise UserError(
                f'expected "batch", found "prompt": {self.name} draws a cell for every task', key="curriculum.draw"
            )
        if training.batch_size % self.n_tasks:
            raise UserError(
                f"expected a multiple of training.method.n_tasks = {self.n_tasks}, since all tasks have equally many "
                f"prompts, found {training.batch_size}",
                key="training.batch_size",
            )
        return training.batch_size // self.n_tasks

    def check_task_size(self, training: TrainingConfig, size: int) -> None:
        """UserError if a task of so many prompts cannot be divided."""
        if size < 2:
            raise UserError(
                f"{training.batch_size} is too few for a support and a query prompt of each of {self.n_tasks} tasks; "
                f"expected at least {2 * self.n_tasks}",
                key="training.batch_size",
            )

    def drawn_tasks(self, session: Session) -> list[MetaTask]:
        """The tasks of an update: half of the prompts of each, rounded down, are support, the rest query prompts."""
        size = session.batch_size // self.n_tasks
        n_support = size // 2
        return [
            MetaTask(
                cell, session.weight(cell),
                support=[self.draw(session, cell, n_support, SUPPORT)],
                query=self.draw(session, cell, size - n_support, QUERY),
            )
            for cell in session.choose(self.n_tasks, role=SUPPORT)
        ]  # fmt: skip

    def draw(self, session: Session, cell: Cell, n: int, role: str) -> Prompts:
        """Prompts of a task, the support prompts first."""
        if self.tasks == "cells":
            return session.draw(cell, n, role=role)
        earlier = SUPPORT if role == QUERY else None
        return session.draw(cell, n, role=role, prompts_per_function=n, functions_of=earlier)

    def rule(self, session: Session) -> InnerRule:
        """A fresh inner rule for the tasks of this update."""
        return inner_rule(self.inner_rule, session)

    def why_diverged(self, role: str) -> str:
        if role != QUERY:
            return ""
        steps = f"{self.inner_steps} step" + "s" * (self.inner_steps != 1)
        return (
            f"the inner loop diverges, {steps} by {self.inner_rule} at training.method.inner_rate = "
            f"{self.inner_rate:g}; a lower one usually helps"
        )


def mean_error(errors: Float[Tensor, " n"], prompts: Prompts) -> Tensor:
    """The mean of the errors of those prompts that count."""
    entries = prompts.counted()
    return mean_counting(errors, None if entries is None else entries.sum(dim=1) > 0)


def mean_losses(tasks: Sequence[MetaTask], by_role: dict[str, Iterable[Tensor]]) -> Losses:
    """The means by role and cell of one error for each task, in the order of the tasks."""
    losses: dict[str, dict[Cell, Tensor]] = {}
    for role, errors in by_role.items():
        found: dict[Cell, list[Tensor]] = {}
        for task, error in zip(tasks, errors, strict=True):
            found.setdefault(task.cell, []).append(error.detach())
        losses[role] = {cell: torch.stack(each).mean() for cell, each in found.items()}
    return losses
