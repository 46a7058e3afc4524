"""This machine and its processes, told apart from those of others that write to the same file system."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from every other one on any machine.

    ``boot`` is drawn by the kernel when it starts, and ``namespace`` tells the process ids of containers apart; both
    are empty where the system has no such thing. ``started``: when the process began, by its kernel's count, so that
    one that bears the id of an ended process is not taken for it; empty where that cannot be told.
    """

    pid: int
    started: str
    host: str
    boot: str
    namespace: str

    @property
    def machine(self) -> tuple[str, str, str]:
        """What processes have in common that can see each other."""
        return self.host, self.boot, self.namespace

    @property
    def kernel(self) -> str:
        """What processes have in common whose locks on files one kernel knows, in whatever containers they are."""
        return self.boot or self.host


def this_process() -> ProcessIdentity:
    """The process that asks."""
    pid = os.getpid()
    return ProcessIdentity(pid, _started(pid), platform.node(), _boot(), _namespace())


def is_running(process: ProcessIdentity) -> bool | None:
    """Whether a process of this machine still runs; None where that cannot be told, as another has its id perhaps."""
    try:
        os.kill(process.pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass
    started = _started(process.pid)
    if not started or not process.started:
        # It may have ended in between, or be hidden from this user.
        return None
    return started == process.started and not _is_over(process.pid)


def machine_token() -> str:
    """Eight digits that tell this machine's files from those of others, for names of temporary files."""
    return hashlib.sha256(f"{platform.node()}\n{_boot()}".encode()).hexdigest()[:8]


def _stat(pid: int) -> list[str]:
    """The fields of a process after its name, as Linux tells them: its state first. Empty where there are none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _is_over(pid: int) -> bool:
    """Whether a process has ended and only waits for its parent to ask how; its threads end one after another."""
    fields = _stat(pid)
    try:
        return bool(fields) and fields[0] in "ZX" and len(os.listdir(f"/proc/{pid}/task")) <= 1
    except OSError:
        return True


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
