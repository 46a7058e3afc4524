"""Runs on a real SLURM: whatever happens to them, their tables and weights are those of runs on this machine.

SLURM looks at time limits every 30 seconds only. What takes so long is begun first, and waited for last.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from launching import ROOT, Command, HeldExperiment, is_running, on, processes, wait_for
from slurm_cluster import SlurmCluster
from tiny_runs import tables

import icl_curriculum

#: Where nothing of it takes a while: looks at the queue twice a second, and judges soon.
QUICK = {"poll": 0.5, "patience": 5.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with SlurmCluster(cpus=6) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slurm")


def launched(
    cluster: SlurmCluster, experiment: HeldExperiment, env: Mapping[str, str] | None = None, **settings: Any
) -> Command:
    """``icl run`` on the cluster."""
    return Command(
        "run", experiment.file, "--results", experiment.results, "--on", on("slurm", **{**QUICK, **settings}),
        env={**cluster.env, **(env or {})}, folder=experiment.folder,
    )  # fmt: skip


def page_commands() -> list[list[str]]:
    """The commands that docs/clusters.md shows of SLURM, as words after ``icl``."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/clusters.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if "--results shared" in line]
    found = [line for line in lines if "--on ray" not in line]
    assert [line.split()[:3] for line in found] == [["icl", "run", "smoke"], ["icl", "status", "smoke"]]
    return [re.sub('"', "", line).split()[1:] for line in found]


Begun = dict[str, tuple[HeldExperiment, Command]]


@pytest.fixture(scope="module", autouse=True)
def begun(cluster: SlurmCluster, folder: Path) -> Begun:
    """The experiments of all tests here, by name, with their commands, begun at once."""
    hiding = {"SBATCH_JOB_NAME": "mine", "SQUEUE_PARTITION": "high", "SLURM_RESTART_COUNT": "3", "SBATCH_SIGNAL": "9"}
    # The warning comes 20 to 50 seconds after the start.
    minute = {"options": "--time=1", "warning": 10}
    changes: dict[str, dict[str, Any]] = {
        "killed": {"seeds": [0, 1]},
        "diverged": {"training.divergence": 1.0001},
    }
    names = ["unfollowed", "limited", "stuck", "killed", "cancelled", "diverged"]
    experiments = {name: HeldExperiment(folder, name, changes.get(name)) for name in names}
    for name in ("stuck", "diverged"):
        experiments[name].go()
    experiments["stuck"].hold_evaluation()
    settings = dict.fromkeys(("unfollowed", "limited", "stuck"), minute)
    return {
        name: (
            experiment,
            launched(cluster, experiment, hiding if name == "killed" else None, **settings.get(name, {})),
        )
        for name, experiment in experiments.items()
    }


@pytest.fixture(scope="module", autouse=True)
def unfollowed(begun: Begun) -> HeldExperiment:
    """A run of a minute at most whose command was ended by Ctrl-C at once."""
    experiment, command = begun["unfollowed"]
    command.wait_for(" as job ")
    command.interrupt()
    command.ends(130)
    assert "jobs that were submitted go on: icl status shows them, and the same command attaches to them" in command.err
    return experiment


@pytest.fixture(scope="module", autouse=True)
def page(cluster: SlurmCluster, folder: Path, unfollowed: HeldExperiment) -> Command:
    """The page's command, with figures and a report."""
    return Command(*page_commands()[0], env=cluster.env, folder=folder / "page", drawn=True)


@pytest.fixture(scope="module", autouse=True)
def checked(cluster: SlurmCluster, folder: Path, page: object) -> Command:
    """The check of the launcher."""
    options = ["--set", "poll=0.5", "--set", "patience=5.0"]
    return Command("check", "slurm", *options, env=cluster.env, folder=folder / "check")


def attempts(experiment: HeldExperiment) -> int:
    """How often the only run of an experiment was begun, as a task that SLURM requeues."""
    (begun,) = experiment.launched.glob("*/0/begun.json")
    return int(json.loads(begun.read_text())["attempt"].rpartition(".")[2]) + 1


def test_killed_processes_are_started_again(begun: Begun) -> None:
    """Of one run the worker, of the other one who watches it; with settings of a user's that would hide both."""
    experiment, command = begun["killed"]
    for seed in range(2):
        experiment.wait_for_checkpoint(seed)
    where = str(experiment.launched)
    (worker,) = processes("start_worker.py", where, "/0/unit.toml")
    (watching,) = processes("start_worker.py --task", where, " 1 ")
    (alone,) = processes("start_worker.py", where, "/1/unit.toml")
    os.kill(worker, signal.SIGKILL)
    os.kill(watching, signal.SIGKILL)
    command.wait_for("mixed-seed0: job ")
    command.wait_for("mixed-seed1: job ")
    # It would keep its run from the one that is submitted in its place.
    wait_for(lambda: not is_running(alone), "the worker that nobody watches has ended")
    experiment.go()
    command.ends()
    said = re.findall(r"^mixed-seed\d: job \d+_\d (.*)$", command.err.replace(os.uname().nodename, "HOST"), re.M)
    assert sorted(said) == [
        "vanished (failed, JobLaunchFailure); it is submitted once more",
        "was killed on HOST (failed, NonZeroExitCode); it is submitted once more",
    ]
    experiment.assert_as_here()
    assert not [*experiment.launched.glob("*/")]


