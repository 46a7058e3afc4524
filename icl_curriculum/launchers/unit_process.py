"""The process of a unit on this machine: started, listened to, and its end put into words.

A unit's command tells of its way in lines of JSON on standard output: ``{"progress": {...}}``, ``{"detail": "..."}``,
and at the end ``{"finished": name}``, ``{"stopped": {"step": 20, "of": 300}}`` after a request to stop, or
``{"failure": {"message": "...", "details": "..."}}``. Whatever else it prints goes to standard error. It ends when its
standard input does, so that none outlives who started it (``--end-with-stdin``); at `STOP_SIGNAL`, and with
``--can-stop`` at SIGTERM, too, it stops as soon as it can go on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.core.options import on_command_line, option
from icl_curriculum.launchers.base import UnitProblem

#: The exit code of a unit that was asked to stop, and stopped where it can go on.
STOPPED = os.EX_TEMPFAIL
#: The signal that asks a unit to stop as soon as it can go on from there.
STOP_SIGNAL = signal.SIGUSR1

# CUDA's matrix products repeat bit by bit only with a workspace of fixed size, set before the device is first
# used; MPS leaves a few operations to the CPU.
_ENVIRONMENT = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTORCH_ENABLE_MPS_FALLBACK": "1"}


class UnitProcess:
    """A unit that is being executed by a process of its own.

    ``code``: how the process ended, as of `subprocess`; ``problem``: why the unit failed; ``stopped``: where it stopped
    when it was asked to. They are known when `messages` has come to its end.
    """

    def __init__(
        self,
        command: Sequence[str],
        unit: Path,
        *,
        name: str,
        environment: Mapping[str, str] | None = None,
        can_stop: bool = False,
    ) -> None:
        self.name = name
        self.code: int | None = None
        self.problem: UnitProblem | None = None
        self.stopped: Mapping[str, Any] | None = None
        with _kept_back() if can_stop else contextlib.nullcontext():
            self.popen = subprocess.Popen(
                [*command, str(unit), "--end-with-stdin", *(["--can-stop"] if can_stop else [])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
                errors="replace", env={**_ENVIRONMENT, **os.environ, **(environment or {})},
            )  # fmt: skip

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it tells while it is at work, in order, until it has ended; to be asked for once."""
        stdin, stdout, stderr = self.popen.stdin, self.popen.stdout, self.popen.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        printed: deque[str] = deque(maxlen=1000)
        reader = threading.Thread(target=lambda: printed.extend(stderr), daemon=True)
        reader.start()
        failure: Any = None
        finished = False
        for line in stdout:
            # A process that is killed may leave half a line.
            with contextlib.suppress(ValueError):
                message = json.loads(line)
                failure, finished = message.get("failure"), "finished" in message
                self.stopped = message.get("stopped")
                if "progress" in message or "detail" in message:
                    yield message
        reader.join()
        self.code = self.popen.wait()
        for pipe in (stdin, stdout, stderr):
            pipe.close()
        if failure is not None:
            self.problem = UnitProblem(failure["message"], failure.get("details", ""))
        # A plugin may end the process with any code.
        elif not (finished and self.code == 0) and not (self.stopped and self.code == STOPPED):
            self.problem = UnitProblem(f"{self.name}: {ending_in_words(self.code)}", "".join(printed))

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that it had no say in, as SIGKILL where memory runs out."""
        return self.code is not None and self.code < 0


@contextlib.contextmanager
def _kept_back() -> Iterator[None]:
    """Have processes that are started in the block hear a request to stop only when they are ready for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {STOP_SIGNAL, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ending_in_words(code: int) -> str:
    """Says how a unit's process ended that did not say so itself."""
    if code < 0:
        known = -code in set(signal.Signals)
        name = signal.Signals(-code).name if known else f"signal {-code}"
        reason = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        again = f"without {option('--fresh')}, the next run continues from the last checkpoint"
        return f"the worker process was ended by {name}{reason}; {again}"
    return f"the worker process ended with code {code}" + (
        "; --debug shows what it printed" if on_command_line() else ""
    )
