"""Atomic writes, and locks between processes."""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import glob
import json
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.log import LOG

#: Seconds between two attempts to take a lock that another process holds.
LOOK_EVERY = 0.5
# How many more times to try, and how many seconds apart, before a lock is reported as held.
GLANCES, GLANCE = 3, 0.02
#: The most bytes of a file's name.
_LONGEST_NAME = 255
#: What a file system says that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
#: What it says where nothing may be written.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Locked(UserError):
    """Another process holds the lock."""


class FolderLost(RunFailed):
    """The folder that this process was writing to is no longer its own: moved, replaced, or taken over."""


def allowed() -> None:
    """Forbids nothing, see `atomic_path`."""


def write_atomically(path: Path, data: str | bytes, *, before: Callable[[], None] = allowed) -> None:
    """Write a whole file or nothing: a temporary file in the same folder, flushed, then renamed over ``path``.

    ``before``: as in `atomic_path`, such as the `Claim.check` of who holds the folder; it is called first of all, too.
    """
    before()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path, before=before) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_path(path: Path, *, before: Callable[[], None] = allowed) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends without an error.

    ``before`` is called immediately before it does, and may forbid it by raising. The file's mode is that of any new
    file there, so that a group that shares a folder can go on with it.
    """
    name = path.name if len(os.fsencode(path.name)) < _LONGEST_NAME - 20 else ""
    _remove_abandoned(path.parent, name)
    temporary = path.parent / f".{name}.{secrets.token_hex(4)}.tmp"
    with _in_use(temporary):
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            before()
            temporary.replace(path)
            LOG.info("wrote %s", path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _in_use(temporary: Path) -> Iterator[None]:
    """Make an empty file that is locked within the block, as long as the process lives."""
    while True:
        with temporary.open("xb", buffering=0) as handle:
            # Who removes what is abandoned may hold it a moment. Where there are no locks, nobody removes it either.
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_still(handle, temporary):
                yield
                return


def _remove_abandoned(folder: Path, name: str) -> None:
    """Delete the temporary files of a name that killed processes left behind: those that nobody has locked."""
    for leftover in folder.glob(f".{glob.escape(name)}.*.tmp") if name else ():
        with contextlib.suppress(OSError), leftover.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink(missing_ok=True)


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


class Claim:
    """A process's hold of a folder: the lock file that it holds, and what it wrote into that file.

    ``owner`` tells this hold from every other one, and ``attempt`` counts the holds of the folder so far. Both stand in
    the lock file, so that `check` tells whether the folder is still held, however it was lost: moved, deleted,
    replaced, or taken over by another process where the file system has no locks.
    """

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path, self._handle = path, handle
        self.owner = secrets.token_hex(16)
        self.attempt = _attempts(_content(handle)) + 1
        # Naming the holder is a courtesy: a full disk must not keep a run from resuming.
        with contextlib.suppress(OSError):
            since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            about = {"pid": os.getpid(), "host": platform.node(), "since": since}
            handle.truncate(0)
            handle.write(json.dumps({**about, "owner": self.owner, "attempt": self.attempt}).encode())
        self._written = _content(handle)

    def check(self) -> None:
        """FolderLost unless the folder is still held. To be called before everything that is written there."""
        if not _is_still(self._handle, self.path):
            raise FolderLost(
                f"{self.path.parent} was moved, deleted or replaced while this process was writing to it; it has "
                f"stopped, and has written nothing more there"
            )
        if _content(self._handle) != self._written:
            raise FolderLost(
                f"{self.path.parent} was taken over by {holder(self.path)}; this process has stopped, and has written "
                f"nothing more there"
            )

    def release(self) -> None:
        """Forget the hold where the system does not: on a file system without locks."""
        if not _has_locks(self._handle) and _content(self._handle) == self._written:
            self._handle.truncate(0)


def _content(handle: IO[bytes]) -> bytes:
    return os.pread(handle.fileno(), 4096, 0)


def _attempts(content: bytes) -> int:
    """How often a folder has been held, as its lock file says."""
    try:
        return int(json.loads(content)["attempt"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return 0


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[Claim]:
    """Hold a lock file during the block. The system frees the lock when the process ends, however it ends.

    The file says which process holds the lock. While another one does, this raises `Locked`; with ``waiting`` it
    waits instead, and calls ``waiting`` with the holder's name every half second. On a file system without locks, only
    a process of this machine that is still there holds the lock; from any other one it is taken over, which that one
    notices (`Claim.check`). UserError where the file cannot be written.
    """
    tries = 0
    while True:
        with _opened(path) as handle:
            # During a wait, the file may have been moved aside together with its folder: then it locks nothing.
            if _acquire(handle) and _is_still(handle, path):
                claim = Claim(path, handle)
                try:
                    yield claim
                finally:
                    claim.release()
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


def _opened(path: Path) -> IO[bytes]:
    """A lock file, to be written to. Unbuffered, so that closing has nothing left to write that could fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab+", buffering=0)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise UserError(
            f"{path}: cannot be written to: {error.strerror}; write to another folder, or ask the owner of this one"
        ) from error


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock file. Of one that may not be read, nothing is known, so it does not."""
    try:
        with path.open("rb") as handle:
            return not _acquire(handle, fcntl.LOCK_SH)
    except OSError:
        return False


def holder(path: Path) -> str:
    """Returns who holds a lock file: ``process 4711 on laptop, since ...``."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f"process {found['pid']} on {found['host']}, since {found['since']}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "another process"


def _is_still(handle: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


def _acquire(handle: IO[bytes], how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return not _is_alive(handle)
    return True


def _has_locks(handle: IO[bytes]) -> bool:
    """Whether the file system of a file has locks; asked of one that is held, so it takes nothing."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _NO_LOCKS
    return True


def _is_alive(handle: IO[bytes]) -> bool:
    """Whether the process that a lock file names runs on this machine."""
    try:
        found = json.loads(_content(handle))
        if found["host"] != platform.node():
            return False
        os.kill(int(found["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError):
        return False
    return True
