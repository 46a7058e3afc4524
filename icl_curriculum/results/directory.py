"""The run directory: tidy tables, manifest, lock.

CSV files are UTF-8 with LF line ends; `columns.format_value` says how a value is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from icl_curriculum.core.errors import RunFailed, UserError, did_you_mean
from icl_curriculum.core.files import atomic_path, remove_leftovers
from icl_curriculum.core.locks import Claim, FolderLost, locked
from icl_curriculum.core.options import option
from icl_curriculum.results.columns import (
    COLUMNS,
    GROWING,
    OPTIONAL,
    TABLES,
    RunColumns,
    bytes_hash,
    csv_text,
    of_run,
)
from icl_curriculum.results.grown_table import GrownTable, changed
from icl_curriculum.results.manifests import (
    DECIDING_FOLDERS,
    MANIFEST,
    DamagedFile,
    check_intact,
    read_manifest,
    sealed,
)

#: Where in a run's directory the weights lie that were kept along training, as a pattern.
KEPT_WEIGHTS = "checkpoints/step-*.safetensors"

#: The most bytes of rows that are kept in memory, however rare checkpoints are.
MOST_PENDING = 1_000_000


def kept_weights_file(run_dir: Path, step: int) -> Path:
    """The file of the weights that a run keeps at a step, as ``checkpoints/step-000200.safetensors``."""
    return run_dir / KEPT_WEIGHTS.replace("*", f"{step:06}")


class RunDirectory:
    """The files of one run. Every row of its tables starts with the ``run``'s own columns, which are added here.

    Everything that a run writes goes through here. While the directory is `locked`, each of these looks first whether
    it is still this process's, and raises `core.locks.FolderLost`, with nothing written, if it is not. What was written
    is remembered by its hash, so that a manifest says what the run wrote, not what lies there. Rows of tables that grow
    are kept in memory until they are flushed: with every checkpoint and manifest, and when the run ends or fails, which
    costs a file system over a network little.
    """

    def __init__(self, path: Path, *, experiment: str, variant: str, seed: int) -> None:
        self.path = path
        self.run = RunColumns(experiment, path.name, variant, seed)
        self._claim: Claim | None = None
        self._grown: dict[str, GrownTable] = {}
        #: The hashes of the other files that were written, by their paths within the directory.
        self._written: dict[str, str] = {}

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @contextlib.contextmanager
    def locked(self, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the run for this process; `Locked` if another one has it, or wait for that one (`locks.locked`)."""
        with locked(self.lock, waiting=waiting) as self._claim:
            try:
                for folder in (self.path, *(path for path in self.path.rglob("*") if path.is_dir())):
                    remove_leftovers(folder)
                yield
                self.flush()
            except BaseException:
                # Of a run that fails or is interrupted, as much as can be. On a full disk, that may be half a row.
                with contextlib.suppress(OSError, RunFailed):
                    self.flush()
                raise
            finally:
                self._claim = None

    def check_held(self) -> None:
        """`core.locks.FolderLost` if this process held the directory and does not any more."""
        if self._claim is not None:
            self._claim.check()

    def table(self, name: str) -> Path:
        return self.path / f"{name}.csv"

    def write(self, name: str, data: str | bytes) -> str:
        """Write a whole file atomically; ``name`` is its path within the directory. Returns the hash of its content."""
        data = data.encode() if isinstance(data, str) else data
        path = self.path / name
        self.check_held()
        # The directory itself is not made: it is there, or was lost.
        for folder in reversed(path.relative_to(self.path).parents[:-1]):
            (self.path / folder).mkdir(exist_ok=True)
        with atomic_path(path, before=self.check_held) as temporary:
            temporary.write_bytes(data)
        self._written[name] = bytes_hash(data)
        if path.stem in GROWING and path.suffix == ".csv":
            self._grown[path.stem] = GrownTable(path, data)
        return self._written[name]

    def remove(self, path: Path) -> None:
        """Remove a file of the run's, if it is there."""
        self.check_held()
        path.unlink(missing_ok=True)
        self._written.pop(path.relative_to(self.path).as_posix(), None)

    def start_tables(self, optional: Collection[str] = ()) -> None:
        """Empty growing tables with their headers, and no evaluation.

        ``optional``: the tables that have the columns, too, that only some runs' tables have.
        """
        for name in GROWING:
            self.write(f"{name}.csv", csv_text([TABLES[name].header if name in optional else COLUMNS[name]]))
        for name in ("evaluation", *OPTIONAL):
            self.remove(self.table(name))

    def append(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows, of the type that the table has in `columns`, to a growing table, to be written by `flush`."""
        self._of_growing(name).add(csv_text(of_run(self.run, rows)).encode())
        if sum(len(grown.pending) for grown in self._grown.values()) > MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Append to the growing tables, down to the disk, what is still pending.

        RunFailed if a table is not as long as what this process has written of it; nothing is written to that one.
        """
        try:
            for grown in self._grown.values():
                grown.flush(self.check_held)
        except FolderLost:
            # What was to go there goes nowhere.
            for grown in self._grown.values():
                grown.pending.clear()
            raise

    def _of_growing(self, name: str) -> GrownTable:
        if name not in self._grown:
            self._grown[name] = GrownTable(self.table(name), self.table(name).read_bytes())
        return self._grown[name]

    def write_table(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write a whole table atomically."""
        self.write(f"{name}.csv", csv_text([TABLES[name].header, *of_run(self.run, rows)]))

    def table_lengths(self) -> dict[str, int]:
        """The length in bytes of every growing table, after flushing them to disk."""
        self.flush()
        return {name: self._of_growing(name).length for name in GROWING}

    def growing_hashes(self) -> dict[str, str]:
        """The hash of what was written of every growing table so far, after flushing them to disk."""
        self.flush()
        return {name: self._of_growing(name).hash for name in GROWING}

    def table_hashes(self) -> dict[str, str]:
        """The hash of every table, as it was written."""
        whole = (name for name in ("evaluation", *OPTIONAL) if f"{name}.csv" in self._written)
        hashes = {**self.growing_hashes(), **{name: self._written[f"{name}.csv"] for name in whole}}
        return {name: hashes[name] for name in (*COLUMNS, *OPTIONAL) if name in hashes}

    def check_tables(self, lengths: Mapping[str, int], hashes: Mapping[str, str]) -> None:
        """DamagedFile unless growing tables begin as a checkpoint says, which knows their lengths and hashes.

        A checkpoint of version 0.2.0 knows lengths alone.
        """
        for name, length in lengths.items():
            path = self.table(name)
            found = path.stat().st_size if path.is_file() else 0
            way_out = f"restore it, or start the run afresh with {option('--fresh')}"
            if found < length:
                raise DamagedFile(path, f"the checkpoint knows {length} bytes, found {found}", way_out)
            if name in hashes and hashes[name] != bytes_hash(path.read_bytes()[:length]):
                raise DamagedFile(path, "it is not what the run had written at its last checkpoint", way_out)

    def cut_tables(self, lengths: Mapping[str, int], hashes: Mapping[str, str] | None = None) -> None:
        """Cut growing tables back to the lengths of a checkpoint, see `check_tables`; nothing is cut if one fails."""
        self.check_held()
        self.check_tables(lengths, hashes or {})
        for name, length in lengths.items():
            self.check_held()
            os.truncate(self.table(name), length)
            self._grown[name] = GrownTable(self.table(name), self.table(name).read_bytes())

    def write_config(self, config: Mapping[str, Any]) -> None:
        self.write("config.toml", tomli_w.dumps(config))

    def remember(self, manifest: Mapping[str, Any]) -> list[Path]:
        """Take over what an earlier process wrote of config and plugins; the files that are not what that one wrote."""
        changed = []
        known = {"config.toml": manifest.get("config_file"), **(manifest.get("files") or {})}
        for name, recorded in known.items():
            path = self.path / name
            if path.is_file() and recorded == bytes_hash(path.read_bytes()):
                self._written[name] = recorded
            else:
                changed.append(path)
        return changed

    def deciding_hashes(self) -> dict[str, Any]:
        """What a manifest says of config.toml and of the files in the `DECIDING_FOLDERS`, as they were written."""
        files = {name: found for name, found in sorted(self._written.items()) if name.startswith(_DECIDING)}
        return {"config_file": self._written.get("config.toml"), "files": files}

    def is_intact(self) -> bool:
        """Whether every table of a finished run is there as it was written."""
        try:
            self.check_intact()
        except UserError:
            return False
        return True

    def check_intact(self) -> None:
        """UserError, naming the file, unless a finished run's config, tables and weights are as they were written."""
        check_intact(self.path, read_manifest(self.path) or {})

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest under its seal, after the rows that are pending.

        RunFailed for that of a finished run if its files are not as it says.
        """
        self.flush()
        if manifest.get("status") == "finished":
            try:
                check_intact(self.path, manifest)
            except DamagedFile as error:
                raise changed(error.path) from error
        self.write(MANIFEST, json.dumps(sealed(manifest), indent=2) + "\n")


#: How the paths of files begin that decide, beside config.toml, what a run is.
_DECIDING = tuple(f"{folder}/" for folder in DECIDING_FOLDERS)


def find_results(name: str, results: Path) -> Path:
    """The directory that NAME means: an existing directory, else ``results``/NAME. UserError if there is none.

    A directory that holds nothing of ours does not hide one that does.
    """
    found = []
    for path in (Path(name), results / name):
        # What cannot be a path at all, too long or with a null byte, is no directory either.
        with contextlib.suppress(OSError, ValueError):
            found += [path] if path.is_dir() else []
    if found:
        return next((path for path in found if holds_results(path)), found[0])
    known = [path.name for path in results.iterdir() if path.is_dir()] if results.is_dir() else []
    raise UserError(f"no results for {reprlib.repr(name)} in {results}{did_you_mean(name, known)}")


def holds_results(folder: Path) -> bool:
    """Whether a folder is that of a run, of an experiment, of scores or of several experiments."""
    patterns = ("manifest.json", "*/manifest.json", "*/*/manifest.json", "evaluation.csv", "summary.csv")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)
