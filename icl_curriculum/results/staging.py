"""New files of a finished run, written beside the old ones and put into their places all together.

They lie in the folder ``renewed`` within the run's, their manifest last of all. Until that is there the old files are
whole and count; from then on the new ones do, and whoever next works on the run finishes putting them into place.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.core.options import option
from icl_curriculum.results.columns import TABLES, csv_text, of_run
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import (
    DECIDING_FOLDERS,
    MANIFEST,
    STAGE,
    DamagedFile,
    is_half_renewed,
    read_sealed,
    sealed,
)


class StagedFiles(RunDirectory):
    """What a finished run is to hold: what is written goes into its folder `STAGE`, what is not stays as it is.

    ``directory``: the run's, which this process has locked. What an earlier attempt left there is removed.
    """

    def __init__(self, directory: RunDirectory) -> None:
        super().__init__(
            directory.path, experiment=directory.run.experiment, variant=directory.run.variant, seed=directory.run.seed
        )
        self._claim = directory._claim
        self.check_held()
        shutil.rmtree(self.path / STAGE, ignore_errors=True)

    def write(self, name: str, data: str | bytes) -> str:
        """Write a whole file that is to take the place of the one with this path; returns the hash of its content."""
        written = super().write(f"{STAGE}/{name}", data)
        self._written[name] = self._written.pop(f"{STAGE}/{name}")
        return written

    def append(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Have a growing table hold these rows, in the places of those of the same keys, else at its end."""
        keys = [column for column, about in TABLES[name].columns.items() if about.key]
        with self.table(name).open(encoding="utf-8", newline="") as file:
            header, *old = csv.reader(file)
        new = list(csv.reader(io.StringIO(csv_text(of_run(self.run, rows)), newline="")))

        def key_of(row: Sequence[str]) -> list[str]:
            return [row[header.index(key)] for key in keys]

        replaced = [key_of(row) for row in new]
        self.write(f"{name}.csv", csv_text([header, *(row for row in old if key_of(row) not in replaced), *new]))

    def keep(self, files: Mapping[str, str]) -> None:
        """Have the run go on holding files with these hashes, which the manifest is to name."""
        self._written.update(files)

    def put_in_place(self, manifest: Mapping[str, Any]) -> None:
        """Make the run what was written, with this manifest."""
        self.write(MANIFEST, json.dumps(sealed(manifest), indent=2) + "\n")
        finish_renewing(self)


def staged_manifest(run_dir: Path) -> dict[str, Any] | None:
    """The manifest of files that are being put into place; None where there are none."""
    if not is_half_renewed(run_dir):
        return None
    path = run_dir / STAGE / MANIFEST
    try:
        return read_sealed(path)
    except (OSError, ValueError) as error:
        raise DamagedFile(path, str(error), f"restore it, or train anew with {option('--fresh')}") from None


def finish_renewing(directory: RunDirectory) -> None:
    """Put files into place that a process was killed over; the caller holds the folder's lock.

    What was not written to its end is removed: then the old files are whole.
    """
    stage = directory.path / STAGE
    manifest = staged_manifest(directory.path)
    if manifest is not None:
        for path in sorted(path for path in stage.rglob("*") if path.is_file() and path != stage / MANIFEST):
            target = directory.path / path.relative_to(stage)
            directory.check_held()
            target.parent.mkdir(exist_ok=True, parents=True)
            path.replace(target)
        for folder in DECIDING_FOLDERS:
            for path in [path for path in (directory.path / folder).rglob("*") if path.is_file()]:
                if path.relative_to(directory.path).as_posix() not in manifest["files"]:
                    directory.remove(path)
            for path in (*sorted((directory.path / folder).rglob("*"), reverse=True), directory.path / folder):
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        directory.check_held()
        (stage / MANIFEST).replace(directory.path / MANIFEST)
    if stage.exists():
        directory.check_held()
        shutil.rmtree(stage, ignore_errors=True)
