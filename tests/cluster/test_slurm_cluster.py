"""The cluster under the tests does what real ones do, in what the launcher for SLURM relies on."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_cluster import KILL_WAIT, NODES, SlurmCluster, wait_for

# Prints each signal that it gets, with the attempt and the node. On SIGTERM it ends with the code ENDS, if that is set.
WORKER = r"""
import os, signal, sys, time
def say(*words):
    print(os.environ.get("SLURM_RESTART_COUNT", "0"), os.environ["SLURMD_NODENAME"], *words, flush=True)
def got(number, frame):
    say(signal.Signals(number).name)
    if number == signal.SIGTERM and "ENDS" in os.environ:
        sys.exit(int(os.environ["ENDS"]))
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, got)
say("start", os.getpid())
for _ in range(int(sys.argv[1]) * 10):
    time.sleep(0.1)
say("end")
"""


def work(cluster: SlurmCluster, seconds: int) -> str:
    """The command that runs the worker for so many seconds."""
    path = cluster.folder / "worker.py"
    path.write_text(WORKER)
    return f"{sys.executable} {path} {seconds}"


def said(cluster: SlurmCluster, job: str) -> list[tuple[int, str, str]]:
    """The attempt, the node and the word of every line that the worker has printed."""
    lines = re.findall(r"^(\d+) (n\d) (\w+)", cluster.output(job), re.MULTILINE)
    return [(int(attempt), node, word) for attempt, node, word in lines]


def words(cluster: SlurmCluster, job: str) -> list[tuple[int, str]]:
    return [(attempt, word) for attempt, _, word in said(cluster, job)]


@pytest.fixture(scope="module", autouse=True)
def slow() -> Iterator[SlurmCluster]:
    """A cluster for what takes half a minute: it goes on while the other tests run."""
    with SlurmCluster() as cluster:
        yield cluster


@pytest.fixture(scope="module", autouse=True)
def lost(slow: SlurmCluster) -> str:
    """A job whose node's daemon has been killed under it."""
    job = slow.sbatch(f"exec {work(slow, 60)}", "--requeue")
    wait_for(lambda: said(slow, job), "the worker has started")
    slow.kill_node(slow.job(job)["BatchHost"])
    return job


@pytest.fixture(scope="module", autouse=True)
def warned(slow: SlurmCluster, lost: str) -> str:
    """A job on the other node that is to be warned a minute before its minute is over."""
    options = ["--signal=B:USR1@60", "--time=1", f"--exclude={slow.job(lost)['BatchHost']}"]
    return slow.sbatch(f"trap '' USR1\nexec {work(slow, 60)}", *options)


def test_array_on_both_nodes_with_every_exit_code(slurm: SlurmCluster) -> None:
    job = slurm.sbatch("sleep 0.5; exit $SLURM_ARRAY_TASK_ID", "--array=0-3")
    found = [slurm.wait_state(f"{job}_{task}", "COMPLETED", "FAILED") for task in range(4)]
    assert {fields["NodeList"] for fields in found} == {*NODES}
    assert [fields["ExitCode"] for fields in found] == ["0:0", "1:0", "2:0", "3:0"]
    assert [fields["JobState"] for fields in found] == ["COMPLETED", "FAILED", "FAILED", "FAILED"]


def test_killed_worker_has_failed(slurm: SlurmCluster) -> None:
    """It isn't started again: that is left to who submits."""
    child = slurm.sbatch("bash -c 'kill -9 $$'")
    batch = slurm.sbatch("kill -9 $$")
    fields = slurm.wait_state(child, "FAILED")
    assert (fields["Reason"], fields["ExitCode"], fields["Restarts"]) == ("NonZeroExitCode", "137:0", "0")
    fields = slurm.wait_state(batch, "FAILED")
    assert (fields["Reason"], fields["ExitCode"], fields["Restarts"]) == ("JobLaunchFailure", "0:9", "0")


