"""SLURM by its commands: what is asked of them, and what their answers mean. A real one is asked in tests/cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from icl_curriculum.core.errors import UserError
from icl_curriculum.launchers import JobArray, NoAnswer, QueuedTask, Slurm
from icl_curriculum.launchers import slurm as module


def array_in(folder: Path, *, units: int = 3, jobs: int | None = None) -> JobArray:
    names = [f"mixed-seed{seed}" for seed in range(units)]
    starter = ["/usr/bin/python3", "-P", "/lab/my code/start_worker.py"]
    return JobArray("t1", "mixed", folder, names, names, [starter] * units, starter, jobs, job="7", threads=2)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were given; the answers are those of `ANSWERS`."""
    given: list[list[str]] = []

    def answer(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        given.append([*command])
        code, out, err = ANSWERS[command[0]]
        return subprocess.CompletedProcess([*command], code, out, err)

    monkeypatch.setattr(module, "_asked", answer)
    return given


ANSWERS = {
    "sbatch": (0, "1234;cluster\n", ""),
    "squeue": (
        0,
        "icl-mixed-t1|7_0|RUNNING|None\n"
        "icl-mixed-t1|7_[1-2%1]|PENDING|Resources\n"
        "icl-mixed-t2|8_0|NODE_FAIL|None\n"
        "icl-mixed-t2|8_1|CANCELLED|None\n"
        "icl-mixed-t2|8_2|PENDING|BeginTime\n"
        "icl-mixed-t9|9_0|RUNNING|None\n",
        "",
    ),
    "scontrol": (0, "MaxArraySize            = 5\n", ""),
}


def test_the_script_of_an_array() -> None:
    made = Slurm(options="--partition=gpu --gres=gpu:1 --time=4:00:00 --comment='in haste'", warning=90)
    assert made.script(array_in(Path("/data/50% done"), jobs=2)) == (
        "#!/bin/sh\n"
        "#SBATCH --job-name=icl-mixed-t1\n"
        "#SBATCH --array=0-2%2\n"
        "#SBATCH --requeue\n"
        "#SBATCH --signal=B:USR1@90\n"
        '#SBATCH "--output=/data/50%% done/%a/task.txt"\n'
        "#SBATCH --open-mode=append\n"
        "#SBATCH --cpus-per-task=2\n"
        "#SBATCH --partition=gpu\n"
        "#SBATCH --gres=gpu:1\n"
        "#SBATCH --time=4:00:00\n"
        '#SBATCH "--comment=in haste"\n'
        "trap '' USR1\n"
        "exec /usr/bin/python3 -P '/lab/my code/start_worker.py' --task '/data/50% done' "
        '"$SLURM_ARRAY_TASK_ID" "$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" '
        '--again "scontrol requeue $SLURM_JOB_ID"\n'
    )


def test_a_folder_whose_name_means_something_in_a_script() -> None:
    made = Slurm().script(array_in(Path('/data/#1 "a\\b"')))
    assert '#SBATCH "--output=/data/#1 \\"a\\\\b\\"/%a/task.txt"\n' in made
    assert '#SBATCH "--output=/data/#1/%a/task.txt"\n' in Slurm().script(array_in(Path("/data/#1")))


@pytest.mark.parametrize("options", ["-c 4", "-c4", "--cpus-per-task=4", "--exclusive"])
def test_cores_that_are_asked_for_are_left_alone(options: str) -> None:
    assert "--cpus-per-task=2" not in Slurm(options=options).script(array_in(Path("/data")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--array=0-3", "--array among the options for sbatch: the runs decide it; leave it out"),
        ("-J mine", "-J among the options for sbatch: jobs are found by it; leave it out"),
        ("--signal=USR2", "--signal among the options for sbatch: say warning = ...; leave it out"),
        ("--comment='", '"--comment=\'" is no list of options for sbatch: No closing quotation'),
    ],
)
def test_options_that_are_its_own_are_refused(options: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        Slurm(options=options).script(array_in(Path("/data")))
    assert str(raised.value) == message


def test_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError) as raised:
        Slurm().check()
    assert str(raised.value) == (
        "the launcher slurm: sbatch and squeue and scontrol not found on PATH; give the command on a machine from "
        "which jobs can be submitted to SLURM"
    )


def test_a_machine_with_its_programs_and_without_a_cluster(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: name)
    Slurm().check()
    why = "scontrol: error: fetch_config: DNS SRV lookup failed\nscontrol: fatal: Could not establish a source\n"
    monkeypatch.setitem(ANSWERS, "scontrol", (1, "", why))
    with pytest.raises(UserError) as raised:
        Slurm().check()
    assert str(raised.value) == (
        "the launcher slurm: SLURM does not answer: scontrol: fatal: Could not establish a source; give the command on "
        "a machine from which jobs can be submitted to SLURM"
    )
    assert asked == [["scontrol", "ping"]] * 2


def test_what_sbatch_answers(asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "script.sh"
    assert Slurm().submit(script, array_in(tmp_path)) == "1234"
    assert asked == [["sbatch", "--parsable", str(script)]]
    refusal = (1, "", "sbatch: warning: x\nsbatch: error: Batch job submission failed: Invalid partition\n")
    monkeypatch.setitem(ANSWERS, "sbatch", refusal)
    with pytest.raises(UserError) as raised:
        Slurm().submit(script, array_in(tmp_path))
    assert str(raised.value) == (
        "sbatch refused the job: sbatch: error: Batch job submission failed: Invalid partition"
    )


def test_what_squeue_answers(asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = array_in(tmp_path)
    second = JobArray("t2", "mixed", tmp_path, first.units, first.keys, first.commands, first.starter)
    assert Slurm().queue([first, second]) == {
        ("t1", 0): QueuedTask("running", "", "7_0"),
        ("t1", 1): QueuedTask("waiting", "Resources", "7_[1-2%1]"),
        ("t1", 2): QueuedTask("waiting", "Resources", "7_[1-2%1]"),
        ("t2", 0): QueuedTask("ended", "node fail", "8_0"),
        ("t2", 1): QueuedTask("cancelled", "cancelled", "8_1"),
        ("t2", 2): QueuedTask("waiting", "BeginTime", "8_2"),
    }
    assert "--name=icl-mixed-t1,icl-mixed-t2" in asked[0]
    monkeypatch.setitem(ANSWERS, "squeue", (1, "", "slurm_load_jobs error: Unable to contact slurm controller\n"))
    with pytest.raises(NoAnswer, match="Unable to contact slurm controller"):
        Slurm().queue([first])


def test_settings_of_the_users_environment_hide_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are stronger than what a script says, and SLURM_RESTART_COUNT comes from a job around the command."""
    for name in (
        "SBATCH_JOB_NAME", "SBATCH_ARRAY_INX", "SBATCH_NO_REQUEUE", "SBATCH_WAIT", "SQUEUE_PARTITION", "SQUEUE_USERS",
        "SLURM_RESTART_COUNT", "SBATCH_ACCOUNT", "SLURM_CONF",
    ):  # fmt: skip
        monkeypatch.setenv(name, "x")
    passed_on = {line.partition("=")[0] for line in module._asked(["env"]).stdout.splitlines()}
    assert {name for name in passed_on if name.startswith(("SBATCH", "SQUEUE", "SLURM"))} == {
        "SBATCH_ACCOUNT", "SLURM_CONF"
    }  # fmt: skip


@pytest.mark.parametrize("options", ["--time=4:00:00 --clusters=west", "--clusters west", "-M west", "-Mwest"])
def test_tasks_on_another_cluster_are_looked_for_there(
    asked: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    monkeypatch.setitem(ANSWERS, "squeue", (0, "CLUSTER: west\nicl-mixed-t1|7_0|RUNNING|None\n", ""))
    slurm = Slurm(options=options)
    assert slurm.queue([array_in(tmp_path)]) == {("t1", 0): QueuedTask("running", "", "7_0")}
    assert asked[0][:2] == ["squeue", "--clusters=west"]
    assert slurm.cancelling(array_in(tmp_path)) == "scancel --clusters=west 7"


def test_an_array_has_as_many_tasks_as_the_cluster_allows(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Slurm().most_tasks() == 4
    monkeypatch.setitem(ANSWERS, "scontrol", (1, "", "no"))
    assert Slurm().most_tasks() == 1000


def test_a_command_that_does_not_come_to_an_end_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWERS_WITHIN", 0.01)
    assert module._asked(["sleep", "9"]).returncode == 1
    assert module._asked(["no-such-command"]).returncode == 1
