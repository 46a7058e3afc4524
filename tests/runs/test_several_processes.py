"""One run on several processes: the same bytes as by one, however it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
from places import ROOT
from tiny_runs import Icl, nested, tables, tiny_run, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.processes import Place
from icl_curriculum.results.manifests import read_manifest
from icl_curriculum.runs.execution import directory_of, execute
from icl_curriculum.runs.leading import Leader, leading
from icl_curriculum.training import Trainer

SHARDED = {"training.shards": 3, "evaluation.shifts": [], "evaluation.baselines": ["zero"]}

#: A model that fails where one of the prompts is among those that it learns from.
FALLING = """
import torch
from torch import nn

from icl_curriculum import Model, ModelConfig, register_model


class Falling(Model):
    def __init__(self):
        super().__init__()
        self.max_points = 100
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, xs, ys, queries=None):
        if torch.is_grad_enabled() and (xs[:, 0, 0] == STUMBLES).any():
            raise ValueError("it fell")
        return self.weight * nn.functional.pad(ys[:, :-1], (1, 0))


@register_model("falling")
class FallingConfig(ModelConfig):
    "Falls."

    def build(self, *, dims, points, generator):
        return Falling()
"""


#: The command line, which draws nothing in the end.
COMMAND = """
from icl_curriculum.cli import main
from icl_curriculum.runs import experiment

experiment.figures.draw_all = lambda directory, **options: []
experiment.report_on = lambda directory: None
main(in_its_own_process=True)
"""


def weights(folder: Path) -> dict[str, bytes]:
    return {file.parent.name: file.read_bytes() for file in folder.rglob("model.safetensors")}


@pytest.mark.usefixtures("undrawn")
def test_runs_end_on_two_processes_as_they_do_on_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_python: Path
) -> None:
    """One that diverges, one whose model fails in the other process, and one that finishes, one after another."""
    monkeypatch.setattr(sys, "executable", str(quick_python))
    hot = {"training.optimizer": {"name": "adam", "learning_rate": 1e6}, "training.clip": float("inf")}
    # In the second half of the batch, and so of the second process.
    trainer = Trainer(tiny_run({**SHARDED, "training.shards": 2}))
    stumbles = trainer.session().batch()[0].prompts.xs[-1, 0, 0].item()
    (tmp_path / "falling.py").write_text(f"STUMBLES = {stumbles!r}\n{FALLING}")
    values = {
        **tiny_values({**SHARDED, "training.shards": 2}),
        "variants": {"hot": nested(hot), "falls": {"model": "falling"}, "fine": {}},
        "plugins": ["falling.py"],
    }
    del values["model"]
    file = write_toml(tmp_path / "tiny.toml", values)
    ends = {}
    for processes in (None, 2):
        results = tmp_path / f"by {processes}"
        with pytest.raises(RunFailed) as failed:
            icl_curriculum.run(file, results=results, processes=processes, device="cpu")
        ends[processes] = str(failed.value).replace(str(results), "RESULTS")
    assert ends[2] == ends[None]
    assert re.search(
        "hot-seed0: training diverged by step .*\nfalls-seed0: .*failed in training: ValueError: it", ends[2]
    )
    alone, shared = (tmp_path / f"by {processes}" / "tiny" for processes in (None, 2))
    assert tables(shared) == tables(alone)
    assert weights(shared) == weights(alone) != {}
    for name in ("hot-seed0", "falls-seed0", "fine-seed0"):
        assert tables(shared / name) == tables(alone / name) != {}
    assert not dist.is_initialized()


class Command:
    """``icl run`` on two processes that train for a while, each of which is known by its environment."""

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self.python = folder, python
        long = {**SHARDED, "training.steps": 150, "training.checkpoint_every": 10, "training.learning_every": 75}
        self.run = tiny_run(long)
        self.file = write_toml(folder / "tiny.toml", tiny_values(long))
        self.results = folder / "results"

    def start(self) -> subprocess.Popen[str]:
        command = [str(self.python), "-c", COMMAND, "run", str(self.file), "--results", str(self.results)]
        mark = {"ICL_TEST": str(self.folder), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [*command, "--processes", "2"], cwd=self.folder, env={**os.environ, **mark}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def processes(self, word: str = "") -> list[int]:
        """Those that belong to the command, and have a word on their command line."""
        mark, found = f"ICL_TEST={self.folder}".encode(), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                there = mark in (folder / "environ").read_bytes().split(b"\0")
                if there and word.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def until(self, true: Callable[[], object]) -> float:
        """Wait until something is true; how long that took."""
        began = time.monotonic()
        while not true():
            assert time.monotonic() - began < 120
            time.sleep(0.01)
        return time.monotonic() - began

    def trains(self) -> bool:
        """Whether the run has come further than before."""
        table = directory_of(self.run, self.results).table("training")
        rows = table.read_text().count("\n") if table.is_file() else 0
        further, self.rows = rows > max(4, getattr(self, "rows", 0)), max(rows, getattr(self, "rows", 0))
        return further


def test_a_process_that_is_killed_ends_all_and_the_run_goes_on_by_any_number(
    tmp_path: Path, quick_python: Path
) -> None:
    command = Command(tmp_path, quick_python)
    first = command.start()
    command.until(command.trains)
    first.kill()
    first.communicate()
    assert command.until(lambda: not command.processes()) < 10
    second = command.start()
    command.until(command.trains)
    for other in command.processes("--follow"):
        os.kill(other, signal.SIGKILL)
    out, _ = second.communicate(timeout=120)
    assert second.returncode == 1
    assert "failed: process 1 that trains the run has ended by SIGKILL; without --fresh, the next run continues" in out
    assert not command.processes()
    for results in (command.results, tmp_path / "alone"):
        execute(command.run, results)
    alone, shared = (directory_of(command.run, tmp_path / name).path for name in ("alone", "results"))
    assert tables(shared) == tables(alone)
    assert weights(shared) == weights(alone)


def as_by_torchrun(command: list[str], folder: Path) -> list[tuple[int, str]]:
    """The exit codes of two processes, and what each has printed, that are started as torchrun starts them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            command, cwd=folder, env={**os.environ, **given, "RANK": rank, "LOCAL_RANK": rank}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for rank in "01"
    ]  # fmt: skip
    printed = [process.communicate(timeout=120)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, printed, strict=True)]


