"""Executes one task of a job array on the node that it was given: a unit, in a process that this one watches.

``start_worker.py --task FOLDER INDEX ATTEMPT [--again COMMAND]``. It passes on the system's warnings, notes how far the
unit is and how it ended, and where it stopped since its time was nearly over, has the task executed once more by
``COMMAND``. Its exit code is 0 where the unit is finished, 1 where it failed, 75 where it stopped and can go on, and
128 and the signal's number where it was ended by one.
"""

from __future__ import annotations

import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.core.visibility import wait_until_visible
from icl_curriculum.launchers.base import UNIT_FILE
from icl_curriculum.launchers.batch_files import Ended, JobArray, place_in, read_array
from icl_curriculum.launchers.unit_process import STOP_SIGNAL, STOPPED, UnitProcess

#: Seconds between two notes of how far a unit is.
NOTE_EVERY = 2.0
#: Seconds for which the folder of an array is waited for, which another machine has written.
SEEN_WITHIN = 120.0


class _Task:
    """A unit that is being executed as a task."""

    def __init__(self, array: JobArray, index: int, attempt: str) -> None:
        self.name, self.command = array.units[index], array.commands[index]
        self.folder, self.attempt = array.task(index), attempt
        self.process: UnitProcess | None = None
        self.heard: int | None = None
        #: Whether it was warned that its time is nearly over.
        self.warned = False
        self.at = ""

    def listen(self) -> None:
        """Ask the unit to stop at a warning that time is nearly over, and where the system takes its place back."""
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.warned = self.warned or number == signal.SIGUSR1
        # What ends it for good counts, whatever was heard before.
        if self.heard != signal.SIGTERM:
            self.heard = number
        if self.process is not None:
            self.process.popen.send_signal(STOP_SIGNAL)

    def execute(self) -> Ended:
        """Execute the unit to its end, or to where it stops."""
        before = self.folder.last_ended()
        self.folder.begin(self.attempt, platform.node())
        with self.folder.log.open("a", encoding="utf-8") as log:
            began = time.strftime("%Y-%m-%d %H:%M:%S")
            print(f"attempt {self.attempt} on {platform.node()}, {began}", file=log, flush=True)
            unit = self.folder.path / UNIT_FILE
            # The system may signal all processes of a task, and not this one alone.
            self.process = process = UnitProcess(self.command, unit, name=self.name, can_stop=True)
            if self.heard is not None:
                process.popen.send_signal(STOP_SIGNAL)
            noted, number = 0.0, 0
            for message in process.messages():
                if "detail" in message:
                    print(message["detail"], file=log, flush=True)
                    continue
                self.at = place_in(message["progress"]) or self.at
                warning = message["progress"].get("warning")
                if warning:
                    print(f"warning: {warning}", file=log, flush=True)
                if (warning or time.monotonic() - noted >= NOTE_EVERY) and self.folder.is_latest(self.attempt):
                    noted, number = time.monotonic(), number + 1
                    self.folder.tell(self.attempt, number, message)
            ended = self._ended(process, before)
            print(f"{ended.how} {ended.at}\n{ended.message}\n{ended.details}".strip(), file=log)
        # Otherwise the task was begun anew elsewhere meanwhile, and what became of that one counts.
        if self.folder.is_latest(self.attempt):
            self.folder.end(ended)
        return ended

    def _ended(self, process: UnitProcess, before: Ended | None) -> Ended:
        if process.stopped is not None:
            at = str(process.stopped.get("at", self.at))
            # One that is ended after its warning has come too late: were it told as making room, it would never fail.
            if self.heard == signal.SIGTERM and not self.warned:
                return Ended(self.attempt, "terminated", at=at)
            if before is not None and before.how == "stopped" and before.at == at:
                return Ended(
                    self.attempt, "failed", f"{self.name}: its time was over twice at the same place, {at}; give each "
                    f"attempt more time, or let it write checkpoints more often (training.checkpoint_every)", at=at,
                )  # fmt: skip
            return Ended(self.attempt, "stopped", at=at)
        if process.problem is None:
            return Ended(self.attempt, "finished", at=self.at)
        how = "killed" if process.was_killed else "failed"
        if self.heard == signal.SIGTERM:
            how = "terminated"
        return Ended(self.attempt, how, process.problem.message, process.problem.details, self.at)  # type: ignore[arg-type]


def main(arguments: Sequence[str]) -> int:
    """Execute a task, see above; ``arguments``: those after ``--task``."""
    folder, index, attempt, *rest = arguments
    if not wait_until_visible(Path(folder, "array.json"), seconds=SEEN_WITHIN, tell=lambda waited: None):
        print(f"{folder}/array.json is not seen on {platform.node()}; the results must lie on a file system that "
              f"all nodes share", file=sys.stderr)  # fmt: skip
        return 1
    array = read_array(Path(folder))
    if array is None:
        print(f"{folder}/array.json is damaged; give the command again", file=sys.stderr)
        return 1
    task = _Task(array, int(index), attempt)
    task.listen()
    with named_as_on_the_command_line(array.from_command_line):
        ended = task.execute()
    if ended.how == "stopped":
        # One that was begun anew elsewhere meanwhile must not take that one's place, and a cancelled one stays so.
        if rest[:1] == ["--again"] and task.heard != signal.SIGTERM and task.folder.is_latest(attempt):
            done = subprocess.run(shlex.split(rest[1]), check=False)
            print(f"{rest[1]}: exit code {done.returncode}", flush=True)
        return STOPPED
    if ended.how in ("killed", "terminated"):
        return 128 + (signal.SIGTERM if ended.how == "terminated" else signal.SIGKILL)
    return 0 if ended.how == "finished" else 1
