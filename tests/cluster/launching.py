"""An experiment whose runs can be hit in the middle, and the commands that execute it elsewhere."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import slurm_cluster
from tiny_runs import tables, tiny_values, write_toml

from icl_curriculum.config.loading import load
from icl_curriculum.runs.execution import directory_of, execute

#: Seconds for what takes some on a machine that has nothing else to do, and many on one that has.
PATIENCE = 300.0
ROOT = Path(__file__).parent.parent.parent

# Draws of training, of 8 prompts, take a moment each while a file is there; an evaluation, of 20, waits until it goes,
# or until it is asked to stop. What is drawn does not depend on either.
PLUGIN = """\
import time
from pathlib import Path

import torch

import icl_curriculum as icl
from icl_curriculum.core.stopping import is_to_stop

FOLDER = Path({folder!r})


@icl.register_function_class("held")
class Held(icl.FunctionClass):
    def sample(self, n, dims, generator):
        if n == 8 and (FOLDER / "slow").exists():
            time.sleep(1.0)
        while n == 20 and (FOLDER / "held").exists() and not is_to_stop():
            time.sleep(0.02)
        return {{"w": torch.randn(n, dims, generator=generator)}}

    def evaluate(self, parameters, xs):
        return torch.einsum("npd,nd->np", xs, parameters["w"])

    def trivial_error(self, dims):
        return float(dims)
"""

#: Four minutes of training while it is slow, with a checkpoint every four seconds; a second or two otherwise.
CHANGES: dict[str, Any] = {
    "function_classes": ["held"],
    "training.steps": 240,
    "training.checkpoint_every": 4,
    "training.log_every": 40,
    "training.learning_every": 80,
    "evaluation.n_prompts": 20,
    "evaluation.learning_prompts": 6,
    "evaluation.shifts": [],
    "evaluation.baselines": ["zero"],
}

# `icl` without figures and a report, which take longer than all else of such a run.
UNDRAWN = """\
from icl_curriculum.runs import experiment
experiment.figures.draw_all = lambda directory, **options: []
experiment.report_on = lambda directory: None
from icl_curriculum.__main__ import main
main()
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Waits until the condition holds, however busy the machine is."""
    slurm_cluster.wait_for(condition, what, seconds=PATIENCE)


class HeldExperiment:
    """An experiment of its own, ``name``, in a folder of its own, and its results in ``results`` there.

    Its training is slow from the start, until `go`.
    """

    def __init__(self, folder: Path, name: str, changes: Mapping[str, Any] | None = None) -> None:
        # What a script's options and an output's pattern would make something else of, if they were not quoted.
        self.folder = folder / "#1, 100% of $HOME" / name
        self.name, self.results = name, self.folder / "results"
        self.folder.mkdir(parents=True)
        (self.folder / "held.py").write_text(PLUGIN.format(folder=str(self.folder)))
        values = tiny_values({**CHANGES, "name": name, "plugins": ["held.py"], **(changes or {})})
        self.file = write_toml(self.folder / f"{name}.toml", values)
        (self.folder / "slow").touch()

    def hold_evaluation(self) -> None:
        """Have evaluations wait until `go`."""
        (self.folder / "held").touch()

    def go(self) -> None:
        """Nothing is slow any more, and nothing waits."""
        for name in ("slow", "held"):
            (self.folder / name).unlink(missing_ok=True)

    def run(self, seed: int = 0) -> Path:
        """The folder of a run."""
        return self.results / self.name / f"mixed-seed{seed}"

    @property
    def launched(self) -> Path:
        return self.results / self.name / "launched"

    def wait_for_checkpoint(self, seed: int = 0) -> None:
        """Wait until a run is in the middle: behind a checkpoint."""
        wait_for((self.run(seed) / "state.pt").is_file, f"seed {seed} of {self.name} is at work")

    def assert_as_here(self) -> None:
        """Every table and all weights of every run have the bytes that they have when this process executes it."""
        self.go()
        found: dict[str, dict[str, bytes]] = {}
        for place in (self.results, self.folder / "here"):
            for run in load(str(self.file)):
                if place != self.results:
                    execute(run, place)
                path = directory_of(run, place).path
                found[f"{place.name}/{run.name}"] = {
                    **tables(path), "model.safetensors": (path / "model.safetensors").read_bytes()
                }  # fmt: skip
        for run in load(str(self.file)):
            there, here = found[f"results/{run.name}"], found[f"here/{run.name}"]
            assert {*there} == {*here}
            assert len(here) > 4
            assert [name for name in here if there[name] != here[name]] == []


class Command:
    """``icl`` with arguments in a process of its own, in the environment of a cluster, as from a terminal.

    ``drawn``: with figures and a report at its end. ``err`` is what it has complained of so far.
    """

    #: All that were begun, so that none outlives a test that has failed.
    begun: ClassVar[list[Command]] = []

    def __init__(self, *arguments: str | Path, env: Mapping[str, str], folder: Path, drawn: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.out_file, self.err_file = (folder / f"{len([*folder.glob('*.err')])}.{end}" for end in ("out", "err"))
        program = ["-m", "icl_curriculum"] if drawn else ["-c", UNDRAWN]
        with self.out_file.open("wb") as out, self.err_file.open("wb") as err:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", *program, *map(str, arguments)], env={**env, "NO_COLOR": "1"}, cwd=folder,
                stdout=out, stderr=err,
            )  # fmt: skip
        self.begun.append(self)

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    def wait_for(self, text: str) -> None:
        """Wait until it has complained of something."""

        def is_there() -> bool:
            if text not in self.err and self.popen.poll() is not None:
                raise AssertionError(f"it ended with code {self.popen.returncode}, and never said {text!r}: {self.err}")
            return text in self.err

        wait_for(is_there, f"it says {text!r}")

    def ends(self, code: int = 0) -> None:
        """Wait for its end, with an exit code."""
        assert self.popen.wait(PATIENCE) == code, self.err

    @classmethod
    def end_all(cls) -> None:
        """Kill those that still run."""
        while cls.begun:
            command = cls.begun.pop()
            command.popen.kill()
            command.popen.wait()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.popen.send_signal(signal.SIGINT)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *children(int(child))]
    return found


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def processes(*words: str) -> list[int]:
    """The processes in whose command lines all of the words stand."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            if all(word in line for word in words):
                found.append(int(folder.name))
    return found


def on(name: str, **settings: Any) -> str:
    """What ``--on`` takes: a launcher with settings."""
    return f"{{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in {'name': name, **settings}.items())} }}"
