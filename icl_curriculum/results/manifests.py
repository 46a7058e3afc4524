"""The manifest of a run: its seal and the version of its format, and whether the files beside it are what it says."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import allowed, write_atomically
from icl_curriculum.core.named_files import FOLDER
from icl_curriculum.core.options import option
from icl_curriculum.core.plugin_files import COPIES
from icl_curriculum.core.version import __version__
from icl_curriculum.results.columns import COLUMNS, OPTIONAL, TABLES, bytes_hash, csv_text, text_hash

#: The name of the file in a run's folder.
MANIFEST = "manifest.json"

#: The version of the format that is written. Format 1, before 0.3.0, has neither this number nor a seal.
FORMAT = 2

#: The folder within a run's that holds new files of a finished run until they are put into place.
STAGE = "renewed"

#: The status of a run that is trained to its last step and not yet evaluated.
TRAINED = "trained"

#: Beside config.toml: the folders of a run whose files decide what it is.
DECIDING_FOLDERS = (COPIES, FOLDER, "trained_with")

#: The name of a run's folder, ``<variant>-seed<seed>``.
_RUN_NAME = re.compile(r".+-seed\d+", re.DOTALL)

#: What only a run leaves that has had a manifest: without one beside it, that is lost.
_OF_TRAINING = ("model.safetensors", "state.pt")
#: What is there from the beginning, before the first manifest.
_OF_BEGINNING = ("config.toml", "training.csv")


class DamagedFile(UserError):
    """A file that is missing, or is not what icl wrote. ``path``: which; ``problem``: what is wrong with it."""

    def __init__(self, path: Path, problem: str, way_out: str = "") -> None:
        way_out = way_out or f"restore it, or use {option('--fresh')}"
        super().__init__(f"{path} is damaged: {problem}", way_out=way_out)
        self.path, self.problem = path, problem


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """What is written of a manifest: the content with the format's version, and a hash of it all, the ``seal``."""
    whole = {key: value for key, value in content.items() if key not in ("format", "seal")}
    whole = json.loads(json.dumps({"format": FORMAT, **whole}))
    return {**whole, "seal": text_hash(json.dumps(whole, sort_keys=True))}


def read_sealed(path: Path) -> dict[str, Any]:
    """The JSON object in a file that `sealed` made; ValueError, in words, for another one, and OSError.

    One of format 1 has no seal and is believed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it holds brackets in thousands of brackets") from None
    if not isinstance(content, dict):
        raise ValueError(f"expected an object, found {type(content).__name__}")
    number = content.get("format", 1)
    if type(number) is int and number > FORMAT and "seal" in content:
        raise NewerFormat(path, number, content.get("package_version"))
    if ("format" in content or "seal" in content) and content != sealed(content):
        raise ValueError("its content is not what its seal says")
    return content


def read_of_command(command: str, folder: Path) -> dict[str, Any]:
    """The manifest of a folder that a command wrote, as ``icl score``. UserError for another's, or a damaged one."""
    path = folder / MANIFEST
    foreign = UserError(
        f"{folder} holds files that {command} did not write; give another folder with {option('--output')}"
    )
    try:
        content = read_sealed(path)
    except (FileNotFoundError, IsADirectoryError):
        raise foreign from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DamagedFile(path, str(error), f"restore it, or remove {folder}") from None
    tables, more = content.get("tables"), content.get("more_tables", {})
    if content.get("kind") != command:
        raise foreign
    if not isinstance(tables, dict | list) or not isinstance(more, dict):
        raise DamagedFile(path, "expected the hashes of tables", f"restore it, or remove {folder}")
    return content


def write_of_command(
    command: str, folder: Path, content: Mapping[str, Any], before: Callable[[], None] = allowed
) -> None:
    """Write the manifest of a folder that a command writes, under its seal; ``before``: as in `write_atomically`."""
    text = json.dumps(sealed({"kind": command, **content}), indent=2) + "\n"
    write_atomically(folder / MANIFEST, text, before=before)


class NewerFormat(UserError):
    """A manifest of a later version of icl_curriculum."""

    def __init__(self, path: Path, number: int, version: Any) -> None:
        wrote = f"icl_curriculum {version}" if isinstance(version, str) else "a later version of icl_curriculum"
        super().__init__(
            f"{path} has format {number}, of {wrote}; this is icl_curriculum {__version__}, which reads formats up to "
            f"{FORMAT}",
            way_out=f"use {wrote}, or {option('--results', 'DIR')} to keep both",
        )


def _is_manifest(value: Mapping[str, Any]) -> bool:
    keys = {
        "config_hash": (str,), "status": (str,), "run": (str,), "variant": (str,), "seed": (int,),
        "tables": (dict, type(None)), "banks": (dict, type(None)), "files": (dict, type(None)),
    }  # fmt: skip
    return all(isinstance(value.get(key), kinds) for key, kinds in keys.items())


def read_manifest(run_dir: Path) -> dict[str, Any] | None:
    """The manifest of a run directory, or None where there is none yet; UserError if it is damaged."""
    path = run_dir / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = read_sealed(path)
        if not _is_manifest(manifest):
            raise ValueError("expected the manifest of a run, with config_hash, status, variant and seed")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise DamagedFile(path, str(error), f"restore it, or start afresh with {option('--fresh')}") from None
    return manifest


