"""Frozen evaluation banks: prompts that every learner, run and process answers alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import at_work, broken_contract, expect_shape
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.streams import Streams
from icl_curriculum.shifts import Shift, makes_own_prompts
from icl_curriculum.tasks import Task

#: Raised when what a bank's streams draw changes on purpose; part of every bank hash.
BANK_VERSION = 2


@dataclass(frozen=True)
class Bank:
    """A task, perhaps shifted, with a number of prompts and a seed: the prompts are a function of these.

    The ids of the task, its unit, noise and pool don't change what inputs and functions its streams draw.
    ``points`` are those of an unshifted prompt. ``purpose`` separates the banks behind learning curves, and those that
    models adapt to, from those of the final evaluation. All shifts of a task draw from the same streams, so that its
    errors with and without a shift are paired where the shift leaves the draws alone.
    """

    task: Task
    shift: Shift | None
    n_prompts: int
    points: int
    seed: int
    purpose: Literal["evaluation", "learning", "heads", "adaptation"] = "evaluation"

    @property
    def function_class(self) -> str:
        return self.drawn_task.function_class.id

    @property
    def input_distribution(self) -> str:
        return self.task.inputs.id if self.shift is None else self.shift.columns(self.task)[0]

    @property
    def shift_id(self) -> str:
        return "none" if self.shift is None else self.shift.columns(self.task)[1]

    @property
    def key(self) -> tuple[str, str, str]:
        """What the tables call it: function class, input distribution, shift."""
        return self.function_class, self.input_distribution, self.shift_id

    @property
    def drawn_task(self) -> Task:
        """The task whose inputs, noise and E f(q)^2 apply to the bank's prompts."""
        return self.task if self.shift is None else self.shift.apply(self.task)

    @property
    def shift_name(self) -> str:
        """The id of its shift, whatever the tables call it; ``none`` without one."""
        return "none" if self.shift is None else self.shift.id

    def asks_like(self, tasks: Iterable[Task]) -> bool:
        """Whether its prompts are those of one of some tasks as it is, whatever names its shift gives them."""
        return not makes_own_prompts(self.shift) and self.drawn_task in tasks

    def same_prompts(self, other: Bank) -> bool:
        """Whether it and another bank of the same experiment are known to have the same prompts."""
        if (self.shift, self.task) == (other.shift, other.task):
            return True
        return self.length == other.length and self.asks_like([other.drawn_task]) and other.asks_like([self.drawn_task])

    @property
    def length(self) -> int:
        """The points of its prompts."""
        return self.points if self.shift is None else self.shift.points(self.points)

    def components(self) -> list[Component]:
        """The components that decide its prompts, those within others included."""
        task = self.drawn_task
        whole = [task.function_class, task.inputs, *([] if self.shift is None else [self.shift])]
        return list({part.id: part for item in whole for part in item.parts()}.values())

    @cached_property
    def second_moment(self) -> float:
        """E f(q)^2 under the bank's own inputs, in the units of the targets."""
        return self.drawn_task.second_moment()

    @property
    def reference_error(self) -> float:
        """The error of zero under the class's reference inputs, in the units of its unscaled outputs."""
        return self.drawn_task.trivial_error()

    @own_settings()
    def draw(self) -> Prompts:
        """The prompts, always on the CPU and always the same."""
        streams = Streams(self.seed, f"{self.purpose}/{self.drawn_task.function_class.family}")
        if self.shift is None:
            prompts = self.task.draw(self.n_prompts, self.points, streams)
            self._expect_finite(prompts)
            return replace(prompts, input_distribution=self.input_distribution)
        points = self.length
        with at_work(self.shift, "draw"):
            prompts = self.shift.draw(self.task, self.n_prompts, points, streams)
        self._expect_whole(prompts, points)
        self._expect_finite(prompts)
        return replace(prompts, input_distribution=self.input_distribution)

    def _expect_whole(self, prompts: Prompts, points: int) -> None:
        """ComponentFailed unless a shift has drawn what learners are asked: each tensor of its shape and type."""
        assert self.shift is not None
        if not isinstance(prompts, Prompts):
            raise broken_contract(self.shift, "draw", found=f"a {type(prompts).__name__}", expected="Prompts")
        entries, inputs = (self.n_prompts, points), (self.n_prompts, points, self.drawn_task.shown_dims)
        labels, label_axes = self.drawn_task.function_class.label_shape(*entries)
        shapes = {"xs": inputs, "ys": labels, "targets": labels, "queries": inputs, "mask": entries}
        axes_of = {"ys": label_axes, "targets": label_axes, "mask": "prompts, points"}
        if shown := self.drawn_task.function_class.shown_steps:
            shapes["steps"], axes_of["steps"] = (*entries, shown), "prompts, points, steps"
        elif prompts.steps is not None:
            raise broken_contract(
                self.shift, "draw", found=f"{prompts.n_steps} reasoning steps", expected="none, as the class shows none"
            )
        for name, shape in shapes.items():
            value = getattr(prompts, name)
            if value is None and name in ("queries", "mask"):
                continue
            axes = axes_of.get(name, "prompts, points, dims")
            kind = torch.bool if name == "mask" else torch.float32
            expect_shape(self.shift, f"draw ({name})", value, shape, axes, kind)
        for name in ("xs", "ys", "queries", "steps"):
            value = getattr(prompts, name)
            if name == "queries" and value is not None and prompts.mask is not None:
                value = value[prompts.mask]
            if value is not None and not bool(value.isfinite().all()):
                raise broken_contract(
                    self.shift, f"draw ({name})", found="values that are not finite", expected="finite ones"
                )

    def _expect_finite(self, prompts: Prompts) -> None:
        """ComponentFailed if a value to predict is not a number: no error could be measured against it."""
        defined = prompts.targets if prompts.mask is None else prompts.targets[prompts.mask]
        if not bool(defined.isfinite().all()):
            raise broken_contract(
                self.drawn_task.function_class, "evaluate", found="values that are not finite", expected="finite values"
            )
        if self.drawn_task.function_class.class_valued and not _one_hot(defined):
            raise broken_contract(
                self.drawn_task.function_class, "evaluate", found="vectors that are not one-hot",
                expected="1 at the class and 0 elsewhere, as class_valued is True",
            )  # fmt: skip


def _one_hot(labels: torch.Tensor) -> bool:
    """Whether vectors are 1 at one place and 0 elsewhere."""
    return bool(((labels == 0) | (labels == 1)).all()) and bool((labels.sum(dim=-1) == 1).all())


def content_hash(prompts: Prompts) -> str:
    """SHA-256 over the bank version and the bytes of inputs, labels, targets, queries, mask and reasoning steps.

    Steps that are given make another question of the same bytes.
    """
    digest = hashlib.sha256(f"bank version {BANK_VERSION}".encode())
    if prompts.steps is not None:
        digest.update(f"steps{' given' * prompts.steps_given}".encode())
    for value in (prompts.xs, prompts.ys, prompts.targets, prompts.queries, prompts.mask, prompts.steps):
        if value is not None:
            digest.update(repr((tuple(value.shape), str(value.dtype))).encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