def test_requeued_job_runs_again_soon(slurm: SlurmCluster) -> None:
    """It may ask for that itself. What it then ends with is not seen."""
    script = f"[ $SLURM_RESTART_COUNT ] || scontrol requeue $SLURM_JOB_ID\nENDS=75 exec {work(slurm, 1)}"
    start = time.monotonic()
    job = slurm.sbatch(script, "--requeue")
    wait_for(lambda: words(slurm, job)[-1:] == [(1, "end")], "the second attempt has ended")
    assert time.monotonic() - start < 20
    assert slurm.wait_state(job, "COMPLETED")["ExitCode"] == "0:0"


def test_preempted_job_runs_again(slurm: SlurmCluster) -> None:
    """Even though it says, when it is told to end, that it has done all it had to do."""
    job = slurm.sbatch(f"ENDS=0 exec {work(slurm, 2)}", "--requeue", "--partition=abrupt", "--exclusive", "--nodes=1-1")
    wait_for(lambda: said(slurm, job), "the worker has started")
    node = slurm.job(job)["BatchHost"]
    high = slurm.sbatch("sleep 0.5", "--partition=high", "--exclusive", f"--nodelist={node}")
    slurm.wait_state(high, "COMPLETED")
    fields = slurm.wait_state(job, "COMPLETED")
    assert fields["Restarts"] == "1"
    assert words(slurm, job) == [(0, "start"), (0, "SIGTERM"), (1, "start"), (1, "end")]


def test_cancelled_job_gets_sigterm_then_sigkill(slurm: SlurmCluster) -> None:
    job = slurm.sbatch(f"{work(slurm, 60)} & wait")
    wait_for(lambda: said(slurm, job), "the worker has started")
    start = time.monotonic()
    slurm.run("scancel", job)
    assert slurm.wait_state(job, "CANCELLED")["Restarts"] == "0"
    # The worker is the shell's child, and outlives the shell.
    wait_for(lambda: not alive(slurm, job), "the worker has ended")
    assert time.monotonic() - start < 2 * KILL_WAIT + 3
    assert words(slurm, job) == [(0, "start"), (0, "SIGTERM")]


def test_warning_comes_early(slow: SlurmCluster, warned: str) -> None:
    """Within 30 seconds of the start: at the first look of slurmctld, which comes every 30 seconds."""
    wait_for(lambda: len(said(slow, warned)) > 1, "the worker has been warned", seconds=40)
    assert words(slow, warned) == [(0, "start"), (0, "SIGUSR1")]
    assert slow.state(warned) == "RUNNING"


def test_job_of_a_lost_node_runs_twice_at_once(slow: SlurmCluster, lost: str) -> None:
    """Once the node is back, the first copy is killed."""
    wait_for(lambda: len(said(slow, lost)) > 1, "the job runs again", seconds=60)
    (attempt, node, word), again = said(slow, lost)
    other = next(name for name in NODES if name != node)
    assert (attempt, word) == (0, "start")
    assert again == (1, other, "start")
    assert slow.states()[node] == "down*"
    first, second = pids(slow, lost)
    assert running(first)
    assert running(second)
    slow.start_node(node)
    wait_for(lambda: not running(first), "the first copy has ended")
    assert running(second)
    assert slow.job(lost)["Restarts"] == "1"


def pids(cluster: SlurmCluster, job: str) -> list[int]:
    return [int(pid) for pid in re.findall(r" start (\d+)$", cluster.output(job), re.MULTILINE)]


def running(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def alive(cluster: SlurmCluster, job: str) -> bool:
    return any(map(running, pids(cluster, job)))


def test_nothing_is_left() -> None:
    with SlurmCluster() as cluster:
        job = cluster.sbatch(f"{work(cluster, 60)} & disown; setsid {work(cluster, 60)}")
        wait_for(lambda: len(said(cluster, job)) == 2, "both workers have started")
        left = [*cluster.processes(), *pids(cluster, job)]
        assert len(left) > 6
    assert not any(map(running, left))
    assert not cluster.folder.exists()
