"""A trained model as it is, with some of its heads masked, or told another instruction: learners with ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.options import option
from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.evaluation import NamedLearner
from icl_curriculum.models.adaptation import Adaptation
from icl_curriculum.models.instructions import NEUTRAL
from icl_curriculum.runs.evaluation import TrainedModel

#: What the neutral instruction is called on the command line and in the tables.
NEUTRAL_NAME = "neutral"


@dataclass(frozen=True)
class Instructed:
    """A learner that is told the instruction of one row, whatever the prompts are of."""

    learner: Learner
    row: int
    reads_steps: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        told = torch.full((len(prompts),), self.row, device=prompts.xs.device)
        return self.learner.predict(replace(prompts, instruction=told))


def asked_models(
    trained: TrainedModel, *, masks: Sequence[str] = (), instructions: Sequence[str] = ()
) -> list[NamedLearner]:
    """The model itself, then with each of the masks, and each of these told each of the instructions.

    ``masks``: texts that `masking.HeadChoice.parse` reads. ``instructions``: names that the run tells apart, or
    ``neutral``. The ids hold what is not as in the run: ``model/masked=retrospective/n=2/instruction=linear``.
    UserError for what the model cannot be asked.
    """
    config = trained.run.experiment.model
    known = {NEUTRAL_NAME: NEUTRAL, **_rows(trained)} if instructions else {}
    found = [NamedLearner("model", "model", trained.model, config)]
    for mask in dict.fromkeys(masks):
        masked = trained.model.masked(mask)
        found.append(NamedLearner(masked.id, "model", masked, config))
    told = []
    for name in dict.fromkeys(instructions):
        if name not in known:
            raise UserError(f"{option('--instruction')}: {name!r} is none of the run's{did_you_mean(name, known)}")
        for entry in found:
            learner = Instructed(entry.learner, known[name])
            told.append(NamedLearner(f"{entry.id}/instruction={name}", "model", learner, config))
    return found + told


def asked_adaptations(texts: Sequence[str]) -> list[Adaptation]:
    """The adaptations that ``--adapt`` names, each once. UserError for what is none."""
    found: dict[Adaptation, None] = {}
    for text in texts:
        try:
            found[Adaptation.parse(text)] = None
        except UserError as error:
            raise UserError(f"{option('--adapt')} {error}") from None
    return list(found)


def _rows(trained: TrainedModel) -> dict[str, int]:
    told = trained.model.instruction
    if told is None:
        raise UserError(
            f"{option('--instruction')}: {trained.run.name} was trained without instructions",
            way_out='instruction.kind = "one_hot", "preset" or "learned" trains with them',
        )
    return {name: row for row, name in enumerate(told.names)}
