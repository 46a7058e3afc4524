"""Finished runs, opened to be asked: the model, what it was trained on, where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load_run
from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Model
from icl_curriculum.results.directory import RunDirectory, read_manifest
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.evaluation import TrainedModel


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its directory, its manifest, and the model with what it was trained on."""

    directory: RunDirectory
    manifest: dict[str, Any]
    trained: TrainedModel

    @property
    def run(self) -> Run:
        return self.trained.run


def open_run(run_dir: Path, device: str = "cpu") -> TrainedRun:
    """UserError if the directory holds no finished run, or a damaged one."""
    manifest = read_manifest(run_dir)
    if manifest is None or manifest["status"] != "finished":
        found = "no run" if manifest is None else f"a run that is {manifest['status']}"
        raise UserError(f"{run_dir}: expected the directory of a finished run, found {found}{_runs_in(run_dir)}")
    run = load_run(run_dir / "config.toml")
    directory = RunDirectory(run_dir, experiment=run.experiment.name, variant=run.variant, seed=run.seed)
    model = load_model(run_dir).to(device)
    directory.check_intact()
    return TrainedRun(directory, manifest, _trained(run, model, run_dir))


def _trained(run: Run, model: Model, run_dir: Path) -> TrainedModel:
    """The model with what it was trained on, as its own evaluation.csv says."""
    columns = ["step", "function_class", "input_distribution", "in_distribution", "n_context"]
    types = {"function_class": "str", "input_distribution": "str"}
    own = pd.read_csv(run_dir / "evaluation.csv", usecols=columns, dtype=types, keep_default_na=False)
    step = int(own["step"].max())
    own = own[own["in_distribution"]]
    offered = frozenset(zip(own["function_class"], own["input_distribution"], strict=True))
    points = int(own["n_context"].max()) + 1 if len(own) else 0
    return TrainedModel(run, model, step, offered, points)


def _runs_in(folder: Path) -> str:
    """A hint for who names an experiment's folder instead of a run's."""
    runs = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    return f"; its runs are {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}" if runs else ""
