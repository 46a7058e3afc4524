"""What the units of a job array leave in their folders, for whoever looks how far they are.

An array has a folder of its own in ``<results>/<experiment>/launched/``: the script that was submitted, ``array.json``,
and a numbered folder for each unit, with its files and what `batch_task` writes while it executes it. All of it is
written atomically, and may be read at any moment, from another machine.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from icl_curriculum.core.files import write_atomically

#: Where in the folder of an experiment's results arrays have their folders.
LAUNCHED = "launched"

#: ``finished``; ``failed``: by itself, and would again; ``stopped``: since its time was nearly over; ``terminated``:
#: since the system asked it to make room; ``killed``: by a signal, as where memory runs out.
Ending = Literal["finished", "failed", "stopped", "terminated", "killed"]


@dataclass(frozen=True)
class Ended:
    """How an attempt at a unit ended. ``at``: the place in its training at which it stopped, as ``training 20/300``."""

    attempt: str
    how: Ending
    message: str = ""
    details: str = ""
    at: str = ""


def place_in(progress: dict[str, Any]) -> str:
    """Where a unit is, as ``training 20/300``; empty where the message says nothing of that."""
    return f"{progress['phase']} {progress['done']}/{progress['total']}" if progress.get("total") else ""


@dataclass(frozen=True)
class TaskFolder:
    """The folder of one unit of an array."""

    path: Path

    @property
    def log(self) -> Path:
        """What the unit's process printed, over all attempts."""
        return self.path / "log.txt"

    def begin(self, attempt: str, where: str) -> None:
        """Note that an attempt has begun on a machine: whatever an earlier one says from now on is not heard."""
        self._write("begun.json", {"attempt": attempt, "where": where})

    def attempt(self) -> Mapping[str, str]:
        """The latest attempt: its name, and the machine that it is on; empty where there was none."""
        return self._read("begun.json")

    def is_latest(self, attempt: str) -> bool:
        """Whether no other attempt has begun since this one did."""
        return self.attempt().get("attempt") == attempt

    def tell(self, attempt: str, number: int, message: Mapping[str, Any]) -> None:
        """Write the latest message of an attempt; ``number`` tells it from the one before."""
        self._write("progress.json", {"attempt": attempt, "number": number, "message": message})

    def told(self) -> Mapping[str, Any]:
        """The latest message of the latest attempt, with its number; empty where there was none."""
        found = self._read("progress.json")
        return found if found.get("attempt") == self.attempt().get("attempt") else {}

    def end(self, ended: Ended) -> None:
        """Write how an attempt ended."""
        self._write("ended.json", asdict(ended))

    def ended(self) -> Ended | None:
        """How the latest attempt ended; None while it is at work."""
        found = self.last_ended()
        return found if found is not None and self.is_latest(found.attempt) else None

    def last_ended(self) -> Ended | None:
        """How the attempt ended that was the last to end."""
        found = self._read("ended.json")
        try:
            return Ended(**found) if found else None
        except TypeError:
            return None

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, json.dumps(values))

    def _read(self, name: str) -> dict[str, Any]:
        """What is there; nothing, where it is missing or is being replaced on a file system of a network."""
        try:
            found = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class JobArray:
    """Some units that were submitted together, as task 0, 1, ... of one job.

    ``token``: what tells it from all other arrays. ``folder``: its own. ``units``: the names, by the number of the
    task. ``keys``: what each unit is, see `LaunchUnit.key`. ``commands``: what executes each. ``starter``: the command
    that starts `batch_task` on a node. ``jobs``: the most tasks at once. ``job``: what the batch system calls it; empty
    until it has said so.
    """

    token: str
    experiment: str
    folder: Path
    units: Sequence[str]
    keys: Sequence[str]
    commands: Sequence[Sequence[str]]
    starter: Sequence[str]
    jobs: int | None = None
    job: str = ""
    #: The names of units that are started once more since they were killed or vanished, each with how often.
    restarts: Mapping[str, int] = field(default_factory=dict)
    #: The launcher that has submitted it, as a table that builds it again.
    launcher: Mapping[str, Any] = field(default_factory=dict)
    #: The processor cores that each unit computes with, at most.
    threads: int = 1
    #: Whether the command line has launched it, whose options messages name.
    from_command_line: bool = False

    @property
    def name(self) -> str:
        """A name for the job that no other has, by which it is found again."""
        return re.sub(r"[^\w.-]", "-", f"icl-{self.experiment}-{self.token}")

    def task(self, index: int) -> TaskFolder:
        """The folder of a unit, by the number of its task."""
        return TaskFolder(self.folder / str(index))

    def task_line(self, index: str, attempt: str, *, again: str = "") -> str:
        """The line of a shell script that executes a task.

        ``index``: its number, from 0; ``attempt``: a name that no other attempt at it has; ``again``: the command that
        puts a task back into the queue that has stopped since its time is nearly over; without one, whoever follows
        the array submits it again. The shell puts variables into all three, as ``$SLURM_ARRAY_TASK_ID``.
        """
        fixed = shlex.join([*self.starter, "--task", str(self.folder)])
        return f'{fixed} "{index}" "{attempt}"' + (f' --again "{again}"' if again else "")

    def write(self) -> None:
        """Write what is to be known of it into its folder."""
        values = {**asdict(self), "folder": str(self.folder)}
        write_atomically(self.folder / "array.json", json.dumps(values, indent=2) + "\n")


def read_array(folder: Path) -> JobArray | None:
    """The array of a folder; None where there is none, or where it was not written to its end, or is damaged."""
    try:
        found = json.loads((folder / "array.json").read_text(encoding="utf-8"))
        array = JobArray(**{**found, "folder": folder})
        each = zip(array.units, array.keys, array.commands, strict=True)
        whole = all(
            isinstance(name, str) and isinstance(key, str) and isinstance(line, list) for name, key, line in each
        )
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts, tables = (array.token, array.experiment, array.job), (array.launcher, array.restarts)
    whole = whole and all(isinstance(text, str) for text in texts) and all(isinstance(table, dict) for table in tables)
    return array if whole else None


def arrays_in(results: Path) -> list[JobArray]:
    """The arrays that were launched for an experiment, the oldest first; ``results``: the experiment's folder."""
    folders = [path for path in (results / LAUNCHED).glob("*") if path.is_dir()]
    # Tokens begin with the time.
    found = [read_array(folder) for folder in sorted(folders)]
    return [array for array in found if array is not None]
