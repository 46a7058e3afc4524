"""Runs that are killed, interrupted, terminated or started twice: what they leave, and what the next command does."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from kill_runs import PHASE, Tally, chain, differing, judged, new_site, undisturbed
from killed_commands import VALUES, Blow, Command, Site
from places import SUPPORT
from tiny_runs import TINY, Icl, merge, tiny_run, write_toml

from icl_curriculum.core.locks import is_locked, locked
from icl_curriculum.results import collecting as results
from icl_curriculum.runs.execution import Progress, directory_of, execute


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> list[dict[str, Any]]:
    """What became of a run that was killed at each of its operations on files."""
    command = [str(quick_python), "-m", "killing", str(tmp_path_factory.mktemp("killed"))]
    done = subprocess.run(command, cwd=SUPPORT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_runs_are_killed_at_every_kind_of_write(attempts: list[dict[str, Any]]) -> None:
    """Half-written checkpoints, weights, tables and manifests among them."""
    assert len(attempts) > 40
    assert all(attempt["killed"] for attempt in attempts)
    operations = {attempt["operation"] for attempt in attempts}
    kept = "step-000003.safetensors"
    for file in (
        "state.pt",
        "model.safetensors",
        kept,
        "manifest.json",
        "config.toml",
        "evaluation.csv",
        "training.csv",
    ):
        assert {f"write_bytes {file}", f"replace {file}"} <= operations
    assert {"flush training", "flush learning", "flush curriculum", "flush timing", "fsync"} <= operations


@pytest.mark.parametrize("what", ["resumed", "same tables", "same weights"])
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(attempts: list[dict[str, Any]], what: str) -> None:
    assert [attempt["operation"] for attempt in attempts if not attempt[what]] == []


def test_nothing_of_an_unfinished_write_is_left_behind(attempts: list[dict[str, Any]]) -> None:
    assert [attempt["leftovers"] for attempt in attempts if attempt["leftovers"]] == []


# The console script

#: A command that is interrupted while its workers train, then one that is terminated, and so on.
STRUCK = [
    (PHASE["training"], Blow(signal.SIGINT, "all of it")),
    (PHASE["training"], Blow(signal.SIGTERM, "the command")),
    (PHASE["checkpoint"], Blow(signal.SIGKILL, "the command")),
    (PHASE["workers' start-up"], Blow(signal.SIGKILL, "all of it")),
    (PHASE["training"], Blow(signal.SIGKILL, "a worker")),
]


@pytest.fixture(scope="module")
def struck(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> Tally:
    """What became of an experiment of two seeds whose commands were stopped and killed, and that was then finished."""
    folder, tally = tmp_path_factory.mktemp("struck"), Tally()
    shorter = {"training": {"steps": 200}, "evaluation": {"shifts": [], "baselines": ["zero"]}}
    values = merge(VALUES, {"function_classes": ["linear"], **shorter})
    python = [str(quick_python)]
    _, whole = undisturbed([new_site(folder / "whole", python, values)], tally)
    site = new_site(folder / "struck", python, values)
    chain(site, STRUCK, dict.fromkeys(PHASE, 0.02), random.Random(0), whole, tally)
    return tally


def test_commands_that_are_stopped_and_killed_end_as_the_pages_say_and_leave_what_an_undisturbed_one_does(
    struck: Tally,
) -> None:
    """Exit codes and messages, no traceback, no process, lock or temporary file left behind, and the same bytes."""
    assert struck.faults == []
    assert struck.finished == 1


def test_they_were_struck_where_they_were_to_be(struck: Tally) -> None:
    assert struck.missed.total() == 0
    assert (struck.kills.total(), struck.stops.total()) == (3, 2)


def test_what_a_command_leaves_behind_is_a_fault(tmp_path: Path) -> None:
    """A process, a lock, a temporary file, another byte, a traceback, or the wrong exit code."""
    site = Site(tmp_path, [sys.executable, "-c", LEAVES_BEHIND, "--"], VALUES)
    command = Command(site)
    code = command.end()
    left, _ = command.outlived_by(within=0.2)
    (process,) = left
    found = judged(command, Blow(signal.SIGTERM, "the command"), code, left, within=0.2)
    os.kill(process, signal.SIGKILL)
    assert found[:2] == [f"process {process} is still there", "results/tiny/.lock is still held"]
    assert found[2].startswith("printed 'Traceback")
    assert found[3].startswith("ended with 3, not with [143]: ")
    assert site.leftovers() == ["temporary/icl-abc", "results/tiny/.a.csv.123.tmp"]
    assert differing({"a": b"1", "b": b"2"}, {"a": b"1", "b": b"3", "c": b""}) == ["b", "c"]


LEAVES_BEHIND = """
import fcntl, os, pathlib, subprocess, sys, time
print("Traceback (most recent call last):", flush=True)
experiment = pathlib.Path("results/tiny")
experiment.mkdir(parents=True)
(experiment / ".a.csv.123.tmp").touch()
pathlib.Path(os.environ["TMPDIR"], "icl-abc").touch()
lock = open(experiment / ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
if os.fork() == 0:
    time.sleep(100)
os._exit(3)
"""


def test_a_second_command_is_told_who_is_at_work_and_changes_nothing(icl: Icl, tmp_path: Path) -> None:
    file, run = write_toml(tmp_path / "tiny.toml", TINY), tiny_run()
    lock = directory_of(run, tmp_path).lock
    with locked(lock) as claim:
        before = claim.path.read_text()
        code, _, err = icl("run", file, "--results", tmp_path, "--device", "cpu")
        assert sorted(path.name for path in lock.parent.iterdir()) == [".lock", ".lock.1"]
        assert claim.path.read_text() == before
    assert code == 2
    assert re.fullmatch(
        rf"error: mixed-seed0 of tiny is being executed by process {os.getpid()} on .+, since .+; "
        r"wait for it, or use --results",
        err.splitlines()[-1],
    )


# Locks


def test_a_run_that_another_process_has_taken_up_is_waited_for(tmp_path: Path) -> None:
    run, said = tiny_run(), list[Progress]()
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(directory_of(run, tmp_path).lock):
            taken.set()
            release.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    taken.wait(30)

    def report(progress: Progress) -> None:
        said.append(progress)
        release.set()

    execute(run, tmp_path, report=report, wait=True)
    other.join()
    assert re.match(rf"waiting for process {os.getpid()} on ", said[0].phase)
    assert said[-1].phase == "evaluation"


def test_who_waited_for_a_folder_that_is_moved_aside_holds_the_new_one(tmp_path: Path) -> None:
    """Not the old one's lock beside the next owner."""
    lock = tmp_path / "run/.lock"
    waits, inside, leave = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        with locked(lock, waiting=lambda holder: waits.set()):
            inside.set()
            leave.wait(30)

    other = threading.Thread(target=wait)
    with locked(lock):
        other.start()
        waits.wait(30)
        (tmp_path / "run").rename(tmp_path / "aside")
    assert inside.wait(30)
    assert is_locked(lock)
    assert not is_locked(tmp_path / "aside/.lock")
    leave.set()
    other.join()


def test_collecting_waits_for_who_collects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the slower of two commands would write tables without the runs that finished in between."""
    run, looked = tiny_run(), threading.Event()
    execute(run, tmp_path)
    find = results.survey
    monkeypatch.setattr(results, "survey", lambda experiment, **files: (looked.set(), find(experiment, **files))[1])
    collecting = threading.Thread(target=results.collect, args=(tmp_path / "tiny", {run.variant: run.hash()}))
    with locked(tmp_path / "tiny/.lock"):
        collecting.start()
        assert not looked.wait(1)
    collecting.join(30)
    assert looked.is_set()
    assert (tmp_path / "tiny/runs.csv").is_file()
