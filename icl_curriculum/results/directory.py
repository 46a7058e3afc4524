"""The run directory: tidy tables, manifest, lock.

CSV files are UTF-8 with LF line ends, numbers in ``%.9g``, missing values empty.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.files import locked, remove_leftovers, write_atomically
from icl_curriculum.results.columns import (
    COLUMNS,
    GROWING,
    OPTIONAL,
    TABLES,
    RunColumns,
    RunsRow,
    bytes_hash,
    csv_text,
    of_run,
    text_hash,
)

R = TypeVar("R", RunColumns, RunsRow)

#: The status of a run that is trained to its last step and not yet evaluated.
TRAINED = "trained"

#: Where in a run's directory the weights lie that were kept along training, as a pattern.
KEPT_WEIGHTS = "checkpoints/step-*.safetensors"


def kept_weights_file(run_dir: Path, step: int) -> Path:
    """The file of the weights that a run keeps at a step, as ``checkpoints/step-000200.safetensors``."""
    return run_dir / KEPT_WEIGHTS.replace("*", f"{step:06}")


class RunDirectory:
    """The files of one run. Every row of its tables starts with the ``run``'s own columns, which are added here."""

    def __init__(self, path: Path, *, experiment: str, variant: str, seed: int) -> None:
        self.path = path
        self.run = RunColumns(experiment, path.name, variant, seed)

    @property
    def lock(self) -> Path:
        return self.path / ".lock"

    @contextlib.contextmanager
    def locked(self, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the run for this process; `Locked` if another one has it, or wait for that one (`files.locked`)."""
        with locked(self.lock, waiting=waiting):
            for folder in ("", "plugins", "checkpoints", "trained_with", "trained_with/plugins"):
                remove_leftovers(self.path / folder)
            yield

    def table(self, name: str) -> Path:
        return self.path / f"{name}.csv"

    def start_tables(self, optional: Collection[str] = ()) -> None:
        """Empty growing tables with their headers, and no evaluation.

        ``optional``: the tables that have the columns, too, that only some runs' tables have.
        """
        for name in GROWING:
            header = TABLES[name].header if name in optional else COLUMNS[name]
            write_atomically(self.table(name), csv_text([header]))
        for name in ("evaluation", *OPTIONAL):
            self.table(name).unlink(missing_ok=True)

    def append(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows, of the type that the table has in `columns`, to a growing table, flushed to the system at once."""
        with self.table(name).open("a", encoding="utf-8", newline="") as handle:
            handle.write(csv_text(of_run(self.run, rows)))

    def write_table(self, name: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write a whole table atomically."""
        write_atomically(self.table(name), csv_text([TABLES[name].header, *of_run(self.run, rows)]))

    def table_lengths(self) -> dict[str, int]:
        """The length in bytes of every growing table, after flushing them to disk."""
        lengths = {}
        for name in GROWING:
            with self.table(name).open("rb") as handle:
                os.fsync(handle.fileno())
                lengths[name] = handle.seek(0, os.SEEK_END)
        return lengths

    def table_hashes(self) -> dict[str, str]:
        """What the tables hold, so that damage to a finished run shows."""
        there = [*COLUMNS, *(name for name in OPTIONAL if self.table(name).is_file())]
        return {name: text_hash(self.table(name).read_text(encoding="utf-8")) for name in there}

    def is_intact(self) -> bool:
        """Whether every table of a finished run is there as it was written."""
        try:
            self.check_intact()
        except UserError:
            return False
        return True

    def cut_tables(self, lengths: Mapping[str, int]) -> None:
        """Cut growing tables back to the lengths of a checkpoint; UserError if one is shorter than that."""
        for name, length in lengths.items():
            path = self.table(name)
            found = path.stat().st_size if path.is_file() else 0
            if found < length:
                raise UserError(
                    f"{path} is damaged: the checkpoint knows {length} bytes, found {found}; "
                    f"restore it, or start the run afresh with --fresh"
                )
            os.truncate(path, length)

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_atomically(self.path / "config.toml", tomli_w.dumps(config))

    def config_hash(self) -> str:
        """The hash of config.toml as it is."""
        return bytes_hash((self.path / "config.toml").read_bytes())

    def check_intact(self) -> None:
        """UserError, naming the file, unless a finished run's config, tables and weights are as they were written."""
        manifest = read_manifest(self.path) or {}
        check_version(self.path, manifest)
        if not config_is_intact(self.path, manifest):
            config = self.path / "config.toml"
            raise UserError(f"{config} is damaged: it is not what the run wrote; restore it, or use --fresh")
        for name in tables_of(manifest):
            _read_finished(self.table(name), manifest)
        weights = self.path / "model.safetensors"
        if not weights.is_file() or manifest.get("weights", "") != bytes_hash(weights.read_bytes()):
            raise UserError(f"{weights} is damaged: it is not what the run wrote; restore it, or use --fresh")

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        write_atomically(self.path / "manifest.json", json.dumps(manifest, indent=2) + "\n")


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
        return next((path for path in found if _holds_results(path)), found[0])
    known = [path.name for path in results.iterdir() if path.is_dir()] if results.is_dir() else []
    raise UserError(f"no results for {reprlib.repr(name)} in {results}{did_you_mean(name, known)}")


def _holds_results(folder: Path) -> bool:
    """Whether a folder is that of a run, of an experiment, of scores or of several experiments."""
    patterns = ("manifest.json", "*/manifest.json", "*/*/manifest.json", "evaluation.csv", "summary.csv")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _is_manifest(value: Any) -> bool:
    keys = {"config_hash": str, "status": str, "run": str, "variant": str, "seed": int}
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in keys.items())


def read_manifest(run_dir: Path) -> dict[str, Any] | None:
    """The manifest of a run directory, or None where there is none yet; UserError if it is damaged."""
    path = run_dir / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not _is_manifest(manifest):
            raise ValueError("expected the manifest of a run, with config_hash, status, variant and seed")
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it, or start afresh with --fresh") from None
    return dict(manifest)


def config_is_intact(run_dir: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether config.toml is what a finished run wrote; where its manifest does not say, whether it is there."""
    path = run_dir / "config.toml"
    return path.is_file() and manifest.get("config_file") in (None, bytes_hash(path.read_bytes()))


def finished_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a finished run. UserError for any other directory, naming the runs that an experiment's holds."""
    manifest = read_manifest(run_dir)
    if manifest is not None and manifest["status"] == "finished":
        return manifest
    found = "no run" if manifest is None else f"a run that is {_worded(manifest)}"
    runs = sorted(path.parent.name for path in run_dir.glob("*/manifest.json"))
    hint = f"; its runs are {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}" if runs else ""
    raise UserError(f"{run_dir}: expected the directory of a finished run, found {found}{hint}")


def finished_runs(experiment: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Directories of finished runs with their manifests, by name."""
    return [(path, manifest) for path, manifest in _all_runs(experiment) if manifest["status"] == "finished"]


def unfinished_runs(experiment: Path) -> dict[str, str]:
    """Runs that were begun and are not finished, with what their manifests say of them."""
    runs = _all_runs(experiment)
    return {path.name: _worded(manifest) for path, manifest in runs if manifest["status"] != "finished"}


def _worded(manifest: Mapping[str, Any]) -> str:
    """The status of a run, fit to stand after "is"."""
    return "trained but not evaluated" if manifest["status"] == TRAINED else str(manifest["status"])


def _all_runs(experiment: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Directories of runs with a manifest that can be read, by name."""
    found = []
    for path in sorted(experiment.glob("*/manifest.json")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        if _is_manifest(manifest) and manifest["run"] == path.parent.name:
            found.append((path.parent, manifest))
    return found


def check_version(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """UserError for a finished run whose tables are not those that this version writes."""
    written = manifest.get("tables", {})
    others = [name for name in COLUMNS if name not in written]
    if written and others:
        raise UserError(
            f"{run_dir} was written by icl_curriculum {manifest.get('package_version', 'of another version')}, which "
            f"has no {others[0]}.csv; --fresh moves it aside and trains it anew, --results DIR keeps both"
        )


def tables_of(manifest: Mapping[str, Any]) -> list[str]:
    """The tables that a finished run has: all that every run has, and those optional ones that its manifest names."""
    return [*COLUMNS, *(name for name in OPTIONAL if name in manifest.get("tables", {}))]


def _read_finished(table: Path, manifest: Mapping[str, Any]) -> tuple[list[str], str]:
    """The columns and the rows of a finished run's table; UserError if it is not as the run left it."""
    try:
        text = table.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{table} is damaged: it cannot be read ({error}); restore it, or use --fresh") from None
    recorded = manifest.get("tables", {}).get(table.stem)
    headers = (COLUMNS.get(table.stem, TABLES[table.stem].header), TABLES[table.stem].header)
    header = next((columns for columns in headers if text.startswith(csv_text([columns]))), None)
    if header is None:
        problem = "its first line is not the table's header"
    elif not text.endswith("\n"):
        problem = "its last line is cut off"
    elif recorded is not None and recorded != text_hash(text):
        problem = "it is not what the run wrote"
    else:
        return header, text[len(csv_text([header])) :]
    raise UserError(f"{table} is damaged: {problem}; restore it, or use --fresh")


def _joined(name: str, tables: Sequence[tuple[list[str], str]]) -> str:
    """One table of several runs' tables. A column that only some of them have is filled in for the others."""
    header = max((columns for columns, _ in tables), key=len)
    return csv_text([header]) + "".join(_widened(name, rows, columns, header) for columns, rows in tables)


def _widened(name: str, rows: str, columns: Sequence[str], header: Sequence[str]) -> str:
    if columns == header:
        return rows
    filled = {column: TABLES[name].columns[column].absent for column in header}
    found = (dict(zip(columns, row, strict=True)) for row in csv.reader(io.StringIO(rows, newline="")))
    return csv_text(list((filled | row).values()) for row in found)


def collect(experiment: Path, hashes: Mapping[str, str]) -> list[str]:
    """Write the experiment's tables from those of its finished runs: runs.csv and every table over all runs.

    ``hashes``: config hash by variant. Finished runs of other variants or configs are left out; their
    names are returned. Idempotent and atomic; equal runs give equal bytes, and of two processes that
    collect at once the later one sees the runs of both.
    """
    with locked(experiment / ".lock", waiting=lambda holder: None):
        remove_leftovers(experiment)
        return _collect(experiment, hashes)


def _collect(experiment: Path, hashes: Mapping[str, str]) -> list[str]:
    finished = finished_runs(experiment)
    runs = [
        (path, manifest) for path, manifest in finished if hashes.get(manifest["variant"]) == manifest["config_hash"]
    ]
    if not runs:
        raise UserError(f"{experiment} holds no finished run of this experiment")
    # Seeds in numerical order, whatever their names sort like.
    runs.sort(key=lambda item: (list(hashes).index(item[1]["variant"]), item[1]["seed"]))
    rows = (row for _, manifest in runs for row in of_run(_own(RunColumns, manifest), [_own(RunsRow, manifest)]))
    write_atomically(experiment / "runs.csv", csv_text([TABLES["runs"].header, *rows]))
    for path, manifest in runs:
        check_version(path, manifest)
    for name in (*COLUMNS, *OPTIONAL):
        tables = [
            _read_finished(path / f"{name}.csv", manifest) for path, manifest in runs if name in tables_of(manifest)
        ]
        if tables:
            write_atomically(experiment / f"{name}.csv", _joined(name, tables))
        else:
            (experiment / f"{name}.csv").unlink(missing_ok=True)
    kept = {path for path, _ in runs}
    return [path.name for path, _ in finished if path not in kept]


def _own(row: type[R], manifest: Mapping[str, Any]) -> R:
    """A row whose fields are keys of a manifest. No clock is among them: equal runs give equal bytes."""
    return row._make(manifest.get(key) for key in row._fields)
