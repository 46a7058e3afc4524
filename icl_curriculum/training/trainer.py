"""The training loop of one run, one update at a time.

It reports and never writes: what to log, evaluate and save is its caller's business.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.core.machine import NEVER_WAIT, arithmetic, check_precision, never_waiting
from icl_curriculum.core.registry import BUILT_IN, origin_of
from icl_curriculum.core.streams import generator
from icl_curriculum.core.transfers import numbers_of
from icl_curriculum.curricula import Shares, State
from icl_curriculum.models.base import Model
from icl_curriculum.models.flops import count
from icl_curriculum.models.initial import start_from
from icl_curriculum.training.balance import Balance
from icl_curriculum.training.compiling import CompiledForward, sizes_of
from icl_curriculum.training.counting import Counting
from icl_curriculum.training.fixed_prompts import FixedPrompts
from icl_curriculum.training.methods import TrainingMethod
from icl_curriculum.training.optimizers import Optimizers, schedule_factor
from icl_curriculum.training.returned import Loss, expect_no_gradients, expect_plain, losses_of, operations_of
from icl_curriculum.training.session import Cell, Session, Setting
from icl_curriculum.training.shards import Crew, Shards
from icl_curriculum.training.watching import WatchedModel

#: After so many updates in a process nothing is made for the first time any more, for which a device is waited for.
_SETTLED = 2


class Diverged(Exception):
    """Training met a loss that is not finite, or far above that of predicting zero."""


@dataclass(frozen=True)
class Update:
    """The report of one update: prompts drawn by cell, under whatever role, and losses by role and cell."""

    step: int
    shares: Shares
    n_prompts: dict[Cell, int]
    losses: list[Loss]
    learning_rate: float

    def losses_of(self, role: str) -> dict[Cell, Tensor]:
        """The losses of one role by cell."""
        return {loss.cell: loss.value for loss in self.losses if loss.role == role}


class Trainer:
    """One run in training. ``step`` counts completed updates.

    Everything an update draws is a function of (seed, stream, step), so a trainer whose state was
    loaded continues as if it had never stopped. ``crew``: the processes that train the run together, each by a trainer
    of its own; by default this one does it alone, to the same bytes.
    """

    def __init__(self, run: Run, device: str = "cpu", crew: Crew | None = None) -> None:
        experiment = run.experiment
        self.run = run
        self.device = device
        self.config = experiment.training
        self.plan = experiment.plan()
        self.tasks = experiment.tasks()
        self.trivial = {cell: task.trivial_loss() for cell, task in self.tasks.items()}
        #: Whether a loss can be held against the trivial one: not where E f^2 is infinite.
        self.comparable = {cell: task.has_second_moment() for cell, task in self.tasks.items()}
        assert isinstance(self.config.method, TrainingMethod)
        self.method = self.config.method
        with at_work(experiment.model, "build"):
            self.model: Model = experiment.build_model(generator(run.seed, "initialization"))
        if experiment.model.starts_from is not None:
            start_from(self.model, experiment.model.starts_from)
        self.model.to(device)
        check_precision(self.config.precision, device)
        self._compiled = CompiledForward(self.model, device, sizes_of(self.plan)) if self.config.compile else None
        self.optimizers = Optimizers(self.model, self.config.optimizer, self.config.clip, steps=self.config.steps)
        with at_work(self.method, "initial_state"):
            self.method_state = self.method.initial_state(self.model)
        self.setting = Setting(
            seed=run.seed,
            steps=self.config.steps,
            batch_size=self.config.batch_size,
            plan=self.plan,
            tasks=self.tasks,
            stream_names=experiment.stream_names(),
            weights={
                cell: 1 / trivial if self.config.loss == "normalized" else 1.0 for cell, trivial in self.trivial.items()
            },
            per_prompt=experiment.curriculum.draw == "prompt",
            device=device,
            fixed=None
            if self.config.fixed_prompts is None
            else FixedPrompts(
                self.config.fixed_prompts, run.seed, experiment.points, self.tasks, experiment.stream_names(), device
            ),
            counting=Counting(self.config.positions, self.config.shortest_prompt, self.config.label_smoothing),
            balance=Balance() if self.config.positions == "balanced" else None,
        )
        self.shards = Shards(self.config.shards, crew)
        self.step = 0
        #: Whether errors by position are measured where it is time, if positions are balanced.
        self.balances = True
        self._curriculum_state = self.plan.initial_state()
        #: The losses that an adaptive curriculum is to be told before it decides anew.
        self._untold: dict[Cell, Tensor] = {}
        self._never_waits = os.environ.get(NEVER_WAIT) == "1"
        self._updates = 0
        self.prompts_seen: Counter[Cell] = Counter()
        self.flops: Counter[Cell] = Counter()
        self.trained_points = 0
        self.offered: set[Cell] = set()
        #: In what way the method was seen to change its prompts, in words; then no cell is known to be in distribution.
        self.changes_prompts: str | None = None
        self._counted: dict[tuple[int, bool, Hashable], int] = {}
        self._foreign = any(origin_of(item) != BUILT_IN for item in (experiment.model, self.method))

    @property
    def curriculum_state(self) -> State:
        """The state of the curricula after all updates so far. Where it depends on their losses it waits for them."""
        if self._untold:
            found, self._untold = self._untold, {}
            signals = {
                cell: loss / self.trivial[cell] for cell, loss in zip(found, numbers_of([*found.values()]), strict=True)
            }
            self._curriculum_state = self.plan.update(self._curriculum_state, signals)
        return self._curriculum_state

    @curriculum_state.setter
    def curriculum_state(self, state: State) -> None:
        self._curriculum_state, self._untold = state, {}

    def session(self) -> Session:
        """The session that the method is given for the next update."""
        return Session(
            self.setting,
            model=self.model,
            optimizers=self.optimizers,
            step=self.step,
            shares=self.plan.shares(self.step, self.curriculum_state),
            rate_factor=schedule_factor(self.config.schedule, self.step, self.config.steps),
            state=self.method_state,
            shards=self.shards,
        )

    def update(self) -> Update:
        """Let the method make one update, and tell the curriculum."""
        session = self.session()
        shares = session.shares
        watched = WatchedModel() if self._looks_on() else None
        if watched is not None:
            session.kept_prompts = []
            self._counted.clear()  # What a forward pass costs may have changed.
        self._begin_update()
        with (
            at_work(self.run.experiment.model, "training"),
            arithmetic(self.config.precision, self.device),
            never_waiting(self.device if self._never_waits and self._updates >= _SETTLED else "cpu"),
        ):
            # What positions are balanced by is none of the method's business, nor of what its prompts are held against.
            if self.balances:
                with self._watching(None):
                    session.balance_positions()
            with at_work(self.method, "update"), self._watching(watched):
                returned = self.method.update(session)
        self._updates += 1
        if watched is not None and self.changes_prompts is None:
            self.changes_prompts = self.shards.first(watched.strange(session.kept_prompts or []))
        losses = list(losses_of(self.method, self.step, session.drawn, self.tasks, returned))
        expect_no_gradients(self.method, self.step, self.model)
        self.method_state = session.state
        self.step += 1
        drawn: Counter[Cell] = Counter()
        for draw in session.drawn:
            drawn[draw.cell] += draw.n_prompts
            operations = operations_of(self.method, draw.role, self.read_operations(draw.read_points))
            self.flops[draw.cell] += draw.n_prompts * operations
            self.trained_points = max(self.trained_points, draw.points)
        for cell, n in session.measured.items():
            self.flops[cell] += n * self.forward_operations(self.plan.points)
        with at_work(self.run.experiment.model, "after_update"):
            self.model.after_update()
        self.prompts_seen.update(drawn)
        # What positions are balanced by is learned from, too.
        self.prompts_seen.update(session.measured)
        self.offered |= shares.offered()
        # In the order of the config, whatever the order of the draws.
        n_prompts = {cell: drawn[cell] for cell in self.tasks if drawn[cell]}
        update = Update(self.step, shares, n_prompts, losses, self.config.optimizer.learning_rate * session.rate_factor)
        if self.plan.adaptive:
            # Told as late as can be, when the losses are known.
            self._untold = update.losses_of(self.method.signal)
        return update

    def _watching(self, watched: WatchedModel | None) -> AbstractContextManager[None]:
        """What calls of the model in an update go by: what was compiled, which shows nothing of itself, or a watch."""
        if watched is not None:
            return watched.watching(self.model)
        return contextlib.nullcontext() if self._compiled is None else self._compiled.in_place(self.model)

    def _begin_update(self) -> None:
        """Tell the model that an update begins, if it wants to know."""
        if not self.model.changes_between_updates:
            return
        made = generator(self.run.seed, "initialization/update", self.step)
        with at_work(self.run.experiment.model, "before_update"):
            self.model.before_update(self.step, self.config.steps, made)

    def _looks_on(self) -> bool:
        """Whether this update is one at which a model or a method from outside is looked at more closely."""
        return self._foreign and (self.step < 2 or self.step % self.config.learning_every == 0)

    def forward_operations(self, points: int, *, separate: bool = False) -> int:
        """Operations of the products in a forward pass of the model on one prompt of so many points.

        Reasoning steps are positions beside these. ``separate``: with separate queries, which prompts of training never
        have.
        """
        return self.read_operations(self.run.experiment.read_points(points), separate=separate)

    def read_operations(self, points: int, *, separate: bool = False) -> int:
        """The same of a prompt of so many positions, those of reasoning steps among them."""
        if separate and not self.model.takes_queries:
            return sum(self.read_operations(k + 1) for k in range(points))
        with at_work(self.run.experiment.model, "cost_key"):
            cost: object = self.model.cost_key()
        if not isinstance(cost, Hashable):
            found = f"a {type(cost).__name__}"
            raise broken_contract(
                self.run.experiment.model, "cost_key", found=found, expected="what can be a key, as a number"
            )
        key = points, separate, cost
        if key not in self._counted:
            xs = next(self.model.parameters()).new_zeros(1, points, self.run.experiment.shown_dims)
            label_dims = next(iter(self.tasks.values())).function_class.label_dims
            ys = xs[..., 0] if label_dims == 1 else xs.new_zeros(1, points, label_dims)
            # Not by calling the model, which may be compiled: nothing of that would be seen.
            with torch.no_grad():
                rows = self.model.no_instruction(1)
                more = {} if rows is None else {"instruction": rows}
                queries = (xs,) if separate else ()
                self._counted[key] = count(lambda: self.model.forward(xs, ys, *queries, **more))
        return self._counted[key]

    def diverges(self, cell: Cell, loss: float) -> bool:
        """Whether a loss is not finite, or, where E f^2 is finite, above the configured limit."""
        exploded = loss / self.trivial[cell] > self.config.divergence
        return not math.isfinite(loss) or (self.tasks[cell].has_second_moment() and exploded)

    def check_loss(self, cell: Cell, loss: float, role: str | None = None, step: int | None = None) -> None:
        """Raise `Diverged` for a loss that `diverges`.

        ``role``: that of the prompts, by default the method's signal. ``step``: the update whose loss it is; by default
        it is a mean over those up to now.
        """
        if not self.diverges(cell, loss):
            return
        role = self.method.signal if role is None else role
        what = "the loss" if role == self.method.signal else f"the {role} loss"
        with at_work(self.method, "why_diverged"):
            why = self.method.why_diverged(role)
        nothing = "chance" if self.tasks[cell].function_class.class_valued else "predicting zero"
        way_out = f": {why}" if why else "; a lower training.optimizer learning rate usually helps"
        raise Diverged(
            f"training diverged {f'by step {self.step}' if step is None else f'at step {step}'}: {what} on {cell[0]} "
            f"with {cell[1]} inputs is {loss:.4g}, {loss / self.trivial[cell]:.4g} times that of {nothing} "
            f"(limit training.divergence = {self.config.divergence:g}){way_out}"
        )

    def state_dict(self) -> dict[str, Any]:
        """The tensors and plain values of the run; ComponentFailed if a method or a curriculum keeps anything else."""
        expect_plain(self.method, self.method_state)
        expect_plain(self.plan.over_function_classes, self.curriculum_state["function_classes"])
        expect_plain(self.plan.over_inputs, self.curriculum_state["inputs"])
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "curriculum": self.curriculum_state,
            "method": self.method_state,
            "prompts_seen": [[*cell, n] for cell, n in self.prompts_seen.items()],
            "flops": [[*cell, n] for cell, n in self.flops.items()],
            "trained_points": self.trained_points,
            "changes_prompts": self.changes_prompts,
            "counted": [[points, separate, n] for (points, separate, cost), n in self._counted.items() if cost is None],
            "offered": [list(cell) for cell in sorted(self.offered)],
            **({} if self.setting.balance is None else {"balance": self.setting.balance.state_dict()}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])
        self.curriculum_state = state["curriculum"]
        # Checkpoints of version 0.2.0 have none: no method of that version kept any state.
        self.method_state = state.get("method", self.method_state)
        self.prompts_seen = Counter({(c, i): n for c, i, n in state["prompts_seen"]})
        self.flops = Counter({(c, i): n for c, i, n in state["flops"]})
        self.trained_points = state["trained_points"]
        self.changes_prompts = state.get("changes_prompts")
        self._counted = {(points, separate, None): n for points, separate, n in state.get("counted", [])}
        self.offered = {(c, i) for c, i in state["offered"]}
        if self.setting.balance is not None:
            self.setting.balance.load_state_dict(state["balance"], self.device)
