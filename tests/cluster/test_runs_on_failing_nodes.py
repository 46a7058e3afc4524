"""Runs on a SLURM whose daemons are killed, and that takes their nodes for others: the tables and weights stay equal.

A test here needs what the one before it has left. Their order is that of the time: SLURM takes 33 seconds to give up a
node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from launching import Command, HeldExperiment, on, processes, wait_for
from slurm_cluster import NODES, SlurmCluster

SETTINGS = {"poll": 0.5, "patience": 5.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nodes")


def launched(cluster: SlurmCluster, experiment: HeldExperiment, options: str = "") -> Command:
    """``icl run`` on the cluster, once it has submitted its run."""
    command = Command(
        "run", experiment.file, "--results", experiment.results, "--on", on("slurm", options=options, **SETTINGS),
        env=cluster.env, folder=experiment.folder,
    )  # fmt: skip
    command.wait_for(" as job ")
    return command


def job_of(command: Command) -> str:
    (job,) = re.findall(r"as job (\d+)", command.err)
    return f"{job}_0"


def workers(experiment: HeldExperiment) -> list[int]:
    return processes("start_worker.py", str(experiment.launched), "/0/unit.toml")


def attempt(experiment: HeldExperiment) -> str:
    """The latest attempt at the only run of an experiment, as its folder says."""
    (begun,) = experiment.launched.glob("*/0/begun.json")
    return str(json.loads(begun.read_text())["attempt"])


@pytest.fixture(scope="module", autouse=True)
def cut_off(cluster: SlurmCluster, folder: Path) -> dict[str, tuple[HeldExperiment, Command]]:
    """Two runs on one node whose daemon has been killed under them, so that SLURM will execute both once more."""
    found = {}
    for name in ("waits", "takes-over"):
        experiment = HeldExperiment(folder, name)
        found[name] = experiment, launched(cluster, experiment)
    for experiment, _ in found.values():
        experiment.wait_for_checkpoint()
    (node,) = {cluster.job(job_of(command))["BatchHost"] for _, command in found.values()}
    assert node == NODES[0]
    cluster.kill_node(node)
    return found


@pytest.fixture(scope="module")
def blinked(cluster: SlurmCluster, folder: Path) -> tuple[HeldExperiment, Command]:
    """A run on the other node, at work."""
    experiment = HeldExperiment(folder, "blinked")
    command = launched(cluster, experiment, f"--nodelist={NODES[1]}")
    experiment.wait_for_checkpoint()
    return experiment, command


def test_a_daemon_that_is_back_within_seconds_loses_nothing(
    cluster: SlurmCluster, blinked: tuple[HeldExperiment, Command]
) -> None:
    experiment, command = blinked
    before = workers(experiment)
    cluster.kill_node(NODES[1])
    cluster.start_node(NODES[1])
    wait_for(lambda: cluster.states()[NODES[1]] in ("mixed", "allocated"), "the node is back")
    assert workers(experiment) == before
    experiment.go()
    command.ends()
    assert command.err.count(" as job ") == 1
    assert command.err.count(": starting\n") == 1
    experiment.assert_as_here()


def test_a_second_copy_waits_for_the_first(
    cluster: SlurmCluster, cut_off: dict[str, tuple[HeldExperiment, Command]]
) -> None:
    experiment, command = cut_off["waits"]
    wait_for(lambda: len(workers(experiment)) == 2, "two copies of it are executed at once")
    second = attempt(experiment)
    assert second.endswith(".1")
    # It says so, and the rows that the first writes meanwhile are the only ones.
    command.wait_for("mixed-seed0: waiting for process ")
    folder = next(experiment.launched.glob("*/0"))
    experiment.go()
    wait_for(lambda: (folder / "ended.json").exists(), "it has ended")
    ended = json.loads((folder / "ended.json").read_text())
    assert (ended["attempt"], ended["how"]) == (second, "finished")
    command.ends()
    assert command.err.count(" as job ") == 1
    experiment.assert_as_here()


def test_a_second_copy_takes_over_when_the_first_is_killed(
    cluster: SlurmCluster, cut_off: dict[str, tuple[HeldExperiment, Command]]
) -> None:
    experiment, command = cut_off["takes-over"]
    wait_for(lambda: len(workers(experiment)) == 2, "two copies of it are executed at once")
    state = experiment.run() / "state.pt"
    before = state.stat().st_ino
    # Back in the cluster, it kills what SLURM does not know there any more.
    cluster.start_node(NODES[0])
    wait_for(lambda: len(workers(experiment)) == 1, "the first copy has been killed")
    wait_for(lambda: state.stat().st_ino != before, "the second copy goes on")
    experiment.go()
    command.ends()
    assert command.err.count(" as job ") == 1
    experiment.assert_as_here()


def test_a_job_of_more_weight_and_a_controller_that_is_away(cluster: SlurmCluster, folder: Path) -> None:
    experiment = HeldExperiment(folder, "preempted")
    command = launched(cluster, experiment, "--partition=abrupt")
    experiment.wait_for_checkpoint()
    cluster.stop_controller()
    command.wait_for("the batch system does not answer, and is asked again: ")
    cluster.start_controller()
    wait_for(lambda: cluster.state(job_of(command)) == "RUNNING", "the controller is back")
    (worker,) = workers(experiment)
    wait_for(lambda: {*cluster.states().values()} <= {"idle", "mixed", "allocated"}, "its nodes are back")
    node = cluster.job(job_of(command))["BatchHost"]
    cluster.sbatch("sleep 0.5", "--partition=high", "--exclusive", f"--nodelist={node}")
    wait_for(lambda: workers(experiment) not in ([], [worker]), "it runs once more")
    assert attempt(experiment).endswith(".1")
    experiment.go()
    command.ends()
    assert command.err.count(" as job ") == 1
    experiment.assert_as_here()
