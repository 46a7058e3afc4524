"""Ray: units as remote tasks, on a cluster of Ray's or on one that is started on this machine.

Source: Moritz et al. 2018, "Ray: A distributed framework for emerging AI applications"; its documentation of
``ray.init``, ``ray.remote`` and fault tolerance.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.extras import EXTRAS
from icl_curriculum.core.options import on_command_line
from icl_curriculum.launchers.base import (
    MOST_RESTARTS,
    Launch,
    Launcher,
    LaunchUnit,
    LaunchWatch,
    UnitProblem,
    register_launcher,
)

#: Seconds between two looks at what tasks have said.
LOOK_EVERY = 0.5
#: Seconds that a cluster is given to accept a connection.
ANSWERS_WITHIN = 20.0


@register_launcher("ray")
class Ray(Launcher):
    """Ray: a remote task for each run, on a cluster whose machines share the folder of the results, or on this one.

    The files of a run reach its task by value. Runs end with the command, and go on from their checkpoints with the
    next one.
    """

    needs_extra: ClassVar[str] = "ray"

    address: str | None = Field(
        None, description='of a cluster, as "auto" or "ray://head:10001"; by default one is started on this machine'
    )
    cpus: float | None = Field(None, gt=0, description="cores that Ray sets aside for a run; by default its threads")
    gpus: float = Field(0.0, ge=0, description="GPUs that Ray sets aside for a run; 0.5 lets two runs share one")

    def check(self) -> None:
        extra = EXTRAS["ray"]
        if not extra.installed:
            raise UserError("Ray is not installed here", source="the launcher ray", way_out=extra.install)

    def execute(self, launch: Launch, watch: LaunchWatch) -> None:
        self.check()
        with self._connected() as ray:
            _Rounds(self, ray, launch, watch).execute()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """Ray's module, connected to the cluster. UserError where it cannot be reached."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # A driver that Python warns of what Ray itself does would end in that where warnings are errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray

            began = not ray.is_initialized()
            if began:
                self._expect_listener()
                local: dict[str, Any] = {}
                if self.address is None:
                    local = {"include_dashboard": False}
                    # Nobody else is on a cluster that ends with the command, and no token need be written at home.
                    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
                try:
                    ray.init(address=self.address, log_to_driver=False, configure_logging=False, **local)
                except (ConnectionError, ValueError, RuntimeError) as error:
                    reason = str(error).strip().splitlines()[0]
                    raise UserError(f"Ray cannot be reached at {self.address}: {reason}") from error
            try:
                with _nothing_printed() if began else contextlib.nullcontext():
                    yield ray
            finally:
                if began:
                    ray.shutdown()

    def _expect_listener(self) -> None:
        """UserError where nothing listens at the address: Ray itself takes minutes to say so."""
        found = re.fullmatch(r"(?:ray://)?([^/:\[\]]+):(\d+)", self.address or "")
        if found is not None:
            try:
                socket.create_connection((found[1], int(found[2])), timeout=ANSWERS_WITHIN).close()
            except (OSError, OverflowError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                raise UserError(f"Ray cannot be reached at {self.address}: {reason}") from None


@contextlib.contextmanager
def _nothing_printed() -> Iterator[None]:
    """Have Ray not print among this command's tables that a worker has died, which the watch is told.

    ``log_to_driver=False`` does not keep it from that, and no other setting does.
    """
    from ray._private import worker

    name = "print_to_stdstream"
    prints = getattr(worker, name, None)
    if prints is not None:
        setattr(worker, name, lambda *lines, **options: None)
    try:
        yield
    finally:
        if prints is not None:
            setattr(worker, name, prints)


class _Rounds:
    """The units of a launch while they are executed by Ray."""

    def __init__(self, launcher: Ray, ray: Any, launch: Launch, watch: LaunchWatch) -> None:
        from ray.util.queue import Queue

        self.launcher, self.ray, self.launch, self.watch = launcher, ray, launch, watch
        self.said = Queue(actor_options={"num_cpus": 0})
        self.waiting: list[LaunchUnit] = list(launch.units)
        self.running: dict[Any, LaunchUnit] = {}
        self.restarts: dict[str, int] = {}

    def execute(self) -> None:
        most = self.launch.jobs or len(self.waiting)
        while self.waiting or self.running:
            while self.waiting and len(self.running) < most:
                self._start(self.waiting.pop(0))
            done, _ = self.ray.wait([*self.running], timeout=LOOK_EVERY)
            self._listen()
            for reference in done:
                self._end(self.running.pop(reference), reference)

    def _start(self, unit: LaunchUnit) -> None:
        task = self.ray.remote(remote_task()).options(
            num_cpus=self.launcher.cpus or unit.threads, num_gpus=self.launcher.gpus, max_retries=0, name=unit.name
        )
        starter = self.launch.starter[-1]
        given = (unit.name, dict(unit.files), unit.command, starter, self.said, on_command_line())
        self.running[task.remote(*given)] = unit

    def _listen(self) -> None:
        """Pass on what tasks have said since the last look."""
        for _ in range(self.said.qsize()):
            name, message = self.said.get()
            if message is None:
                self.watch.started(name)
            else:
                self.watch.heard(name, message)

    def _end(self, unit: LaunchUnit, reference: Any) -> None:
        """Judge a task that has ended: well, by itself, or killed with its worker or its machine."""
        try:
            found: Mapping[str, Any] = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            self.watch.ended(unit.name, UnitProblem(f"{unit.name}: {_first_line(error)}", str(error)))
            return
        except self.ray.exceptions.RayError as error:
            found = {"killed": True, "message": f"{unit.name}: {_first_line(error)}", "details": str(error)}
        # It may have said something that is still on its way.
        self._listen()
        if not found["killed"]:
            message = found["message"]
            self.watch.ended(unit.name, UnitProblem(message, found["details"]) if message else None)
        elif self.restarts.get(unit.name, 0) < MOST_RESTARTS:
            self.restarts[unit.name] = self.restarts.get(unit.name, 0) + 1
            self.watch.note(f"{found['message']}; it is started once more")
            self.waiting.append(unit)
        else:
            again = f"{found['message']}; it was started {MOST_RESTARTS + 1} times"
            self.watch.ended(unit.name, UnitProblem(again, found["details"]))


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip()}" if lines else type(error).__name__


def remote_task() -> Callable[..., dict[str, Any]]:
    """The function that a worker of Ray's executes. It is pickled by value, and finds this package by its path."""

    def execute_unit(
        name: str, files: Mapping[str, bytes], command: Sequence[str], starter: str, said: Any, from_command_line: bool
    ) -> dict[str, Any]:
        import runpy
        import tempfile
        import time
        from pathlib import Path

        runpy.run_path(starter)["package_beside"]()
        from icl_curriculum.core.options import named_as_on_the_command_line
        from icl_curriculum.launchers.base import LaunchUnit
        from icl_curriculum.launchers.unit_process import UnitProcess

        with tempfile.TemporaryDirectory() as folder, named_as_on_the_command_line(from_command_line):
            unit = LaunchUnit(name, "", files, tuple(command)).write(Path(folder))
            process = UnitProcess(command, unit, name=name)
            said.put((name, None))
            noted = 0.0
            for message in process.messages():
                warning = "progress" in message and message["progress"].get("warning")
                if warning or "detail" in message or time.monotonic() - noted >= 1.0:
                    noted = time.monotonic()
                    said.put((name, message))
        problem = process.problem
        return {
            "killed": process.was_killed,
            "message": "" if problem is None else problem.message,
            "details": "" if problem is None else problem.details,
        }

    return execute_unit
