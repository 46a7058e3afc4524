"""Runs on a real Ray: whatever happens to them, their tables and weights are those of runs on this machine."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import ROOT, Command, HeldExperiment, children, is_running, on, wait_for
from ray_cluster import RayCluster
from tiny_runs import tables

import icl_curriculum


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ray")


def launched(cluster: RayCluster, experiment: HeldExperiment) -> Command:
    """``icl run`` on the cluster, where eight runs have room at once."""
    return Command(
        "run", experiment.file, "--results", experiment.results,
        "--on", on("ray", address=cluster.address, cpus=0.25), env=cluster.env, folder=experiment.folder,
    )  # fmt: skip


def executing(cluster: RayCluster, run: str) -> int:
    """Ray's process that executes a run."""
    (found,) = [pid for pid in cluster.workers() if Path(f"/proc/{pid}/cmdline").read_text().startswith(f"ray::{run}")]
    return found


@pytest.fixture(scope="module", autouse=True)
def killed(cluster: RayCluster, folder: Path) -> tuple[HeldExperiment, Command]:
    experiment = HeldExperiment(folder, "killed", {"seeds": [10, 11]})
    return experiment, launched(cluster, experiment)


@pytest.fixture(scope="module", autouse=True)
def twice(cluster: RayCluster, folder: Path, killed: object) -> tuple[HeldExperiment, list[Command]]:
    """Two commands with the same results."""
    experiment = HeldExperiment(folder, "twice", {"seeds": [20]})
    return experiment, [launched(cluster, experiment) for _ in range(2)]


@pytest.fixture(scope="module", autouse=True)
def interrupted(cluster: RayCluster, folder: Path, twice: object) -> tuple[HeldExperiment, Command]:
    experiment = HeldExperiment(folder, "interrupted", {"seeds": [30]})
    return experiment, launched(cluster, experiment)


@pytest.mark.usefixtures("undrawn")
def test_the_command_of_the_page(cluster: RayCluster, folder: Path) -> None:
    """It starts a Ray of its own."""
    page = (ROOT / "docs/clusters.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^icl (run .*--on ray.*)$", page, re.MULTILINE)
    command = Command(*line.split(), env=cluster.env, folder=folder / "page")
    command.ends()
    icl_curriculum.run("smoke", results=folder / "page/here", jobs=0)
    there, here = (folder / "page" / where / "smoke" for where in ("shared", "here"))
    assert tables(there / "mixed-seed0") == tables(here / "mixed-seed0")
    assert (there / "evaluation.csv").read_bytes() == (here / "evaluation.csv").read_bytes()
    weights = "mixed-seed0/model.safetensors"
    assert (there / weights).read_bytes() == (here / weights).read_bytes()


def test_killed_processes_are_started_again(cluster: RayCluster, killed: tuple[HeldExperiment, Command]) -> None:
    """Of one run its own process, of the other one Ray's, which leaves the run's alone."""
    experiment, command = killed
    for seed in (10, 11):
        experiment.wait_for_checkpoint(seed)
    (unit,) = children(executing(cluster, "mixed-seed10"))
    worker = executing(cluster, "mixed-seed11")
    (alone,) = children(worker)
    os.kill(unit, signal.SIGKILL)
    os.kill(worker, signal.SIGKILL)
    command.wait_for("mixed-seed10: the worker process was ended by SIGKILL")
    command.wait_for("mixed-seed11: ")
    wait_for(lambda: not is_running(alone), "the process that Ray's worker left alone has ended")
    experiment.go()
    command.ends()
    again = re.findall(r"^(mixed-seed1\d): .*; it is started once more$", command.err, re.MULTILINE)
    assert sorted(again) == ["mixed-seed10", "mixed-seed11"]
    assert "; without --fresh, the next run continues from the last checkpoint" in command.err
    assert "raylet" not in command.out
    experiment.assert_as_here()


def test_two_commands_with_the_same_results(twice: tuple[HeldExperiment, list[Command]]) -> None:
    experiment, commands = twice
    wait_for(
        lambda: any("mixed-seed20: waiting for process " in command.err for command in commands),
        "one of both waits for the other",
    )
    experiment.go()
    for command in commands:
        command.ends()
        assert command.err.count("mixed-seed20: done\n") == 1
    experiment.assert_as_here()


def test_ctrl_c_ends_the_tasks_and_the_same_command_goes_on(
    cluster: RayCluster, interrupted: tuple[HeldExperiment, Command]
) -> None:
    experiment, command = interrupted
    experiment.wait_for_checkpoint(30)
    worker = executing(cluster, "mixed-seed30")
    (unit,) = children(worker)
    command.interrupt()
    command.ends(130)
    assert "interrupted; the same command continues where it stopped" in command.err
    wait_for(lambda: not is_running(worker) and not is_running(unit), "its task has ended")
    experiment.go()
    launched(cluster, experiment).ends()
    experiment.assert_as_here()


def test_a_run_that_fails_by_itself_is_executed_once(cluster: RayCluster, folder: Path) -> None:
    experiment = HeldExperiment(folder, "diverged", {"training.divergence": 1.0001})
    experiment.go()
    command = launched(cluster, experiment)
    command.ends(1)
    assert re.search(r"^failed: mixed-seed0: training diverged by step \d+", command.err, re.MULTILINE), command.err
    assert command.err.count("mixed-seed0: starting\n") == 1


def test_the_launcher_keeps_its_contract(cluster: RayCluster, folder: Path) -> None:
    options = ["--set", f"address='{cluster.address}'"]
    command = Command("check", "ray", *options, env=cluster.env, folder=folder / "check")
    command.ends()
    assert "8 rules hold, 0 do not, 0 do not apply" in command.out


def test_a_cluster_that_is_not_there(cluster: RayCluster, folder: Path) -> None:
    experiment = HeldExperiment(folder, "nowhere")
    command = Command(
        "run", experiment.file, "--results", experiment.results, "--on", on("ray", address="127.0.0.1:1"),
        env=cluster.env, folder=experiment.folder,
    )  # fmt: skip
    command.ends(2)
    assert command.err.splitlines()[-1] == "error: Ray cannot be reached at 127.0.0.1:1: Connection refused"
