"""SLURM: units as the tasks of a job array, requeued where their time is over or a job of more weight takes the node.

Source of the commands' behaviour: the manual pages sbatch(1), squeue(1) and scontrol(1) of SLURM.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from icl_curriculum.core.errors import UserError
from icl_curriculum.launchers.base import register_launcher
from icl_curriculum.launchers.batch import BatchLauncher
from icl_curriculum.launchers.batch_files import JobArray
from icl_curriculum.launchers.batch_queue import NoAnswer, Queue, QueuedTask, TaskState

#: Seconds that a command of SLURM's is given to answer.
ANSWERS_WITHIN = 60.0
_INDEX, _ATTEMPT = "$SLURM_ARRAY_TASK_ID", "$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}"
#: Variables that stand for options, and would be stronger than those of a script: what this launcher's must say
#: itself, what keeps a task from being seen, and what tells attempts apart and comes from a job around this command.
_NOT_PASSED_ON = re.compile(
    r"SQUEUE_\w+|SBATCH_(ARRAY_INX|JOB_NAME|OPEN_MODE|OUTPUT|REQUEUE|NO_REQUEUE|SIGNAL|WAIT)|SLURM_RESTART_COUNT"
)
#: States in which a task is in the queue, or comes back to it; all others but those below are ends.
_STATES: dict[str, TaskState] = {
    **dict.fromkeys(
        ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED"), "waiting"
    ),
    **dict.fromkeys(
        ("RUNNING", "CONFIGURING", "COMPLETING", "STAGE_OUT", "SIGNALING", "RESIZING", "STOPPED"), "running"
    ),
    "CANCELLED": "cancelled",
}


@register_launcher("slurm")
class Slurm(BatchLauncher):
    """SLURM: one task of a job array for each run, on nodes that share the folder of the results.

    Tasks are requeued by SLURM where their node fails or another job takes it. ``warning`` seconds before its time is
    over, a task writes a checkpoint, ends with code 75 and requeues itself.
    """

    options: str = Field(
        "", description='options for sbatch, as "--partition=gpu --gres=gpu:1 --time=4:00:00"; also by --slurm'
    )
    warning: int = Field(
        120,
        ge=10,
        le=65535,
        description="seconds before its time is over at which a task stops; SLURM may be a minute early",
    )

    def check(self) -> None:
        self._options()
        way_out = "give the command on a machine from which jobs can be submitted to SLURM"
        missing = [name for name in ("sbatch", "squeue", "scontrol") if shutil.which(name) is None]
        if missing:
            raise UserError(f"{' and '.join(missing)} not found on PATH", source="the launcher slurm", way_out=way_out)
        answer = _asked(["scontrol", "ping"])
        if answer.returncode != 0:
            reason = _last_line(answer.stderr or answer.stdout)
            raise UserError(f"SLURM does not answer: {reason}", source="the launcher slurm", way_out=way_out)

    def _options(self) -> list[str]:
        """The user's options. UserError for what this launcher must set itself."""
        try:
            found = shlex.split(self.options)
        except ValueError as error:
            raise UserError(f"{self.options!r} is no list of options for sbatch: {error}") from None
        own = {
            "--array": "the runs decide it", "-a": "the runs decide it", "--job-name": "jobs are found by it",
            "-J": "jobs are found by it", "--wrap": "the script is this launcher's", "--signal": "say warning = ...",
            "--no-requeue": "runs are requeued",
        }  # fmt: skip
        for part in found:
            name = part.partition("=")[0]
            if name in own:
                raise UserError(f"{name} among the options for sbatch: {own[name]}; leave it out")
        return found

    def script(self, array: JobArray) -> str:
        throttle = f"%{array.jobs}" if array.jobs else ""
        lines = [
            f"--job-name={array.name}", f"--array=0-{len(array.units) - 1}{throttle}", "--requeue",
            f"--signal=B:USR1@{self.warning}", f"--output={_escaped(array.folder)}/%a/task.txt", "--open-mode=append",
            *([] if self._says_cores() else [f"--cpus-per-task={array.threads}"]), *self._options(),
        ]  # fmt: skip
        directives = "\n".join(f"#SBATCH {_quoted(line)}" for line in lines)
        task = array.task_line(_INDEX, _ATTEMPT, again="scontrol requeue $SLURM_JOB_ID")
        # It takes the place of the shell, so that SLURM's warning reaches it; one that comes before it can hear it,
        # as where there is less time than the warning, would end the shell.
        return f"#!/bin/sh\n{directives}\ntrap '' USR1\nexec {task}\n"

    def _says_cores(self) -> bool:
        return any(re.match(r"(-c\d*|--cpus-per-task|--exclusive)", part) for part in self._options())

    def _clusters(self) -> list[str]:
        """The option by which other commands find what sbatch submits to another cluster (``--clusters``, ``-M``)."""
        found = re.search(r"(?:^|\s)(?:--clusters[=\s]|-M\s*)(\S+)", " ".join(self._options()))
        said = found[1] if found is not None else os.environ.get("SBATCH_CLUSTERS", "")
        return [f"--clusters={said}"] if said else []

    def submit(self, script: Path, array: JobArray) -> str:
        done = _asked(["sbatch", "--parsable", str(script)])
        if done.returncode != 0:
            raise UserError(f"sbatch refused the job: {_last_line(done.stderr)}")
        # With the name of a cluster behind it, where there are several.
        return done.stdout.strip().splitlines()[-1].partition(";")[0]

    def queue(self, arrays: Sequence[JobArray]) -> Queue:
        names = {array.name: array for array in arrays}
        done = _asked([
            "squeue", *self._clusters(), "--noheader", "--array", "--states=all", f"--name={','.join(names)}",
            "--format=%j|%i|%T|%r",
        ])  # fmt: skip
        if done.returncode != 0:
            raise NoAnswer(_last_line(done.stderr))
        found: dict[tuple[str, int], QueuedTask] = {}
        for line in done.stdout.splitlines():
            name, *fields = line.strip().split("|", 3)
            # Of several clusters, each has a line with its name alone.
            if name not in names or len(fields) != 3:
                continue
            job, state, reason = fields
            task = QueuedTask(_STATES.get(state, "ended"), _why(state, reason), job)
            for number in _numbers(job):
                found[names[name].token, number] = task
        return found

    def cancelling(self, array: JobArray) -> str:
        return " ".join(["scancel", *self._clusters(), array.job or f"--name={array.name}"])

    def most_tasks(self) -> int:
        """The highest number that a task may have, as the cluster says, or 1,000."""
        said = re.search(r"^MaxArraySize\s*=\s*(\d+)", _asked(["scontrol", "show", "config"]).stdout, re.MULTILINE)
        return max(1, int(said[1]) - 1) if said else 1000


