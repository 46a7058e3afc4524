"""Runs that are killed, interrupted, terminated or started twice: what they leave, and what the next command does."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from places import SUPPORT
from tiny_runs import TINY, merge, tables, tiny_run, write_toml

from icl_curriculum.core.files import is_locked, locked
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
    assert {"append training", "append learning", "append curriculum", "append timing", "fsync"} <= operations


@pytest.mark.parametrize("what", ["resumed", "same tables", "same weights"])
def test_a_run_killed_anywhere_resumes_to_the_same_bytes(attempts: list[dict[str, Any]], what: str) -> None:
    assert [attempt["operation"] for attempt in attempts if not attempt[what]] == []


def test_nothing_of_an_unfinished_write_is_left_behind(attempts: list[dict[str, Any]]) -> None:
    assert [attempt["leftovers"] for attempt in attempts if attempt["leftovers"]] == []


# The console script

VALUES = merge(
    TINY,
    {
        "seeds": [0, 1],
        "training": {"steps": 200, "checkpoint_every": 20, "log_every": 2, "learning_every": 200},
        "evaluation": {"shifts": []},
    },
)
RUNS = ["mixed-seed0", "mixed-seed1"]


@dataclass
class Command:
    """An ``icl run`` in a process of its own, and in a process group of its own as a shell gives it."""

    python: Path
    folder: Path
    seeds: str = "0"

    def __post_init__(self) -> None:
        self.runs = [f"mixed-seed{seed}" for seed in self.seeds.split(",")]
        self.process = subprocess.Popen(
            [str(self.python), "-m", "icl_curriculum", "run", "my.toml", "--jobs", "2", "--seeds", self.seeds],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip

    def wait_for_progress(self) -> list[int]:
        """Wait until its runs have advanced by some steps, and stop them there; the process ids of their workers."""
        files = [self.folder / f"results/tiny/{run}/training.csv" for run in self.runs]
        was = [(file, file.stat().st_size if file.is_file() else 0) for file in files]
        deadline = time.monotonic() + 120
        while not all(file.is_file() and file.stat().st_size > 500 + before for file, before in was):
            assert time.monotonic() < deadline, "no progress"
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.005)
        workers = [json.loads((file.parent / ".lock").read_text())["pid"] for file in files]
        # However slow the machine, they are not through before the command is ended.
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        return workers

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=180)
        return self.process.returncode, out, err


def gone(pid: int, within: float = 10.0) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").is_file() and ") Z " in Path(f"/proc/{pid}/stat").read_text():
            return True
        time.sleep(0.05)
    return False


@dataclass
class Story:
    """One experiment, ended in four ways one after another, then finished."""

    folder: Path
    answers: dict[str, tuple[int, str, str]]
    workers: dict[str, list[int]]
    left: dict[str, bool]
    second: tuple[int, str, str]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> Story:
    folder = tmp_path_factory.mktemp("story")
    write_toml(folder / "my.toml", VALUES)
    story = Story(folder, {}, {}, {}, (0, "", ""))

    def scene(name: str, end: Any) -> None:
        command = Command(quick_python, folder, "0,1" if name == "worker killed" else "0")
        workers = command.wait_for_progress()
        if name == "interrupted":
            story.second = Command(quick_python, folder).end()
        end(command, workers)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        story.answers[name] = command.end()
        story.workers[name] = workers
        story.left[name] = all(gone(pid) for pid in workers)

    scene("interrupted", lambda command, workers: os.killpg(command.process.pid, signal.SIGINT))
    scene("terminated", lambda command, workers: command.process.terminate())
    scene("killed", lambda command, workers: command.process.kill())
    scene("worker killed", lambda command, workers: os.kill(workers[1], signal.SIGKILL))
    story.answers["finished"] = Command(quick_python, folder, "0,1").end()
    return story


def test_an_interruption_is_one_line_and_exit_code_130(story: Story) -> None:
    code, _, err = story.answers["interrupted"]
    assert (code, err) == (130, "interrupted; the same command continues where it stopped\n")


def test_a_termination_is_one_line_and_exit_code_143(story: Story) -> None:
    code, _, err = story.answers["terminated"]
    assert (code, err) == (143, "terminated; the same command continues where it stopped\n")


@pytest.mark.parametrize("ending", ["interrupted", "terminated", "killed"])
def test_no_worker_outlives_its_command(story: Story, ending: str) -> None:
    assert len(story.workers[ending]) == 1
    assert story.left[ending]


def test_a_killed_worker_is_named_and_does_not_stop_the_other(story: Story) -> None:
    code, out, err = story.answers["worker killed"]
    assert code == 1
    assert "mixed-seed1: the worker process was ended by SIGKILL" in out
    assert "mixed-seed0: done" in out
    assert "Traceback" not in out + err


def test_the_last_command_finishes_to_the_bytes_of_an_uninterrupted_run(
    story: Story, quick_python: Path, tmp_path: Path
) -> None:
    code, out, err = story.answers["finished"]
    assert (code, err) == (0, "")
    assert "already finished, kept: mixed-seed0" in out
    whole = f"import icl_curriculum; icl_curriculum.run('my.toml', results={str(tmp_path)!r}, device='cpu')"
    subprocess.run([str(quick_python), "-c", whole], cwd=story.folder, check=True)
    for run in RUNS:
        made, once = story.folder / "results/tiny" / run, tmp_path / "tiny" / run
        assert tables(made) == tables(once)
        assert (made / "model.safetensors").read_bytes() == (once / "model.safetensors").read_bytes()


def test_a_second_command_is_told_who_is_at_work_and_changes_nothing(story: Story) -> None:
    code, _, err = story.second
    assert code == 2
    assert re.fullmatch(
        r"error: mixed-seed0 of tiny is being executed by process \d+ on .+, since .+; wait for it, or use --results\n",
        err,
    )
    assert str(story.workers["interrupted"][0]) in err


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
