"""A real Ray of one node on this machine, of two CPUs, up in some seconds."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from slurm_cluster import free_ports, wait_for


class RayCluster:
    """A head node to which drivers connect by ``address``, in the environment ``env``.

    Its files lie in a folder of its own, and it sends no statistics of its use. Any number may run side by side.
    """

    def __init__(self) -> None:
        # Not pytest's: the path of a socket may have 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        # Without RAY_AUTH_MODE Ray writes a token into the home folder. The folder is also the mark of its processes.
        self.env = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_TMPDIR": str(self.folder),
            # Otherwise tasks give way to whatever else the machine does.
            "RAY_worker_niceness": "0",
        }
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        self.head: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RayCluster:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _start(self) -> None:
        host, port = self.address.split(":")
        options = ["--head", "--block", f"--node-ip-address={host}", f"--port={port}", "--num-cpus=2"]
        options += ["--include-dashboard=false", f"--temp-dir={self.folder}", "--disable-usage-stats"]
        ray = Path(sys.executable).with_name("ray")
        with self.log.open("wb") as out:
            # Its end comes with that of the tests, even when they are killed.
            command = ["setpriv", "--pdeathsig", "TERM", str(ray), "start", *options]
            self.head = subprocess.Popen(command, env=self.env, stdout=out, stderr=out)
        wait_for(self._is_up, "Ray is up", seconds=60)

    @property
    def log(self) -> Path:
        """What Ray printed when it was started."""
        return self.folder / "start.out"

    def _is_up(self) -> bool:
        assert self.head is not None
        if self.head.poll() is not None:
            raise RuntimeError(f"Ray ended with exit code {self.head.returncode}: {self.log.read_text()}")
        return "Ray runtime started" in self.log.read_text()

    def processes(self) -> Iterator[int]:
        """The processes that belong to this cluster."""
        mark = f"RAY_TMPDIR={self.folder}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            # One that ends meanwhile, or another user's.
            with contextlib.suppress(OSError):
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)

    def workers(self) -> list[int]:
        """The processes that run a task at this moment."""
        found = []
        for pid in self.processes():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
                if re.match(r"ray::(?!IDLE)", name):
                    found.append(pid)
        return found

    def stop(self) -> None:
        """Ends the cluster and all that runs in it, and removes its folder."""
        if self.head is not None:
            self.head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.head.wait(10)
        wait_for(lambda: not any(self._kill()), "every process has ended")
        if self.head is not None:
            self.head.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill(self) -> Iterator[int]:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            yield pid
