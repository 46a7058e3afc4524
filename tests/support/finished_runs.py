"""Runs that were executed, and how to compare what they left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
from tiny_runs import tables, tiny_run
from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.results.columns import COLUMNS, OPTIONAL
from icl_curriculum.runs.execution import Progress, directory_of, execute

#: Both classes in every batch, so that a resumed run must restore every count.
PER_PROMPT = {
    "curriculum.draw": "prompt",
    "curriculum.function_classes": "random",
    "inputs": ["gaussian", "skewed"],
    "evaluation.shifts": [],
}


#: Twelve steps, of which the last is no multiple of five.
FINISHED = {"training.log_every": 5, "training.learning_every": 5}


@dataclass
class Finished:
    """A run that has been executed."""

    run: Run
    results: Path
    progress: list[Progress]

    @property
    def path(self) -> Path:
        return directory_of(self.run, self.results).path

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_csv(self.path / f"{name}.csv")

    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.path / "manifest.json").read_text())
        return manifest


def executed(results: Path, changes: dict[str, Any] | None = None, *, seed: int = 0) -> Finished:
    run, progress = tiny_run(changes, seed=seed), []
    execute(run, results, report=progress.append)
    return Finished(run, results, progress)


def weights(run: Finished) -> dict[str, Tensor]:
    loaded: dict[str, Tensor] = safetensors.torch.load_file(run.path / "model.safetensors")
    return loaded


def assert_same_results(found: Finished, expected: Finished) -> None:
    assert set(tables(found.path)) == {f"{name}.csv" for name in (*COLUMNS, *OPTIONAL)} - {"timing.csv"}
    for name, content in tables(expected.path).items():
        assert tables(found.path)[name] == content, name
    for name, value in weights(expected).items():
        assert torch.equal(weights(found)[name], value), name