def test_processes_that_torchrun_has_started_find_each_other_and_the_first_one_alone_prints(
    tmp_path: Path, quick_python: Path
) -> None:
    file = write_toml(tmp_path / "tiny.toml", tiny_values({**SHARDED, "training.method": "meta_icl"}))
    command = [str(quick_python), "-c", COMMAND, "run", str(file), "--results", "results"]
    (code, said), other = as_by_torchrun([*command, "--set", "training.stps=3"], tmp_path)
    assert (code, other) == (2, (0, ""))
    assert said == "error: --set training.stps=3: training.stps: unknown key; did you mean 'steps'?\n"
    (code, said), other = as_by_torchrun(command, tmp_path)
    assert (code, other) == (0, (0, "")), said
    assert "mixed-seed0: done" in said
    run = tiny_run({**SHARDED, "training.method": "meta_icl"})
    execute(run, tmp_path / "alone")
    alone, shared = (directory_of(run, tmp_path / name) for name in ("alone", "results"))
    assert tables(shared.path) == tables(alone.path)
    assert weights(shared.path) == weights(alone.path)
    manifest = read_manifest(shared.path)
    assert manifest is not None
    assert (manifest["shards"], manifest["processes"]) == (3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--processes", "4"],
            "error: training.shards: expected at least 4, as each of 4 processes needs a shard of its own, found 3 in "
            "'mixed'; set training.shards = 4, which changes what a run is, or start at most 3 processes",
        ),
        (
            ["--processes", "2", "--set", "training.shards=1"],
            "error: training.shards: expected at least 2, as each of 2 processes needs a shard of its own, found 1 in "
            "'mixed'; set training.shards = 2, which changes what a run is, or start one process",
        ),
        (
            ["--processes", "2", "--jobs", "2"],
            "error: --jobs 2: 2 processes train here, one run after another, each together; leave it out",
        ),
        (
            ["--processes", "2", "--on", "ray"],
            "error: --on ray: 2 processes train here, one run after another, each together; leave it out",
        ),
    ],
)
def test_what_several_processes_cannot_do_is_one_message(
    options: list[str], message: str, icl: Icl, tmp_path: Path
) -> None:
    command = ("run", write_toml(tmp_path / "t.toml", tiny_values(SHARDED)), "--results", tmp_path, *options)
    for asked in (command, (*command, "--dry-run")):
        code, _, err = icl(*asked)
        assert code == 2
        assert err.splitlines()[-1] == message


def test_devices_of_several_processes() -> None:
    leader = Leader(Place(0, 2, 0), starts_others=True)
    assert leader.device_for("cpu") == "cpu"
    for device in ("mps", "cuda:1"):
        with pytest.raises(UserError, match=f"device '{device}': 2 processes train together on the CPU, or each on a"):
            leader.device_for(device)


def test_torchrun_decides_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Leader, "join", lambda self: None)
    with leading(place=Place(0, 2, 0)) as leader:
        with leading() as same:
            assert same is leader
        with pytest.raises(UserError, match="processes 3: torchrun has started 2 processes; leave it out"), leading(3):
            pass


def test_a_process_of_another_group_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    with pytest.raises(UserError, match="this process belongs to a group of"):
        Leader(Place(0, 2, 0), starts_others=False).join()
