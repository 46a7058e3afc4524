"""Worker processes on the local machine.

Not by concurrent.futures: one worker that is killed breaks its whole pool, without the run's name or the signal, and
before Python 3.14 it cannot end workers that are busy.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.interactive import is_interactive
from icl_curriculum.core.log import LOG
from icl_curriculum.core.options import on_command_line, option
from icl_curriculum.core.temporary import temporary_folder
from icl_curriculum.runs import start_worker
from icl_curriculum.runs.description import copies
from icl_curriculum.runs.execution import Progress, Report
from icl_curriculum.runs.failures import RunFailure

# CUDA's matrix products repeat bit by bit only with a workspace of fixed size, set before the device is first
# used; MPS leaves a few operations to the CPU.
_ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTORCH_ENABLE_MPS_FALLBACK": "1"}


#: How the folders of launch units begin among the system's temporary ones.
UNITS = "icl-units-"


class WorkerPool:
    """Worker processes, at most ``jobs`` at a time, whose reports arrive in this thread."""

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

    def execute(self, runs: Sequence[Run], jobs: int) -> list[RunFailure]:
        waiting, failures = list(runs), []
        _expect_seen(runs)
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
                        failure = RunFailure(**message["failure"]) if message["failure"] else None
                        failures += [failure] if failure else []
                        self.ended(name, failure)
            finally:
                for worker in self.workers.values():
                    worker.terminate()
                for worker in self.workers.values():
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        worker.wait(timeout=10)
        return failures

    def _start(self, run: Run, units: Path) -> None:
        folder = units / run.name
        folder.mkdir()
        for name, content in copies(run).items():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        values = {
            "results": str(self.results), "device": self.device, "hash": run.hash(),
            "log": list(self.log), "run": run.config(), "swept": dict(run.swept), "swept_variant": run.swept_variant,
            "on_command_line": on_command_line(), "details": LOG.isEnabledFor(logging.INFO),
        }  # fmt: skip
        unit = folder / "unit.toml"
        unit.write_text(tomli_w.dumps(values), encoding="utf-8", errors="surrogateescape")
        self.workers[run.name] = subprocess.Popen(
            # Without the folder that one is in among those that modules are looked for in.
            [sys.executable, "-P", start_worker.__file__, str(unit), "--end-with-stdin"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
            errors="replace", env={**_ENVIRONMENT, **os.environ},
        )  # fmt: skip
        self.started(run.name)
        threading.Thread(target=self._listen, args=(run.name, self.workers[run.name]), daemon=True).start()

    def _listen(self, name: str, worker: subprocess.Popen[str]) -> None:
        assert worker.stdin is not None
        assert worker.stdout is not None
        assert worker.stderr is not None
        printed: deque[str] = deque(maxlen=1000)
        reader = threading.Thread(target=lambda: printed.extend(worker.stderr or ()), daemon=True)
        reader.start()
        failure: dict[str, Any] | None = None
        finished = False
        for line in worker.stdout:
            # A worker that is killed may leave half a line.
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                failure, finished = message.get("failure"), "finished" in message
                if "progress" in message or "detail" in message:
                    self.messages.put((name, message))
        reader.join()
        code = worker.wait()
        for pipe in (worker.stdin, worker.stdout, worker.stderr):
            pipe.close()
        # A plugin may end the process with any code.
        if failure is None and not (finished and code == 0):
            failure = {"run": name, "message": f"{name}: {_ending(code)}", "details": "".join(printed)}
        self.messages.put((name, {"failure": failure}))


def _expect_seen(runs: Sequence[Run]) -> None:
    """UserError for a component that a process of its own would not know, as nothing that it imports defines it."""
    for component in (item for run in runs for item in run.experiment.components()):
        if is_interactive(type(component)) or type(component).__module__ == "__main__":
            raise UserError(
                f"{component.name!r} is defined in {type(component).__module__}, which worker processes do not see",
                way_out="write it to a file of its own, and name that in plugins; or execute one run after another, "
                "with jobs=0",
            )


def _ending(code: int) -> str:
    if code < 0:
        known = -code in set(signal.Signals)
        name = signal.Signals(-code).name if known else f"signal {-code}"
        reason = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        again = f"without {option('--fresh')}, the next run continues from the last checkpoint"
        return f"the worker process was ended by {name}{reason}; {again}"
    return f"the worker process ended with code {code}" + (
        "; --debug shows what it printed" if on_command_line() else ""
    )
