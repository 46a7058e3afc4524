"""Atomic writes, and locks between processes."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from icl_curriculum.core.errors import UserError

#: Seconds between two attempts to take a lock that another process holds.
LOOK_EVERY = 0.5
# How many more times to try, and how many seconds apart, before a lock is reported as held.
GLANCES, GLANCE = 3, 0.02


class Locked(UserError):
    """Another process holds the lock."""


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a whole file or nothing: a temporary file in the same folder, flushed, then renamed over ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed processes left behind. Call it only while holding the folder's lock."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Check that a folder can be written to, and create it if it is missing. Raises UserError if either fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock file during the block. The system frees the lock when the process ends, however it ends.

    The file says which process holds the lock. While another one does, this raises `Locked`; with ``waiting`` it
    waits instead, and calls ``waiting`` with the holder's name every half second.
    """
    tries = 0
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered, so that closing has nothing left to write that could fail.
        with path.open("ab+", buffering=0) as handle:
            # During a wait, the file may have been moved aside together with its folder: then it locks nothing.
            if _acquire(handle) and _is_still(handle, path):
                # Naming the holder is a courtesy: a full disk must not keep a run from resuming.
                with contextlib.suppress(OSError):
                    since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
                    handle.truncate(0)
                    handle.write(json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}).encode())
                yield
                return
        tries += 1
        if waiting is not None:
            waiting(holder(path))
            time.sleep(LOOK_EVERY)
        # The other process may only have looked whether the lock is free.
        elif tries > GLANCES:
            raise Locked(f"{path.parent} is in use by {holder(path)}; wait for it, or write to another folder")
        else:
            time.sleep(GLANCE)


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock file."""
    if not path.is_file():
        return False
    with path.open("ab+", buffering=0) as handle:
        return not _acquire(handle)


def holder(path: Path) -> str:
    """Returns who holds a lock file: ``process 4711 on laptop, since ...``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def _is_still(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _acquire(handle: IO[bytes]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
