"""Worker processes on the local machine.

Not by concurrent.futures: one worker that is killed breaks its whole pool, without the run's name or the signal, and
before Python 3.14 it cannot end workers that are busy.
"""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.core.log import LOG
from icl_curriculum.core.temporary import temporary_folder
from icl_curriculum.launchers.unit_process import UnitProcess
from icl_curriculum.runs.execution import Progress, Report
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.parts import Work
from icl_curriculum.runs.slots import DeviceSlots
from icl_curriculum.runs.units import expect_seen, unit_of

#: How the folders of launch units begin among the system's temporary ones.
UNITS = "icl-units-"


class WorkerPool:
    """Worker processes, at most ``jobs`` at a time, whose reports arrive in this thread.

    Of several CUDA devices, each worker sees one, and each device has as many workers as any other, or one fewer.
    """

    def __init__(
        self,
        results: Path,
        device: str,
        report: Report,
        started: Callable[[str], None],
        ended: Callable[[str, RunFailure | None], None],
        log: Sequence[str] = (),
    ) -> None:
        self.results, self.device, self.log = results, device, log
        self.report, self.started, self.ended = report, started, ended
        self.messages: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.workers: dict[str, subprocess.Popen[str]] = {}
        self.slots = DeviceSlots(device)

    def execute(self, runs: Sequence[Work], jobs: int) -> list[RunFailure]:
        waiting, failures = list(runs), []
        expect_seen(runs)
        with temporary_folder(UNITS) as units:
            try:
                while waiting or self.workers:
                    while waiting and len(self.workers) < jobs:
                        self._start(waiting.pop(0), units)
                    name, message = self.messages.get()
                    if "progress" in message:
                        self.report(Progress(**message["progress"]))
                    elif "detail" in message:
                        LOG.info("%s: %s", name, message["detail"])
                    else:
                        self.workers.pop(name).wait()
                        self.slots.give_back(name)
                        failure: RunFailure | None = message["ended"]
                        failures += [failure] if failure else []
                        self.ended(name, failure)
            finally:
                for worker in self.workers.values():
                    worker.terminate()
                for worker in self.workers.values():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        worker.wait(timeout=10)
        return failures

    def _start(self, run: Work, units: Path) -> None:
        unit = unit_of(run, self.results, device=self.device, log=self.log)
        file = unit.write(units / run.name)
        process = UnitProcess(unit.command, file, name=run.name, environment=self.slots.take(run.name))
        self.workers[run.name] = process.popen
        self.started(run.name)
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()

    def _listen(self, process: UnitProcess) -> None:
        for message in process.messages():
            self.messages.put((process.name, message))
        problem = process.problem
        failure = None if problem is None else RunFailure(process.name, problem.message, problem.details)
        self.messages.put((process.name, {"ended": failure}))
