"""Manifests that are changed on purpose, and sealed again as if icl had written them so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from icl_curriculum.results.collecting import COLLECTED, COLLECTED_TABLES
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.results.manifests import sealed
from icl_curriculum.results.surveying import survey


def reseal(file: Path, changes: dict[str, Any]) -> None:
    """Change keys of a manifest; None takes one away."""
    content = json.loads(file.read_text(encoding="utf-8")) | changes
    file.write_text(json.dumps(sealed({key: value for key, value in content.items() if value is not None})))


def unsealed(file: Path, changes: dict[str, Any]) -> None:
    """Make a manifest one of format 1, which had no seal, and change keys of it."""
    content = json.loads(file.read_text(encoding="utf-8"))
    later = ("format", "seal", "files")
    kept = {key: value for key, value in content.items() if key not in later} | changes
    file.write_text(json.dumps({key: value for key, value in kept.items() if value is not None}))


def note_collected(experiment: Path) -> None:
    """Have an experiment's tables, as they are, count as what was collected from its finished runs, as they are."""
    runs = survey(experiment, files=True).finished
    if not runs:
        (experiment / COLLECTED).unlink(missing_ok=True)
        return
    tables = {name: experiment / f"{name}.csv" for name in COLLECTED_TABLES}
    content = {
        "variants": {manifest["variant"]: manifest["config_hash"] for _, manifest in runs},
        "runs": {path.name: str(manifest.get("seal", "")) for path, manifest in runs},
        "tables": {name: bytes_hash(path.read_bytes()) for name, path in tables.items() if path.is_file()},
    }
    (experiment / COLLECTED).write_text(json.dumps(sealed(content)))


def tables_alone(experiment: Path, copy: Path) -> Path:
    """A copy of an experiment's tables without its runs and what was collected, so that they may be edited."""
    copy.mkdir(parents=True, exist_ok=True)
    for table in experiment.glob("*.csv"):
        shutil.copy(table, copy)
    return copy
