"""Training methods under check, and runs of a tiny experiment of two cells that they train.

Dimensions: n = prompts of a draw.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.tables import CurriculumConfig, InstructionConfig, TrainingConfig
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import METHODS, MODELS
from icl_curriculum.curricula import Growth
from icl_curriculum.models.base import Capability, ModelConfig
from icl_curriculum.models.transformer import TransformerConfig
from icl_curriculum.testing.rules import Inapplicable
from icl_curriculum.testing.subject import ComponentSubject, equal_to
from icl_curriculum.training.methods import TrainingMethod
from icl_curriculum.training.session import Cell, Session
from icl_curriculum.training.trainer import Trainer, Update

Drawing = Literal["batch", "prompt"]
DRAWINGS: tuple[Drawing, ...] = ("batch", "prompt")
CELLS = 2
#: Updates of a run that is interrupted half-way; the run itself is of the default length.
STEPS = 4
#: Prompts of an update: the first number that the method takes.
BATCH_SIZES = (8, 16, 32, 64, 128)


class MethodSubject(ComponentSubject[TrainingMethod]):
    """A training method under check, and runs of a tiny experiment that it trains."""

    registry = METHODS
    base = TrainingMethod
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "Plain in-context training with two steps on every batch."

    @functools.cached_property
    def model(self) -> ModelConfig:
        """A model that can do what the method needs: a narrow transformer, else the first of those registered.

        Raises Inapplicable if there is none.
        """
        self.doing = "required()"
        needed = self.as_given.required()
        narrow: dict[str, Any] = {"width": 8, "layers": 1, "heads": 2}
        if Capability.SECOND_DERIVATIVES in needed:
            narrow["attention"] = "plain"
        candidates: list[ModelConfig] = [TransformerConfig(**narrow)]
        for name in MODELS.names() if any(candidates[0].lacks(item) is not None for item in needed) else ():
            built = MODELS.build(name)
            assert isinstance(built, ModelConfig)
            candidates.append(built)
        for config in candidates:
            if all(config.lacks(capability) is None for capability in needed):
                return config
        wanted = " and ".join(capability.wording for capability in sorted(needed))
        raise Inapplicable(f"no registered model can {wanted}, each at its defaults; register one in the same file")

    def refusal(self, training: TrainingConfig, drawing: Drawing) -> UserError | None:
        """The error by which `ConfiguredMethod.check` refuses a ``[training]`` table. Raises what else that raises."""
        self.doing = f'check of [training] with batch_size = {training.batch_size} and curriculum.draw = "{drawing}"'
        try:
            self.as_given.check(training, cells=CELLS, draw=drawing)
        except UserError as error:
            return error
        return None

    def training(self, drawing: Drawing, batch_size: int, *, weighed: bool = False) -> TrainingConfig:
        """``weighed``: prompts of random length, so that some positions don't count."""
        return TrainingConfig(
            method=equal_to(self.as_given), batch_size=batch_size, loss="normalized", clip=math.inf,
            shortest_prompt=2 if weighed else None,
        )  # fmt: skip

    @functools.cached_property
    def drawings(self) -> dict[Drawing, int]:
        """The values of ``curriculum.draw`` that the method takes, with the batch size for each."""
        taken: dict[Drawing, int] = {}
        for drawing in DRAWINGS:
            fitting = (n for n in BATCH_SIZES if self.refusal(self.training(drawing, n), drawing) is None)
            size = next(fitting, None)
            if size is not None:
                taken[drawing] = size
        return taken

    def trainer(
        self, drawing: Drawing, *, told: bool = False, weighed: bool = False, classes: bool = False
    ) -> WatchedTrainer:
        """A run that has not begun. Its method is equal to that under check, and shares nothing with it.

        ``told``: of a model that reads instructions; any method that needs such a one has it. ``weighed``: not all
        positions count, and those that do not have no target. ``classes``: labels are classes.
        """
        told = told or Capability.INSTRUCTION in self.as_given.required()
        experiment = Experiment(
            dims=2,
            points=5,
            function_classes=("multiclass_linear", {"name": "multiclass_linear", "id": "other"})
            if classes
            else ("linear", "quadratic"),
            inputs=("gaussian",),
            curriculum=CurriculumConfig(
                function_classes="random",  # type: ignore[arg-type]
                draw=drawing,
                points=Growth(start=3, add=1, every=1),
            ),
            model=self.model,
            instruction=InstructionConfig(kind="preset" if told else "none"),
            training=self.training(drawing, self.drawings[drawing], weighed=weighed),
        )
        self.doing = "initial_state"
        made = WatchedTrainer(Run(experiment, "conformity", 0))
        made.without_targets = weighed
        return made

    def trainers(self) -> Iterator[tuple[WatchedTrainer, str]]:
        """A run for each value of ``curriculum.draw`` that the method takes, and how to name it."""
        for drawing in self.drawings:
            yield self.trainer(drawing), f'curriculum.draw = "{drawing}"'

    def update(self, trainer: WatchedTrainer) -> Update:
        """One update by the trainer. What the method raises comes as it was raised."""
        self.doing = f'update at step {trainer.step}, curriculum.draw = "{trainer.run.experiment.curriculum.draw}"'
        try:
            return trainer.update()
        except ComponentFailed as failed:
            if failed.__cause__ is not None:
                raise failed.__cause__ from None
            raise


class WatchedTrainer(Trainer):
    """A trainer that keeps its latest session, and what was drawn in it."""

    latest: Session
    #: Whether what does not count has no target.
    without_targets: bool = False
    prompts: dict[tuple[str, Cell], list[Prompts]]

    def session(self) -> Session:
        session = super().session()
        self.latest, self.prompts = session, {}
        draw = session.draw

        def noted(cell: Cell, n: int, *, role: str = "training", **how: Any) -> Prompts:
            prompts = draw(cell, n, role=role, **how)
            if self.without_targets and prompts.loss_weights is not None:
                counts = prompts.entry_weights() > 0
                prompts = replace(prompts, targets=torch.where(counts, prompts.targets, math.nan))
            self.prompts.setdefault((role, cell), []).append(prompts)
            return prompts

        session.draw = noted  # type: ignore[method-assign]
        return session


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}
