"""The training loop of one run, one update at a time.

It reports and never writes: what to log, evaluate and save is its caller's business.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.machine import arithmetic, check_precision
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.curricula import Shares
from icl_curriculum.models.base import Model
from icl_curriculum.models.flops import count
from icl_curriculum.training.methods import Portion, Trainee, TrainingMethod
from icl_curriculum.training.optimizers import Optimizers, schedule_factor

Cell = tuple[str, str]


class Diverged(Exception):
    """Training met a loss that is not finite, or far above that of predicting zero."""


@dataclass(frozen=True)
class Update:
    """What one update did: prompts and squared error (a tensor not yet waited for) by cell."""

    step: int
    shares: Shares
    n_prompts: dict[Cell, int]
    losses: dict[Cell, Tensor]
    learning_rate: float


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
            model = experiment.model.build(
                dims=experiment.dims, points=experiment.points, generator=generator(run.seed, "initialization")
            ).to(device)
        check_precision(self.config.precision, device)
        if self.config.compile:
            # A graph spares a GPU the launching of every kernel, which for small models is most of a step.
            model.compile(mode="reduce-overhead" if device.startswith("cuda") else "default")
        clip = self.config.clip
        self.trainee = Trainee(
            model=model,
            optimizers=Optimizers(model, self.config.optimizer),
            clip=None if clip is None or math.isinf(clip) else clip,
        )
        self.step = 0
        self.curriculum_state = self.plan.initial_state()
        self.prompts_seen: Counter[Cell] = Counter()
        self.flops: Counter[Cell] = Counter()
        self.trained_points = 0
        self.offered: set[Cell] = set()
        self._counted: dict[int, int] = {}

    @property
    def model(self) -> Model:
        return self.trainee.model

    def update(self) -> Update:
        """Draw a batch, update once, and tell the curriculum."""
        shares = self.plan.shares(self.step, self.curriculum_state)
        counts = self._draw_cells(shares)
        batch = {cell: self._draw_prompts(cell, n, shares) for cell, n in counts.items()}
        weights = {cell: 1 / self.trivial[cell] if self.config.loss == "normalized" else 1.0 for cell in batch}
        factor = schedule_factor(self.config.schedule, self.step, self.config.steps)
        portions = [Portion(prompts, weights[cell]) for cell, prompts in batch.items()]
        with at_work(self.run.experiment.model, "training"), at_work(self.method, "update"):
            with arithmetic(self.config.precision, self.device):
                (losses,) = self.method.update([self.trainee], [portions], factor)
            by_cell = dict(zip(batch, losses, strict=True))
        self.step += 1
        self.prompts_seen.update(counts)
        for cell, n in counts.items():
            self.flops[cell] += n * self._flops_of_prompt(shares.points)
        self.trained_points = max(self.trained_points, shares.points)
        self.offered |= {
            (c, i) for c, p in shares.function_classes.items() for i, q in shares.inputs.items() if p * q > 0
        }
        if self.plan.adaptive:
            signals = {cell: float(loss) / self.trivial[cell] for cell, loss in by_cell.items()}
            self.curriculum_state = self.plan.update(self.curriculum_state, signals)
        return Update(self.step, shares, counts, by_cell, self.config.optimizer.learning_rate * factor)

    def _flops_of_prompt(self, points: int) -> int:
        """Operations of an update for each prompt of so many points: of the products in the model's forward passes."""
        if points not in self._counted:
            xs = next(self.model.parameters()).new_zeros(1, points, self.plan.dims)
            # Not by calling the model, which may be compiled: nothing of that would be seen.
            with torch.no_grad():
                forward = count(lambda: self.model.forward(xs, xs[..., 0]))
            self._counted[points] = round(forward * self.method.forward_passes)
        return self._counted[points]

    def _draw_cells(self, shares: Shares) -> dict[Cell, int]:
        """How many prompts of each cell: one draw for the batch, or one per prompt."""
        made = generator(self.run.seed, "curriculum", self.step)
        per_batch = self.run.experiment.curriculum.draw == "batch"
        draws = 1 if per_batch else self.config.batch_size
        classes = _choose(shares.function_classes, draws, made)
        inputs = _choose(shares.inputs, draws, made)
        counts = Counter(zip(classes, inputs, strict=True))
        # In the order of the config, not of the draw, so that equal counts give equal batches.
        return {cell: self.config.batch_size if per_batch else counts[cell] for cell in self.tasks if counts[cell]}

    def _draw_prompts(self, cell: Cell, n: int, shares: Shares) -> Prompts:
        streams = Streams(self.run.seed, f"training/{cell[0]}/{cell[1]}", self.step, self.device)
        dims = None if shares.dims == self.plan.dims else shares.dims
        prompts = self.tasks[cell].draw(n, self.plan.points, streams, active_dims=dims)
        return prompts if shares.points == self.plan.points else prompts.first_points(shares.points)

    def check_loss(self, cell: Cell, loss: float) -> None:
        """Raise `Diverged` for a loss that is not finite, or, where E f^2 is finite, above the configured limit."""
        normalized = loss / self.trivial[cell]
        exploded = self.tasks[cell].has_second_moment() and normalized > self.config.divergence
        if not math.isfinite(loss) or exploded:
            raise Diverged(
                f"training diverged by step {self.step}: the loss on {cell[0]} with {cell[1]} inputs is {loss:.4g}, "
                f"{normalized:.4g} times that of predicting zero (limit training.divergence = "
                f"{self.config.divergence:g}); a lower training.optimizer learning rate usually helps"
            )

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that `load_state_dict` continues from."""
        return {
            "step": self.step,
            "model": self.trainee.model.state_dict(),
            "optimizers": self.trainee.optimizers.state_dict(),
            "curriculum": self.curriculum_state,
            "prompts_seen": [[*cell, n] for cell, n in self.prompts_seen.items()],
            "flops": [[*cell, n] for cell, n in self.flops.items()],
            "trained_points": self.trained_points,
            "offered": [list(cell) for cell in sorted(self.offered)],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.trainee.model.load_state_dict(state["model"])
        self.trainee.optimizers.load_state_dict(state["optimizers"])
        self.curriculum_state = state["curriculum"]
        self.prompts_seen = Counter({(c, i): n for c, i, n in state["prompts_seen"]})
        self.flops = Counter({(c, i): n for c, i, n in state["flops"]})
        self.trained_points = state["trained_points"]
        self.offered = {(c, i) for c, i in state["offered"]}


def _choose(shares: dict[str, float], draws: int, made: torch.Generator) -> list[str]:
    ids = list(shares)
    weights = torch.tensor(list(shares.values()), dtype=torch.float64)
    return [ids[i] for i in torch.multinomial(weights, draws, replacement=True, generator=made).tolist()]
