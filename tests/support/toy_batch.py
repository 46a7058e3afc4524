"""A batch system that is this machine: tasks start at once, as processes that outlive the command."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from icl_curriculum import BatchLauncher, register_launcher
from icl_curriculum.launchers import JobArray, NoAnswer, QueuedTask


@register_launcher("toy_batch")
class ToyBatch(BatchLauncher):
    """Processes of this machine, by the number of a job that counts up."""

    poll: float = Field(0.05, gt=0, description="seconds between two looks")
    patience: float = Field(0.3, ge=0, description="seconds for a task that the queue does not know")
    folder: str = Field("queue", description="where the queue is kept")

    def script(self, array: JobArray) -> str:
        return array.task_line("$1", "$2") + "\n"

    def submit(self, script: Path, array: JobArray) -> str:
        jobs = Path(self.folder)
        jobs.mkdir(exist_ok=True)
        job = str(len([*jobs.iterdir()]))
        nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        tasks = {
            number: os.posix_spawn(
                "/bin/sh", ["sh", str(script), str(number), f"{job}.{number}.0"], os.environ, file_actions=nowhere,
                setpgroup=0,
            )
            for number in range(len(array.units))
        }  # fmt: skip
        (jobs / f"{job}.json").write_text(json.dumps([array.name, tasks]))
        return job

    def queue(self, arrays: Sequence[JobArray]) -> dict[tuple[str, int], QueuedTask]:
        if (Path(self.folder) / "silent").exists():
            raise NoAnswer("it is silent")
        by_name = {array.name: array for array in arrays}
        found = {}
        for file in Path(self.folder).glob("*.json"):
            name, tasks = json.loads(file.read_text())
            for number, pid in tasks.items():
                if name in by_name and is_alive(pid):
                    found[by_name[name].token, int(number)] = QueuedTask("running", job=f"{file.stem}_{number}")
        return found

    def cancelling(self, array: JobArray) -> str:
        return f"kill job {array.job}"

    def kill(self, job: str, number: int = 0, signal_: int = signal.SIGKILL) -> None:
        """Signal all processes of a task."""
        _, tasks = json.loads((Path(self.folder) / f"{job}.json").read_text())
        os.killpg(tasks[str(number)], signal_)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
