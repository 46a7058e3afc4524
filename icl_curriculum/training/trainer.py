"""The training loop of one run, one update at a time.

It reports and never writes: what to log, evaluate and save is its caller's business.
"""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.core.machine import arithmetic, check_precision
from icl_curriculum.core.streams import generator
from icl_curriculum.curricula import Shares
from icl_curriculum.models.base import Model
from icl_curriculum.models.flops import count
from icl_curriculum.training.methods import Losses, TrainingMethod
from icl_curriculum.training.optimizers import Optimizers, schedule_factor
from icl_curriculum.training.session import Cell, Session, Setting


class Diverged(Exception):
    """Training met a loss that is not finite, or far above that of predicting zero."""


@dataclass(frozen=True)
class Loss:
    """A mean squared error (a tensor not yet waited for) over the prompts of a cell that were drawn under a role."""

    role: str
    cell: Cell
    value: Tensor
    n_prompts: int


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
    loaded continues as if it had never stopped.
    """

    def __init__(self, run: Run, device: str = "cpu") -> None:
        experiment = run.experiment
        self.run = run
        self.device = device
        self.config = experiment.training
        self.plan = experiment.plan()
        self.tasks = experiment.tasks()
        self.trivial = {cell: task.trivial_error() for cell, task in self.tasks.items()}
        assert isinstance(self.config.method, TrainingMethod)
        self.method = self.config.method
        with at_work(experiment.model, "build"):
            self.model: Model = experiment.model.build(
                dims=experiment.dims, points=experiment.points, generator=generator(run.seed, "initialization")
            ).to(device)
        check_precision(self.config.precision, device)
        if self.config.compile:
            # A graph spares a GPU the launching of every kernel, which for small models is most of a step.
            self.model.compile(mode="reduce-overhead" if device.startswith("cuda") else "default")
        self.optimizers = Optimizers(self.model, self.config.optimizer, self.config.clip)
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
        )
        self.step = 0
        self.curriculum_state = self.plan.initial_state()
        self.prompts_seen: Counter[Cell] = Counter()
        self.flops: Counter[Cell] = Counter()
        self.trained_points = 0
        self.offered: set[Cell] = set()
        self._counted: dict[int, int] = {}

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
        )

    def update(self) -> Update:
        """Let the method make one update, and tell the curriculum."""
        session = self.session()
        shares = session.shares
        with (
            at_work(self.run.experiment.model, "training"),
            at_work(self.method, "update"),
            arithmetic(self.config.precision, self.device),
        ):
            returned = self.method.update(session)
        losses = list(self._losses(session, returned))
        self.method_state = session.state
        self.step += 1
        drawn: Counter[Cell] = Counter()
        for draw in session.drawn:
            drawn[draw.cell] += draw.n_prompts
            with at_work(self.method, "operations"):
                operations = round(self.method.operations(draw.role, self._forward_operations(draw.points)))
            self.flops[draw.cell] += draw.n_prompts * operations
            self.trained_points = max(self.trained_points, draw.points)
        self.prompts_seen.update(drawn)
        self.offered |= {
            (c, i) for c, p in shares.function_classes.items() for i, q in shares.inputs.items() if p * q > 0
        }
        # In the order of the config, whatever the order of the draws.
        n_prompts = {cell: drawn[cell] for cell in self.tasks if drawn[cell]}
        update = Update(self.step, shares, n_prompts, losses, self.config.optimizer.learning_rate * session.rate_factor)
        if self.plan.adaptive:
            found = update.losses_of(self.method.signal)
            signals = {cell: float(loss) / self.trivial[cell] for cell, loss in found.items()}
            self.curriculum_state = self.plan.update(self.curriculum_state, signals)
        return update

    def _losses(self, session: Session, returned: Losses) -> Iterator[Loss]:
        """The losses that an update returned, by role and then in the order of the config's cells.

        ComponentFailed unless it is a mean error of every cell drawn under the role `TrainingMethod.signal`, and of no
        cell that was not drawn under its role.
        """
        drawn: Counter[tuple[str, Cell]] = Counter()
        for draw in session.drawn:
            drawn[draw.role, draw.cell] += draw.n_prompts
        wanted = {cell for role, cell in drawn if role == self.method.signal}
        doing, signal = f"update at step {self.step}", self.method.signal
        if not wanted:
            found = f"without drawing prompts under the role {signal!r}, its signal"
            raise broken_contract(self.method, doing, found=found, expected="some at every step")
        if not isinstance(returned, dict) or not wanted <= {*returned.get(signal, {})}:
            expected = f"losses by role and cell, of {signal!r} for {_listed(wanted)}"
            raise broken_contract(self.method, doing, found=reprlib.repr(returned), expected=expected)
        for role, by_cell in returned.items():
            strangers = {cell for cell in by_cell if (role, cell) not in drawn}
            if strangers:
                found = f"a loss of {role!r} for {_listed(strangers)}"
                expected = "losses of cells that were drawn under their role"
                raise broken_contract(self.method, doing, found=found, expected=expected)
            for cell in self.tasks:
                if cell in by_cell:
                    yield Loss(role, cell, _scalar(self.method, by_cell[cell]), drawn[role, cell])

    def _forward_operations(self, points: int) -> int:
        """Operations of the products in a forward pass of the model on one prompt of so many points."""
        if points not in self._counted:
            xs = next(self.model.parameters()).new_zeros(1, points, self.plan.dims)
            # Not by calling the model, which may be compiled: nothing of that would be seen.
            with torch.no_grad():
                self._counted[points] = count(lambda: self.model.forward(xs, xs[..., 0]))
        return self._counted[points]

    def check_loss(self, cell: Cell, loss: float, role: str | None = None) -> None:
        """Raise `Diverged` for a loss that is not finite, or, where E f^2 is finite, above the configured limit.

        ``role``: that of the prompts, by default the method's signal.
        """
        what = "the loss" if role in (None, self.method.signal) else f"the {role} loss"
        normalized = loss / self.trivial[cell]
        exploded = self.tasks[cell].has_second_moment() and normalized > self.config.divergence
        if not math.isfinite(loss) or exploded:
            raise Diverged(
                f"training diverged by step {self.step}: {what} on {cell[0]} with {cell[1]} inputs is {loss:.4g}, "
                f"{normalized:.4g} times that of predicting zero (limit training.divergence = "
                f"{self.config.divergence:g}); a lower training.optimizer learning rate usually helps"
            )

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that `load_state_dict` continues from."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "curriculum": self.curriculum_state,
            "method": self._method_state(),
            "prompts_seen": [[*cell, n] for cell, n in self.prompts_seen.items()],
            "flops": [[*cell, n] for cell, n in self.flops.items()],
            "trained_points": self.trained_points,
            "offered": [list(cell) for cell in sorted(self.offered)],
        }

    def _method_state(self) -> dict[str, Any]:
        """The state that the method keeps; ComponentFailed unless a checkpoint can hold it."""
        found = _outside_plain(self.method_state)
        if found is not None:
            expected = "tensors and plain values (numbers, text, None, lists, dicts)"
            raise broken_contract(self.method, "its state", found=found, expected=expected)
        return self.method_state

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
        self.offered = {(c, i) for c, i in state["offered"]}


def _listed(cells: set[Cell]) -> str:
    return ", ".join(sorted("/".join(map(str, cell)) for cell in cells))


def _scalar(method: TrainingMethod, loss: object) -> Tensor:
    """A loss without its graph; ComponentFailed for anything but a number in a tensor."""
    if not isinstance(loss, Tensor) or loss.ndim:
        found = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
        raise broken_contract(method, "update", found=f"{found} as a loss", expected="a scalar tensor")
    return loss.detach()


def _outside_plain(value: object, place: str = "state") -> str | None:
    """The first place of a state that holds anything but tensors and plain values."""
    if isinstance(value, Tensor) or type(value) in (bool, int, float, str, type(None)):
        return None
    if type(value) in (dict, list, tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)  # type: ignore[arg-type]
        return next((found for key, inner in items if (found := _outside_plain(inner, f"{place}[{key!r}]"))), None)
    return f"{place} holds a {type(value).__name__}"
