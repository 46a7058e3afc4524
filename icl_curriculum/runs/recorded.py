"""What a variant records in training is decided when its first run in a folder begins, and stays so there.

How often rows are written, on which banks learning.csv measures and which weights are kept decides no weights. So a
command that asks for it otherwise trains nothing anew: finished runs are kept as they are, unfinished ones go on, and
seeds that are added have rows at the same steps. Whoever gives the command is told (`NotRecordedAnew`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from icl_curriculum.config.deciding import keys_by_part
from icl_curriculum.config.experiment import Experiment, Run
from icl_curriculum.config.loading import read_toml
from icl_curriculum.config.tables import EvaluationConfig, TrainingConfig
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.named_files import files_lie_in
from icl_curriculum.core.notices import NotRecordedAnew
from icl_curriculum.results.manifests import is_run_name, read_manifest
from icl_curriculum.runs.changes import changes_of

T = TypeVar("T", TrainingConfig, EvaluationConfig)


def as_recorded(runs: Sequence[Run], results: Path) -> tuple[list[Run], list[NotRecordedAnew]]:
    """The runs as their variants are recorded in this folder, and of each variant what is not recorded as asked."""
    # All seeds of a variant are of one experiment.
    known: dict[str, tuple[Experiment, NotRecordedAnew | None]] = {}
    folders: dict[str, list[Path]] | None = None
    found = []
    for run in runs:
        if run.variant not in known:
            # Where the first run is this very one, nothing else is looked at.
            own = results / run.experiment.name / run.name
            if folders is None and not _is_this(run, own):
                folders = _folders(results / run.experiment.name)
            beside = (folders or {}).get(run.variant, [])
            known[run.variant] = _as_begun_there(run, [own, *(path for path in beside if path != own)])
        experiment, notice = known[run.variant]
        found.append(run if notice is None else dataclasses.replace(run, experiment=experiment))
    return found, [notice for _, notice in known.values() if notice is not None]


def _is_this(run: Run, run_dir: Path) -> bool:
    with contextlib.suppress(UserError):
        return (read_manifest(run_dir) or {}).get("config_hash") == run.hash()
    return False


def _folders(experiment: Path) -> dict[str, list[Path]]:
    """The folders of an experiment's runs by their variants."""
    found: dict[str, list[Path]] = {}
    for path in sorted(experiment.iterdir()) if experiment.is_dir() else ():
        if is_run_name(path.name):
            found.setdefault(path.name.rpartition("-seed")[0], []).append(path)
    return found


def _as_begun_there(run: Run, folders: Sequence[Path]) -> tuple[Experiment, NotRecordedAnew | None]:
    """The experiment of a run as the first of some folders records it that was trained alike."""
    for path in folders:
        # What is damaged is named when the run itself is looked at.
        with contextlib.suppress(UserError, ValidationError):
            manifest = read_manifest(path)
            if manifest is None or not (path / "config.toml").is_file():
                continue
            if manifest["config_hash"] == run.hash():
                break
            changes = changes_of(run, path, manifest)
            if changes.training:
                continue
            if changes.recording:
                experiment = _recorded_as(run.experiment, path)
                as_there = dataclasses.replace(run, experiment=experiment)
                if not changes_of(as_there, path, manifest).recording:
                    return experiment, NotRecordedAnew(run.variant, path, changes.recording)
            break
    return run.experiment, None


def _recorded_as(experiment: Experiment, run_dir: Path) -> Experiment:
    """An experiment that records what the config of a run's folder says, and is otherwise itself."""
    written = read_toml(run_dir / "config.toml")
    with files_lie_in(run_dir):
        training = _with_keys_of(experiment.training, written.get("training", {}))
        evaluation = _with_keys_of(experiment.evaluation, written.get("evaluation", {}))
    return experiment.model_copy(update={"training": training, "evaluation": evaluation})


def _with_keys_of(table: T, written: Mapping[str, Any]) -> T:
    keys: list[str] = [key for key, parts in keys_by_part(type(table)) if parts == ("recording",)]
    # Beside the number of steps, from which the defaults of some keys follow.
    whole = {key: written[key] for key in (*keys, "steps") if key in written and key in type(table).model_fields}
    read = type(table).model_validate(whole)
    return table.model_copy(update={key: getattr(read, key) for key in keys})