def test_a_run_that_fails_by_itself_or_is_cancelled_is_not_submitted_again(cluster: SlurmCluster, begun: Begun) -> None:
    _, failing = begun["diverged"]
    failing.ends(1)
    assert re.search(r"^failed: mixed-seed0: training diverged by step \d+", failing.err, re.MULTILINE), failing.err
    assert failing.err.count("submitted") == 1
    cancelled, command = begun["cancelled"]
    cancelled.wait_for_checkpoint()
    (job,) = re.findall(r"submitted 1 run as job (\d+); scancel \1 ends it", command.err)
    asked = Command("status", "cancelled", "--results", cancelled.results, env=cluster.env, folder=cancelled.folder)
    asked.ends()
    assert re.search(rf"^mixed-seed0 +running +training \d+/240 +job {job}_0, process \d+ on ", asked.out, re.MULTILINE)
    assert asked.out.splitlines()[-1] == "1 run: 1 running"
    cluster.run("scancel", job)
    command.ends(1)
    assert f"failed: mixed-seed0: job {job}_0 was cancelled (cancelled)" in command.err
    assert command.err.count("submitted") == 1
    # Only when the command is given again.
    cancelled.go()
    launched(cluster, cancelled).ends()
    cancelled.assert_as_here()


def test_the_launcher_keeps_its_contract(checked: Command) -> None:
    checked.ends()
    assert "8 rules hold, 0 do not, 0 do not apply" in checked.out


@pytest.mark.usefixtures("undrawn")
def test_the_commands_of_the_page(cluster: SlurmCluster, folder: Path, page: Command) -> None:
    page.ends()
    assert "submitted 1 run as job " in page.err
    end = Command(*page_commands()[1], env=cluster.env, folder=folder / "page")
    end.ends()
    assert end.out.splitlines()[-1] == "1 run: 1 done"
    there = folder / "page/shared/smoke"
    assert (there / "report.html").is_file()
    assert len([*(there / "figures").glob("*.png")]) > 2
    assert not [*(there / "launched").glob("*/")]
    icl_curriculum.run("smoke", results=folder / "page/here", jobs=0)
    here = folder / "page/here/smoke"
    assert tables(there / "mixed-seed0") == tables(here / "mixed-seed0")
    assert (there / "evaluation.csv").read_bytes() == (here / "evaluation.csv").read_bytes()
    weights = "mixed-seed0/model.safetensors"
    assert (there / weights).read_bytes() == (here / weights).read_bytes()


def stops(experiment: HeldExperiment) -> list[int]:
    """The steps at which the only run of an experiment stopped since its time was nearly over."""
    (log,) = experiment.launched.glob("*/0/log.txt")
    return [int(step) for step in re.findall(r"^stopped training (\d+)/240$", log.read_text(), re.MULTILINE)]


def test_a_run_goes_on_behind_its_time_limit(
    begun: Begun, cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, command = begun["limited"]
    monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
    wait_for(lambda: len(stops(experiment)) >= 2, "it was stopped twice")

    def status() -> icl_curriculum.RunStatus:
        (found,) = icl_curriculum.status(experiment.name, results=experiment.results)
        return found

    found: list[icl_curriculum.RunStatus] = []

    def is_requeued() -> bool:
        found.append(status())
        return found[-1].state == "requeued"

    wait_for(is_requeued, "it is in the queue once more")
    experiment.go()
    assert found[-1].why.split("; ")[0] == "its time was nearly over"
    assert found[-1].at in [f"training {step}/240" for step in stops(experiment)]
    # Each attempt began where the one before had stopped.
    assert stops(experiment) == sorted({*stops(experiment)})
    command.ends()
    assert command.err.count("submitted") == 1
    assert "mixed-seed0: waiting (its time was nearly over" in command.err
    experiment.assert_as_here()


def test_a_run_that_never_comes_further_has_failed(begun: Begun) -> None:
    experiment, command = begun["stuck"]
    command.ends(1)
    assert (
        "failed: mixed-seed0: its time was over twice at the same place, evaluation 1/1; give each attempt more time, "
        "or let it write checkpoints more often (training.checkpoint_every)\n"
    ) in command.err
    (log,) = experiment.launched.glob("*/0/log.txt")
    assert re.findall(r"^(\w+) evaluation 1/1$", log.read_text(), re.MULTILINE) == ["stopped", "failed"]
    assert command.err.count("submitted") == 1


def test_a_run_that_nobody_follows_goes_on_behind_its_time_limit(
    unfollowed: HeldExperiment, cluster: SlurmCluster
) -> None:
    wait_for(lambda: attempts(unfollowed) >= 3, "it runs for the third time")
    assert len(stops(unfollowed)) >= 2
    command = launched(cluster, unfollowed, options="--time=1", warning=10)
    command.wait_for(", job ")
    assert re.search(r"^attached to 1 run under way, job \d+$", command.err, re.MULTILINE)
    unfollowed.go()
    command.ends()
    assert "submitted" not in command.err
    unfollowed.assert_as_here()
