"""Launchers that submit job arrays to a batch system: SLURM, and others by three methods of their own.

What is the same for all of them is here and in `batch_keeping`: the arrays' folders, how far their tasks are, which are
submitted again and how often, and that the same command attaches again to what is under way.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.options import on_command_line
from icl_curriculum.launchers.base import Launch, Launcher, LaunchUnit, LaunchWatch, UnitStanding
from icl_curriculum.launchers.batch_files import LAUNCHED, Ended, JobArray, arrays_in
from icl_curriculum.launchers.batch_keeping import Keeper
from icl_curriculum.launchers.batch_queue import NoAnswer, Queue, standing_in


class BatchLauncher(Launcher):
    """Submits units as the tasks of job arrays, and follows them by what they leave in a shared folder.

    A subclass gives `script`, `submit` and `queue`. The arrays outlive the command: it can be ended at any time, and
    the same command attaches to them again.
    """

    outlives_command: ClassVar[bool] = True

    poll: float = Field(5.0, gt=0, le=3600, description="seconds between two looks at the queue and at the tasks")
    patience: float = Field(
        60.0, ge=0, le=3600, description="seconds that a task is given to show itself which the queue does not know"
    )

    @abstractmethod
    def script(self, array: JobArray) -> str:
        """The script that is submitted: it executes `JobArray.task_line` for the number of its own task.

        Each task's output is best appended to a file in ``array.folder``. A task that ends with code 75 stopped since
        its time was nearly over: unless the script itself has it executed again, this launcher submits it once more.
        """

    @abstractmethod
    def submit(self, script: Path, array: JobArray) -> str:
        """Submit the script in a file; returns what the batch system calls the array. UserError where it refuses."""

    @abstractmethod
    def queue(self, arrays: Sequence[JobArray]) -> Queue:
        """What the batch system knows of the tasks of some arrays, by the array's token and the number of the task.

        It finds them by `JobArray.name`, as the system's own name for an array may have been lost. A task that it does
        not know is left out. Raises `NoAnswer` where it does not answer.
        """

    def cancelling(self, array: JobArray) -> str:
        """The command that ends an array, to be told to the user; empty where nothing is known of that."""
        return ""

    def most_tasks(self) -> int:
        """The most tasks that an array may have."""
        return 1000

    def check(self) -> None:
        """Nothing is missing, as far as is known."""

    def planned(self, launch: Launch) -> str:
        return "\n".join(self.script(array) for array in self._arrays(launch, launch.units, {}))

    def execute(self, launch: Launch, watch: LaunchWatch) -> None:
        self.check()
        Keeper(self, launch, watch).keep()

    def submitted(self, launch: Launch, units: Sequence[LaunchUnit], restarts: Mapping[str, int]) -> list[JobArray]:
        """Submit units as new arrays. They are on disk before that, so that in any case they are found again."""
        found = []
        by_name = {unit.name: unit for unit in units}
        stopped = _stopped(launch.folder)
        for array in self._arrays(launch, units, restarts):
            for number, name in enumerate(array.units):
                by_name[name].write(array.task(number).path)
                # So that one that never comes further is found in whatever array it is.
                if (name, by_name[name].key) in stopped:
                    array.task(number).end(stopped[name, by_name[name].key])
            array.write()
            script = array.folder / "script.sh"
            write_atomically(script, self.script(array))
            try:
                job = self.submit(script, array)
            except UserError:
                shutil.rmtree(array.folder, ignore_errors=True)
                raise
            found.append(dataclasses.replace(array, job=job))
            found[-1].write()
        return found

    def _arrays(self, launch: Launch, units: Sequence[LaunchUnit], restarts: Mapping[str, int]) -> Iterator[JobArray]:
        most = self.most_tasks()
        for start in range(0, len(units), most):
            part = units[start : start + most]
            token = f"{datetime.datetime.now(datetime.UTC):%Y%m%d%H%M%S%f}{secrets.token_hex(3)}"
            yield JobArray(
                token, launch.experiment, launch.folder / LAUNCHED / token, [unit.name for unit in part],
                [unit.key for unit in part], [list(unit.command) for unit in part], list(launch.starter), launch.jobs,
                restarts={unit.name: restarts[unit.name] for unit in part if restarts.get(unit.name)},
                threads=max(unit.threads for unit in part), launcher=self.spec(),
                from_command_line=on_command_line(),
            )  # fmt: skip

    def standings(self, folder: Path) -> dict[str, UnitStanding]:
        arrays = arrays_in(folder)
        queue: Queue | None = {}
        try:
            queue = self.queue(arrays) if arrays else {}
        except NoAnswer:
            queue = None
        # Of a unit that was submitted more than once, the last time counts.
        return {name: standing_in(array, number, queue) for array in arrays for number, name in enumerate(array.units)}


def _stopped(folder: Path) -> dict[tuple[str, str], Ended]:
    """Where units stopped, by name and key, whose time was nearly over when they were last executed."""
    found: dict[tuple[str, str], Ended] = {}
    for array in arrays_in(folder):
        for number, unit in enumerate(zip(array.units, array.keys, strict=True)):
            ended = array.task(number).last_ended()
            if ended is not None and ended.how == "stopped":
                found[unit] = ended
            else:
                found.pop(unit, None)
    return found