def _asked(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What a command of SLURM's answered; one that does not come to an end has failed."""
    try:
        passed_on = {name: value for name, value in os.environ.items() if not _NOT_PASSED_ON.fullmatch(name)}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=ANSWERS_WITHIN, env=passed_on
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]}: {error}")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it did not say why"])[-1]


def _why(state: str, reason: str) -> str:
    """Why a task waits, or how it ended: ``Resources``, ``node fail``."""
    if state in ("RUNNING", "COMPLETING", "CONFIGURING"):
        return ""
    words = state.lower().replace("_", " ")
    said = "" if reason in ("None", "") else reason
    return said if state == "PENDING" else ", ".join(filter(None, [words, said]))


def _numbers(job: str) -> Iterator[int]:
    """The numbers of the tasks that a line is about: of ``12_3`` one, of ``12_[0-2,5%4]`` several.

    >>> [*_numbers("12_3")], [*_numbers("12_[0-2,5%4]")]
    ([3], [0, 1, 2, 5])
    """
    for part in job.partition("_")[2].strip("[]").partition("%")[0].split(","):
        first, _, last = part.partition("-")
        if first.isdecimal():
            yield from range(int(first), int(last if last.isdecimal() else first) + 1)


def _quoted(option: str) -> str:
    """An option as a directive of a script takes it, where a blank ends it and ``#`` begins a comment."""
    plain = re.fullmatch(r"[\w@%+=:,./-]*", option)
    return option if plain else '"' + re.sub(r'(["\\])', r"\\\1", option) + '"'


def _escaped(folder: Path) -> str:
    r"""A folder in a pattern for output files, where a percent sign begins a placeholder."""
    return str(folder).replace("%", "%%")
