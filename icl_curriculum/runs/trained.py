"""Trained models with what they were trained on: as the trainer knows it, or as the tables of a finished run say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from icl_curriculum.config.experiment import Run
from icl_curriculum.models.base import Model
from icl_curriculum.runs.evaluation import TrainedModel
from icl_curriculum.training import Trainer


def trained_by(trainer: Trainer) -> TrainedModel:
    """The model of a trainer that is at its last step.

    Nothing is in distribution where the training method gave the model other prompts than were drawn.
    """
    offered = trainer.offered if trainer.changes_prompts is None else ()
    return TrainedModel(trainer.run, trainer.model, trainer.step, frozenset(offered), trainer.trained_points)


def trained_model(run: Run, model: Model, run_dir: Path) -> TrainedModel:
    """The model with what it was trained on, as its own evaluation.csv says.

    That is there where the checkpoint may have been cleaned away.
    """
    columns = ["step", "function_class", "input_distribution", "in_distribution", "n_context"]
    types = {"function_class": "str", "input_distribution": "str"}
    own = pd.read_csv(run_dir / "evaluation.csv", usecols=columns, dtype=types, keep_default_na=False)
    step = int(own["step"].max())
    own = own[own["in_distribution"]]
    offered = frozenset(zip(own["function_class"], own["input_distribution"], strict=True))
    points = int(own["n_context"].max()) + 1 if len(own) else 0
    return TrainedModel(run, model, step, offered, points)
