"""Runs that a launcher executes, by a batch system that is this machine: the same files, and how far they are."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from places import SUPPORT
from tiny_runs import Icl, tables, tiny_run, tiny_values, write_toml

import icl_curriculum
from icl_curriculum import RunFailed, RunStatus
from icl_curriculum.core import stopping
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.provenance import source_hash
from icl_curriculum.core.registry import LAUNCHERS
from icl_curriculum.launchers.base import UNIT_FILE
from icl_curriculum.launchers.batch_files import Ended, JobArray
from icl_curriculum.runs import worker
from icl_curriculum.runs.elsewhere import LaunchedRuns
from icl_curriculum.runs.execution import Progress, directory_of, execute
from icl_curriculum.runs.launchers import chosen_launcher
from icl_curriculum.runs.status import status
from icl_curriculum.runs.units import unit_of
from icl_curriculum.runs.worker import work

TOY = SUPPORT / "toy_batch.py"
SEEDS = ["mixed-seed0", "mixed-seed1"]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LAUNCHERS, "_classes", dict(LAUNCHERS._classes))
    monkeypatch.setattr(LAUNCHERS, "_origins", dict(LAUNCHERS._origins))


@pytest.fixture
def quick(quick_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(quick_python))


def on_toy(folder: Path) -> str:
    return f"{{ name = '{TOY}', folder = '{folder / 'queue'}' }}"


@pytest.mark.usefixtures("undrawn")
def test_runs_elsewhere_leave_what_runs_here_leave(icl: Icl, tmp_path: Path) -> None:
    file = write_toml(tmp_path / "tiny.toml", tiny_values({"seeds": [0, 1]}))
    code, _, err = icl("run", file, "--on", on_toy(tmp_path), "--results", tmp_path / "there")
    assert code == 0, err
    assert "submitted 2 runs as job 0; kill job 0 ends it\n" in err
    assert err.count(": done\n") == 2
    for run in (tiny_run(seed=seed) for seed in range(2)):
        execute(run, tmp_path / "here")
        here, there = (directory_of(run, tmp_path / where).path for where in ("here", "there"))
        assert tables(here) == tables(there)
        assert (here / "model.safetensors").read_bytes() == (there / "model.safetensors").read_bytes()
    assert not [*(tmp_path / "there/tiny/launched").glob("*/")]
    code, out, err = icl("status", "tiny", "--results", tmp_path / "there")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "2 runs: 2 done"


@pytest.mark.usefixtures("undrawn", "quick")
def test_python_executes_elsewhere_too_and_names_what_failed(tmp_path: Path) -> None:
    on = {"name": str(TOY), "folder": str(tmp_path / "queue")}
    values = tiny_values({"training.divergence": 1.001})
    with pytest.raises(RunFailed, match="mixed-seed0: training diverged by step"):
        icl_curriculum.run(values, results=tmp_path, on=on)
    assert len([*(tmp_path / "queue").iterdir()]) == 1  # It is not submitted again.
    # ``jobs=0``, Python's default, is no number of tasks.
    assert [json.loads(file.read_text())["jobs"] for file in tmp_path.glob("tiny/launched/*/array.json")] == [None]
    (row,) = status(tmp_path / "tiny", on=on)
    assert (row.state, row.why.split(" by step")[0]) == ("failed", "training diverged")


def unit_in(folder: Path, **changes: Any) -> Path:
    """The unit of a tiny run in a folder, with other values."""
    unit = unit_of(tiny_run(), folder / "results", device="cpu", elsewhere=True)
    values = {**tomllib.loads(unit.files[UNIT_FILE].decode()), **changes}
    return dataclasses.replace(unit, files={**unit.files, UNIT_FILE: tomli_w.dumps(values).encode()}).write(folder)


def test_a_machine_with_other_code_refuses(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    unit = unit_in(tmp_path, code={"version": "0.1.0", "source": "0123456789abcdef"})
    assert work(unit, said.append) == 1
    message = said[-1]["failure"]["message"]
    assert (
        f"with the source {source_hash()}; the command was given with 0.1.0 and the source 0123456789abcdef" in message
    )
    assert message.endswith("; install the same there, or, where it has changed since, give the command again")
    assert not (tmp_path / "results").exists()


def test_a_worker_that_is_done_is_not_killed_by_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python hears no signal any more while it ends, which would then do what it does by default."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    monkeypatch.setattr(worker, "work", lambda unit, say: 75)
    monkeypatch.setattr(worker, "make_tolerant", lambda stream, **options: None)
    monkeypatch.setattr("os.dup", lambda number: number)
    monkeypatch.setattr("os.dup2", lambda old, new: None)
    monkeypatch.setattr("os.fdopen", lambda number, *how, **options: io.StringIO())
    monkeypatch.setattr(sys, "argv", ["start_worker.py", "unit.toml", "--can-stop"])
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        assert worker.main() == 75
        assert {signal.SIGUSR1, signal.SIGTERM} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stopping_at(phase: str, done: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    def say(message: dict[str, Any]) -> None:
        progress = message.get("progress", {})
        if (progress.get("phase"), progress.get("done")) == (phase, done):
            stopping.stop_soon()

    monkeypatch.setattr(stopping, "_to_stop_soon", False)
    return say


@pytest.mark.parametrize(
    ("phase", "done", "place"), [("training", 4, "training 4/12"), ("evaluation", 1, "evaluation 2/4")]
)
def test_a_worker_that_is_asked_to_stop_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, done: int, place: str
) -> None:
    unit, said = unit_in(tmp_path), list[dict[str, Any]]()
    ask = stopping_at(phase, done, monkeypatch)

    def say(message: dict[str, Any]) -> None:
        said.append(message)
        ask(message)

    assert work(unit, say) == 75
    assert said[-1] == {"stopped": {"at": place}}
    monkeypatch.setattr(stopping, "_to_stop_soon", False)
    assert work(unit, said.append) == 0
    for phase in ("training", "evaluation"):
        steps = [item["progress"]["done"] for item in said if item.get("progress", {}).get("phase") == phase]
        assert steps == sorted(set(steps)), "what was done once is not done again"
    execute(tiny_run(), tmp_path / "whole")
    found, whole = (directory_of(tiny_run(), tmp_path / where).path for where in ("results", "whole"))
    assert tables(found) == tables(whole)
    assert (found / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_run_that_is_said_to_be_finished_and_is_not_here_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.runs.elsewhere.SEEN_WITHIN", 0.0)
    watch = LaunchedRuns([tiny_run()], tmp_path, print, print, lambda run, failure: None, print)
    watch.ended("mixed-seed0", None)
    assert watch.failures["mixed-seed0"].message == (
        f"mixed-seed0: it is said to be finished, and {tmp_path}/tiny/mixed-seed0 does not hold it finished; the "
        "results must lie on a file system that all machines share"
    )


def test_a_run_that_is_seen_late_is_waited_for(tmp_path: Path) -> None:
    execute(tiny_run(), tmp_path)
    directory = directory_of(tiny_run(), tmp_path).path
    hidden = directory.rename(tmp_path / "hidden")
    ends: list[Any] = []
    watch = LaunchedRuns([tiny_run()], tmp_path, print, print, lambda run, failure: ends.append(failure), print)
    threading.Timer(0.2, lambda: hidden.rename(directory)).start()
    watch.ended("mixed-seed0", None)
    assert ends == [None]


def launched(folder: Path, toy: Any, *units: str) -> JobArray:
    """An array as a command leaves it that was ended."""
    array = JobArray(
        "20260101000000aa", "tiny", folder / "launched/20260101000000aa", units, units, [["true"]] * len(units),
        ["true"], job="7", launcher=toy.spec(),
    )  # fmt: skip
    array.folder.mkdir(parents=True)
    array.write()
    return array


def test_the_status_of_runs_that_are_not_finished(icl: Icl, tmp_path: Path) -> None:
    toy: Any = chosen_launcher(on_toy(tmp_path))
    names = [f"mixed-seed{seed}" for seed in range(4)]
    array = launched(tmp_path / "tiny", toy, *names)
    array.task(0).begin("7.0.0", "n1")
    array.task(0).tell("7.0.0", 1, {"progress": {"phase": "training", "done": 3, "total": 12}})
    array.task(1).begin("7.1.0", "n2")
    array.task(1).end(Ended("7.1.0", "stopped", at="training 6/12"))
    array.task(2).begin("7.2.0", "n2")
    array.task(2).end(Ended("7.2.0", "failed", "mixed-seed2: training diverged"))
    queue = tmp_path / "queue"
    queue.mkdir()
    alive = {"0": 1, "1": 1}
    (queue / "7.json").write_text(json.dumps([array.name, alive]))
    found = icl_curriculum.status("tiny", results=tmp_path)
    assert found == [
        RunStatus("mixed-seed0", "running", "training 3/12", "job 7_0", "n1"),
        RunStatus("mixed-seed1", "requeued", "training 6/12", "job 7_1", "its time was nearly over"),
        RunStatus("mixed-seed2", "failed", "", "job 7_2", "mixed-seed2: training diverged"),
        RunStatus("mixed-seed3", "interrupted", why="job 7_3 is not in the queue any more"),
    ]
    file = write_toml(tmp_path / "tiny.toml", tiny_values({"seeds": [0, 1, 2]}))
    command = ("run", file, "--results", tmp_path, "--on", on_toy(tmp_path), "--dry-run")
    code, out, err = icl(*command)
    assert (code, out.count("--task")) == (0, 1)
    assert err == (
        "mixed-seed0: under way in job 7_0, which is attached to\n"
        "mixed-seed1: under way in job 7_1, which is attached to\n"
        "nothing was submitted or written; the same command without --dry-run does it\n"
    )
    (queue / "silent").touch()
    assert icl_curriculum.status("tiny", results=tmp_path)[3].why == "the queue does not answer"
    code, out, err = icl("status", "tiny", "--results", tmp_path)
    assert code == 0
    assert out.splitlines()[0].split() == ["run", "state", "at", "where"]
    assert "mixed-seed2: mixed-seed2: training diverged" in err


def test_the_status_of_a_run_that_is_executed_here(tmp_path: Path) -> None:
    seen: list[RunStatus] = []

    def look(progress: Progress) -> None:
        if progress.phase == "training" and not seen:
            seen.extend(status(tmp_path / "tiny"))

    execute(tiny_run(), tmp_path, report=look)
    assert (seen[0].run, seen[0].state) == ("mixed-seed0", "running")
    assert seen[0].where.startswith("process ")
    assert status(tmp_path / "tiny") == [RunStatus("mixed-seed0", "done")]
    with pytest.raises(UserError, match=f"^{tmp_path}/tiny/mixed-seed0 is the folder of one run; name that of its "):
        status(tmp_path / "tiny/mixed-seed0")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"^{tmp_path}/empty holds no runs$"):
        status(tmp_path / "empty")


def test_the_status_of_runs_of_a_launcher_that_is_not_known(icl: Icl, tmp_path: Path) -> None:
    launched(tmp_path / "tiny", chosen_launcher(on_toy(tmp_path)), "mixed-seed0")
    file = tmp_path / "tiny/launched/20260101000000aa/array.json"
    file.write_text(file.read_text().replace("toy_batch", "pbs"))
    code, _, err = icl("status", "tiny", "--results", tmp_path)
    assert code == 2
    assert err == (
        f"error: {tmp_path}/tiny/launched was written by the launcher 'pbs', which is not known: unknown launcher "
        "'pbs'; known: ray, slurm, toy_batch; name the file that registers it by --on FILE.py\n"
    )


def test_what_would_be_submitted_is_printed(icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_toml(tmp_path / "tiny.toml", tiny_values())
    code, out, err = icl("run", "tiny.toml", "--slurm", "--time=0:10:00 --partition=gpu", "--jobs", "3", "--dry-run")
    assert code == 0, err
    assert "#SBATCH --array=0-0%3\n" in out
    assert "#SBATCH --partition=gpu\n" in out
    assert f"{tmp_path}/results/tiny/launched/" in out
    assert err == "nothing was submitted or written; the same command without --dry-run does it\n"
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "slurn"], "--on slurn: unknown launcher 'slurn'; did you mean 'slurm'?"),
        (["--on", "ray", "--slurm", "-t 1"], "--slurm is for the launcher slurm, found 'ray' in --on"),
        (["--on", "local", "--slurm", "-t 1"], "--slurm is for the launcher slurm, found 'local' in --on"),
        (["--on", "{ name = 'slurm', warning = 1 }"], "--on { name = 'slurm', warning = 1 }: warning: "),
        (
            ["--on", "{ name = 'ray', cpu = 1 }"],
            "--on { name = 'ray', cpu = 1 }: cpu: unknown key; did you mean 'cpus'?",
        ),
        (["--on", "mine.py"], "--on mine.py: plugin file mine.py does not exist"),
        (["--on", "empty.py"], "--on empty.py: {folder}/empty.py registers no launcher; it registers nothing"),
        (["--slurm", "--wrap=x"], "--wrap among the options for sbatch: the script is this launcher's; leave it out"),
    ],
)
def test_a_launcher_that_cannot_be_meant(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").touch()
    write_toml(tmp_path / "tiny.toml", tiny_values())
    monkeypatch.setattr("shutil.which", lambda name: name)
    code, _, err = icl("run", "tiny.toml", *options)
    assert code == 2
    assert err.splitlines()[-1].startswith("error: " + message.replace("{folder}", str(tmp_path)))
    assert not (tmp_path / "results").exists()


def test_local_is_this_machine() -> None:
    assert chosen_launcher("local") is None