def check_name(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """DamagedFile if the folder bears the name of another run than its manifest: folders may have been swapped."""
    if manifest["run"] != run_dir.resolve().name and _RUN_NAME.fullmatch(run_dir.resolve().name):
        raise DamagedFile(
            run_dir / MANIFEST, f"it is that of another run, {manifest['run']}",
            f"restore it, or start afresh with {option('--fresh')}",
        )  # fmt: skip


def finished_manifest(run_dir: Path) -> dict[str, Any]:
    """The manifest of a finished run. UserError for any other directory, naming the runs that an experiment's holds."""
    manifest = read_manifest(run_dir)
    if manifest is not None and manifest["status"] == "finished":
        return manifest
    if manifest is None and is_lost(run_dir):
        raise DamagedFile(run_dir / MANIFEST, "it is missing")
    found = "no run" if manifest is None else f"a run that is {worded_status(manifest)}"
    runs = sorted(path.parent.name for path in run_dir.glob(f"*/{MANIFEST}"))
    hint = f"; its runs are {', '.join(runs[:5])}{', …' if len(runs) > 5 else ''}" if runs else ""
    raise UserError(f"{run_dir}: expected the directory of a finished run, found {found}{hint}")


def worded_status(manifest: Mapping[str, Any]) -> str:
    """The status of a run, fit to stand after "is"."""
    return "trained but not evaluated" if manifest["status"] == TRAINED else str(manifest["status"])


def is_run_name(name: str) -> bool:
    """Whether a folder's name is that of a run."""
    return _RUN_NAME.fullmatch(name) is not None


def is_lost(run_dir: Path) -> bool:
    """Whether a folder holds what only a run leaves that has a manifest, too."""
    return is_run_name(run_dir.resolve().name) and any((run_dir / name).is_file() for name in _OF_TRAINING)


def is_begun(run_dir: Path) -> bool:
    """Whether a folder without a manifest is that of a run that was ended before its first one."""
    return is_run_name(run_dir.name) and any((run_dir / name).is_file() for name in _OF_BEGINNING)


def check_version(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """UserError for a finished run whose tables are not those that this version writes."""
    written = manifest.get("tables") or {}
    others = [name for name in COLUMNS if name not in written]
    if written and others:
        raise UserError(
            f"{run_dir} was written by icl_curriculum {manifest.get('package_version', 'of another version')}, which "
            f"has no {others[0]}.csv; {option('--fresh')} moves it aside and trains it anew, "
            f"{option('--results', 'DIR')} keeps both"
        )


def tables_of(manifest: Mapping[str, Any]) -> list[str]:
    """The tables that a finished run has: all that every run has, and those optional ones that its manifest names."""
    return [*COLUMNS, *(name for name in OPTIONAL if name in (manifest.get("tables") or {}))]


def check_deciding(run_dir: Path, manifest: Mapping[str, Any]) -> None:
    """DamagedFile unless config.toml and the plugins' copies are what the run wrote, as far as its manifest says."""
    written = {"config.toml": manifest.get("config_file"), **(manifest.get("files") or {})}
    for name, recorded in written.items():
        path = run_dir / name
        if not path.is_file():
            raise DamagedFile(path, "it is missing")
        if recorded is not None and recorded != bytes_hash(_read(path)):
            raise DamagedFile(path, "it is not what the run wrote")


def check_intact(run_dir: Path, manifest: Mapping[str, Any], *, weights: bool = True) -> None:
    """UserError, naming the file, unless a finished run's config, plugins and tables are as they were written.

    ``weights``: whether those of the last step are looked at, too, which tables and figures do not need.
    """
    if is_half_renewed(run_dir):
        raise DamagedFile(
            run_dir / MANIFEST, "the tables of a new evaluation are only half in place",
            "give the same icl run again, which finishes that",
        )  # fmt: skip
    check_version(run_dir, manifest)
    check_deciding(run_dir, manifest)
    for name in tables_of(manifest):
        read_finished(run_dir / f"{name}.csv", manifest)
    if weights:
        path = run_dir / "model.safetensors"
        if not path.is_file():
            raise DamagedFile(path, "it is missing")
        if manifest.get("weights", "") != bytes_hash(_read(path)):
            raise DamagedFile(path, "it is not what the run wrote")


def is_half_renewed(run_dir: Path) -> bool:
    """Whether new files of a finished run are whole and still to be put into place, see `results.staging`."""
    return (run_dir / STAGE / MANIFEST).is_file()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def header_of(table: Path) -> list[str]:
    """The columns of a run's table, as its first line says."""
    with table.open(encoding="utf-8", newline="") as file:
        return next(csv.reader(file), [])


def read_finished(table: Path, manifest: Mapping[str, Any]) -> tuple[list[str], str]:
    """The columns and the rows of a finished run's table; DamagedFile if it is not as the run left it."""
    if not table.is_file():
        raise DamagedFile(table, "it is missing")
    try:
        text = _read(table).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedFile(table, f"it cannot be read ({error})") from None
    recorded = (manifest.get("tables") or {}).get(table.stem)
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
    raise DamagedFile(table, problem)
