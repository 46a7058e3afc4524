"""What an experiment's folder holds of runs: which are finished, which are not, and which are damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.manifests import (
    MANIFEST,
    DamagedFile,
    check_intact,
    check_name,
    is_begun,
    is_lost,
    is_run_name,
    read_manifest,
    worded_status,
)


@dataclass(frozen=True)
class Survey:
    """The runs of an experiment's folder, by name: with their manifests, with their status, with what is damaged."""

    finished: list[tuple[Path, dict[str, Any]]] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)


def survey(experiment: Path, *, files: bool = False) -> Survey:
    """Look at every run of an experiment.

    ``files``: whether config, plugins and tables of finished ones are held against their manifests, too.
    """
    found = Survey()
    folders = sorted(path for path in experiment.iterdir() if path.is_dir()) if experiment.is_dir() else []
    for path in folders:
        try:
            manifest = _manifest_of_run(path)
            if manifest is None:
                if is_lost(path):
                    raise DamagedFile(path / MANIFEST, "it is missing")
                if is_begun(path):
                    found.unfinished[path.name] = "begun"
            elif manifest["status"] != "finished":
                found.unfinished[path.name] = worded_status(manifest)
            else:
                if files:
                    check_intact(path, manifest, weights=False)
                found.finished.append((path, manifest))
        except UserError as error:
            found.damaged[path.name] = str(error)
    return found


def _manifest_of_run(path: Path) -> dict[str, Any] | None:
    """The manifest of a folder, if that is a run's; UserError for a run whose manifest is damaged."""
    try:
        manifest = read_manifest(path)
        if manifest is not None:
            check_name(path, manifest)
            # A copy of a run's folder, under a name that no run has, is none of the experiment's.
            return manifest if manifest["run"] == path.name else None
    except DamagedFile:
        # The manifests of other commands lie in folders that are called otherwise.
        if is_run_name(path.name):
            raise
    return None


def finished_runs(experiment: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Directories of finished runs with their manifests, by name. DamagedFile if a run's manifest is."""
    found = survey(experiment)
    for problem in found.damaged.values():
        raise UserError(problem)
    return found.finished
