"""A process that has lost a run's folder notices before it writes anything more there."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tables, tiny_run

from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.locks import FolderLost, is_locked, locked
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.runs.execution import Progress, execute

ROW = [10, "linear", "gaussian", 64, 0.5, 0.5, 1e-3, 640, 640]

WRITES: dict[str, Callable[[RunDirectory], object]] = {
    "a row": lambda run: appended(run),
    "a table": lambda run: run.write_table("evaluation", []),
    "the manifest": lambda run: run.write_manifest({"status": "running"}),
    "a checkpoint": lambda run: run.write("state.pt", b"state"),
    "kept weights": lambda run: run.write("checkpoints/step-000001.safetensors", b"weights"),
    "a table cut back": lambda run: run.cut_tables({"training": 10}),
    "a file less": lambda run: run.remove(run.table("training")),
}


def appended(run: RunDirectory) -> None:
    run.append("training", [ROW])
    run.flush()


LOSSES: dict[str, Callable[[Path], object]] = {
    "moved": lambda path: path.rename(path.with_name("moved")),
    "deleted": shutil.rmtree,
    "replaced": lambda path: shutil.copytree(path.rename(path.with_name("moved")), path),
}


def started(path: Path) -> RunDirectory:
    path.mkdir(parents=True, exist_ok=True)
    run = RunDirectory(path, experiment="mine", variant="mixed", seed=0)
    run.start_tables()
    return run


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("how", LOSSES)
@pytest.mark.parametrize("what", WRITES)
def test_nothing_is_written_into_a_folder_that_was_lost(tmp_path: Path, what: str, how: str) -> None:
    run = started(tmp_path / "mixed-seed0")
    with run.locked():
        LOSSES[how](run.path)
        before = content(tmp_path)
        with pytest.raises(FolderLost, match=r"mixed-seed0 was moved, deleted or replaced while .* has stopped"):
            WRITES[what](run)
    assert content(tmp_path) == before
    assert run.path.exists() == (how == "replaced")


@pytest.mark.parametrize("what", WRITES)
def test_the_same_is_written_where_nothing_was_lost(tmp_path: Path, what: str) -> None:
    run = started(tmp_path / "mixed-seed0")
    before = content(tmp_path)
    with run.locked():
        WRITES[what](run)
    assert content(tmp_path) != before


def test_rows_of_another_process_are_noticed(tmp_path: Path) -> None:
    run = started(tmp_path / "mixed-seed0")
    appended(run)
    with run.table("training").open("ab") as other:
        other.write(b"another's row\n")
    before = content(tmp_path)
    with pytest.raises(RunFailed, match=r"training\.csv was changed while the run was writing to it"):
        appended(run)
    assert content(tmp_path) == before


def test_a_finished_manifest_is_not_written_over_tables_that_were_changed(tmp_path: Path) -> None:
    run = started(tmp_path / "mixed-seed0")
    run.write_config({"dims": 1})
    run.write_table("evaluation", [])
    weights = run.write("model.safetensors", b"weights")
    manifest = {"status": "finished", "weights": weights, "tables": run.table_hashes(), **run.deciding_hashes()}
    with run.table("learning").open("ab") as other:
        other.write(b"another's row\n")
    with pytest.raises(RunFailed, match=r"learning\.csv was changed while the run was writing to it"):
        run.write_manifest(manifest)
    assert not (run.path / "manifest.json").exists()


def test_a_run_whose_folder_is_replaced_stops_and_the_one_in_its_place_is_untouched(tmp_path: Path) -> None:
    run = tiny_run()
    execute(run, tmp_path / "whole")
    path = tmp_path / "results/tiny" / run.name

    def replaced(progress: Progress) -> None:
        if progress.phase == "training" and not path.with_name("moved").exists():
            LOSSES["replaced"](path)

    with pytest.raises(FolderLost):
        execute(run, tmp_path / "results", report=replaced)
    # The same command goes on from what lies there, and no row is there twice.
    execute(run, tmp_path / "results")
    assert tables(path) == tables(tmp_path / "whole/tiny" / run.name)


# File systems without locks, without modes, and shared ones.


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(handle: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)


@pytest.mark.usefixtures("without_locks")
def test_without_locks_a_folder_that_another_machine_takes_over_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.core.heartbeat.BEAT", 1000.0)
    for name, seconds in {"LOOK_EVERY": 0.01, "STALE": 0.03, "CONFIRM": 0.02}.items():
        monkeypatch.setattr(f"icl_curriculum.core.locks.{name}", seconds)
    run = started(tmp_path / "mixed-seed0")
    with run.locked():
        monkeypatch.setattr(platform, "node", lambda: "another-machine")
        with locked(run.lock, waiting=lambda holder: None) as theirs:
            before = content(run.path)
            with pytest.raises(FolderLost, match=r"was taken over by process \d+ on another-machine"):
                appended(run)
            assert content(run.path) == before
            theirs.check()


def test_files_have_the_mode_that_the_folder_gives_them(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        write_atomically(tmp_path / "table.csv", "x")
        with locked(tmp_path / ".lock"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "table.csv").stat().st_mode & 0o777 == 0o664
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_lock_that_may_not_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(path: Path, mode: str = "r", **options: Any) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match=r"\.lock: cannot be written to: .*; write to another folder"):  # noqa: SIM117
        with locked(tmp_path / ".lock"):
            pass
    assert not is_locked(tmp_path / ".lock")
