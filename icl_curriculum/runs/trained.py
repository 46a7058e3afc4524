"""What a finished run's model was trained on, as the run's own tables say."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from icl_curriculum.config.experiment import Run
from icl_curriculum.models.base import Model
from icl_curriculum.runs.evaluation import TrainedModel


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
