"""Where runs execute: here, each in a process of its own.

A launch unit is one resolved run, serialised as TOML; the worker (``python -m icl_curriculum.launch``)
executes one and reports in lines of JSON. Collecting the tables afterwards is idempotent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from icl_curriculum.execution import Progress, Report, RunFailed, execute, is_finished, move_aside
from icl_curriculum.experiment import Run
from icl_curriculum.experiment_files import load, read_toml, rebuild
from icl_curriculum.registry import UserError
from icl_curriculum.results import collect

# Begins every line of a worker that is a report.
_MARK = "@icl "


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that did not finish, with the message for the user and the traceback for debugging."""

    run: str
    message: str
    details: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a launch did."""

    directory: Path
    finished: list[str]
    skipped: list[str]
    failures: list[Failure]
    left_out: list[str]


def resolve_device(device: str) -> str:
    """``auto``: CUDA, else MPS, else the CPU. UserError for a device that is not there."""
    import torch

    available = ["cpu"]
    if torch.cuda.is_available():
        available.append("cuda")
    if torch.backends.mps.is_available():
        available.append("mps")
    if device == "auto":
        return available[-1]
    kind = device.split(":")[0]
    if kind not in available or (device.startswith("cuda:") and not _has_cuda_index(device)):
        raise UserError(f"--device {device}: not on this machine; available: auto, {', '.join(available)}")
    return device


def _has_cuda_index(device: str) -> bool:
    import torch

    index = device.split(":")[1]
    return index.isdigit() and int(index) < torch.cuda.device_count()


def default_jobs(runs: int, cores: int) -> int:
    """How many runs to execute at once so that no core idles in the last round.

    Three runs on two cores share them and take 1.5 times one run; two at a time would take twice.

    >>> [default_jobs(runs, 2) for runs in (1, 2, 3, 4, 5)]
    [1, 2, 3, 2, 3]
    """
    rounds = max(1, runs // cores)
    return max(1, -(-runs // rounds))


def launch(
    runs: Sequence[Run],
    results: Path,
    *,
    jobs: int | None = None,
    device: str = "cpu",
    fresh: bool = False,
    report: Report,
    started: Callable[[str], None] = lambda run: None,
    ended: Callable[[str, Failure | None], None] = lambda run, failure: None,
) -> Outcome:
    """Execute the runs that are not finished yet and collect the experiment's tables.

    Checks every run's directory before starting any. A failed run does not stop the others.
    Raises UserError for a directory that holds another config (unless ``fresh``, which moves it aside).
    """
    if fresh:
        for run in runs:
            move_aside(run, results)
    skipped = [run.name for run in runs if is_finished(run, results)]
    waiting = [run for run in runs if run.name not in skipped]
    if jobs is None:
        cores = max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
        threads = max(run.experiment.threads for run in runs)
        jobs = default_jobs(len(waiting), max(1, cores // threads)) if device == "cpu" else 1
    failures = _Pool(results, device, report, started, ended).execute(waiting, jobs) if waiting else []
    directory = results / runs[0].experiment.name
    failed = {failure.run for failure in failures}
    finished = [run.name for run in waiting if run.name not in failed]
    left_out: list[str] = []
    if finished or skipped:
        left_out = collect(directory, {run.variant: run.hash() for run in runs})
    return Outcome(directory, finished, skipped, failures, left_out)


def run(
    experiment: str | Path,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    results: str | Path = "results",
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    report: Report | None = None,
) -> Path:
    """Train and evaluate an experiment in this process, run after run; returns its results directory.

    ``experiment`` is a name or a TOML file, ``overrides`` are ``key=value`` strings as for ``--set``.
    Finished runs are kept. Raises UserError for a bad config, RunFailed if a run diverges.
    """
    runs = load(str(experiment), overrides=overrides, seeds=seeds, plugins=plugins)
    for each in runs:
        execute(each, Path(results), device=resolve_device(device), report=report or (lambda progress: None))
    directory = Path(results) / runs[0].experiment.name
    collect(directory, {each.variant: each.hash() for each in runs})
    return directory


class _Pool:
    """Worker processes, at most ``jobs`` at a time, whose reports arrive in this thread."""

    def __init__(
        self,
        results: Path,
        device: str,
        report: Report,
        started: Callable[[str], None],
        ended: Callable[[str, Failure | None], None],
    ) -> None:
        self.results, self.device = results, device
        self.report, self.started, self.ended = report, started, ended
        self.messages: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def execute(self, runs: Sequence[Run], jobs: int) -> list[Failure]:
        waiting, failures = list(runs), []
        with tempfile.TemporaryDirectory(prefix="icl-") as units:
            try:
                while waiting or self.workers:
                    while waiting and len(self.workers) < jobs:
                        self._start(waiting.pop(0), Path(units))
                    name, message = self.messages.get()
                    if "progress" in message:
                        self.report(Progress(**message["progress"]))
                    else:
                        self.workers.pop(name).wait()
                        failure = Failure(name, **message["failure"]) if message["failure"] else None
                        failures += [failure] if failure else []
                        self.ended(name, failure)
            finally:
                for worker in self.workers.values():
                    worker.terminate()
                for worker in self.workers.values():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        worker.wait(timeout=10)
        return failures

    def _start(self, run: Run, units: Path) -> None:
        unit = units / f"{run.name}.toml"
        unit.write_text(tomli_w.dumps({"results": str(self.results), "device": self.device, "run": run.config()}))
        self.workers[run.name] = subprocess.Popen(
            [sys.executable, "-m", "icl_curriculum.launch", str(unit)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started(run.name)
        threading.Thread(target=self._listen, args=(run.name, self.workers[run.name]), daemon=True).start()

    def _listen(self, name: str, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        assert worker.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.extend(worker.stderr or []), daemon=True)
        reader.start()
        failure: dict[str, Any] | None = None
        for line in worker.stdout:
            # Other lines are what a plugin printed.
            if line.startswith(_MARK):
                message = json.loads(line.removeprefix(_MARK))
                failure = message.get("failure")
                if failure is None:
                    self.messages.put((name, message))
        reader.join()
        code = worker.wait()
        worker.stdout.close()
        worker.stderr.close()
        if failure is None and code != 0:
            failure = {
                "message": f"{name}: the worker process ended with code {code}",
                "details": "".join(errors),
            }
        self.messages.put((name, {"failure": failure}))


def work(unit: Path) -> int:
    """Execute the launch unit in a file, reporting in lines of JSON on standard output."""

    def say(**message: Any) -> None:
        print(_MARK + json.dumps(message), flush=True)

    def report(progress: Progress) -> None:
        say(progress=dataclasses.asdict(progress))

    values = read_toml(unit)
    config = values["run"]
    try:
        run = rebuild(config, [Path(plugin) for plugin in config["plugins"]], source=str(unit))
        execute(run, Path(values["results"]), device=values["device"], report=report)
    except KeyboardInterrupt:
        return 130
    except (UserError, RunFailed) as error:
        say(failure={"message": str(error), "details": ""})
        return 1
    except Exception as error:
        name = f"{config['variant']}-seed{config['seed']}"
        say(failure={"message": f"{name}: {type(error).__name__}: {error}", "details": traceback.format_exc()})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(work(Path(sys.argv[1])))
