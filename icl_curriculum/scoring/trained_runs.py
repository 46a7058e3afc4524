"""Finished runs, opened to be asked: the model, what it was trained on, where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load_run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import given
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import check_intact, finished_manifest
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.evaluation import TrainedModel
from icl_curriculum.runs.kept_weights import kept_steps, read_kept
from icl_curriculum.runs.trained import trained_model
from icl_curriculum.scoring.grid import ALL

#: The most digits of a number of steps.
_DIGITS = 18


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its directory, its manifest, and the model with what it was trained on."""

    directory: RunDirectory
    manifest: dict[str, Any]
    trained: TrainedModel

    @property
    def run(self) -> Run:
        return self.trained.run


def open_run(run_dir: Path, device: str = "cpu", step: int | None = None) -> TrainedRun:
    """A finished run; with ``step``, as it was after so many updates, where it kept its weights then (`kept_steps`).

    UserError if the directory holds no finished run, a damaged one, or no weights of that step.
    """
    manifest = finished_manifest(run_dir)
    check_intact(run_dir, manifest)
    model = load_model(run_dir, step).to(device)
    run = load_run(run_dir / "config.toml", plugin_hashes=manifest.get("plugins"))
    directory = RunDirectory(run_dir, experiment=run.experiment.name, variant=run.variant, seed=run.seed)
    kept = None if step is None else read_kept(run_dir, step)
    if step is not None and kept is not None:
        # What had been trained on by then, as the file of the weights itself says.
        return TrainedRun(directory, manifest, TrainedModel(run, model, step, kept.offered, kept.points))
    return TrainedRun(directory, manifest, trained_model(run, model, run_dir))


def asked_steps(run_dir: Path, texts: Sequence[str]) -> list[int]:
    """The steps that ``--step`` names, each a number or ``all`` for every one whose weights are there, in order.

    UserError, before anything is computed, for what is no step and for one whose weights are not there or damaged.
    """
    steps: set[int] = set()
    for text in texts:
        if text == ALL:
            steps.update(kept_steps(run_dir))
        elif text.isascii() and text.isdigit() and len(text) <= _DIGITS:
            read_kept(run_dir, int(text))
            steps.add(int(text))
        else:
            source = given("--step", text, python="steps")
            raise UserError(f"{source}: expected a number of steps, or {ALL!r} for all whose weights were kept")
    return sorted(steps)
