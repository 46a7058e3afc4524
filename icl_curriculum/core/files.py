"""Files that are written whole or not at all, and what killed processes leave of them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.hosts import machine_token
from icl_curriculum.core.log import LOG

#: The most bytes of a file's name.
_LONGEST_NAME = 255


def allowed() -> None:
    """Forbids nothing, see `atomic_path`."""


def write_atomically(path: Path, data: str | bytes, *, before: Callable[[], None] = allowed) -> None:
    """Write a whole file or nothing: a temporary file in the same folder, flushed, then renamed over ``path``.

    ``before``: as in `atomic_path`, such as the `locks.Claim.check` of who holds the folder; it is called first of all,
    too.
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
    name = path.name if len(os.fsencode(path.name)) < _LONGEST_NAME - 30 else ""
    _remove_abandoned(path.parent, name)
    temporary = path.parent / f".{name}.{machine_token()}-{secrets.token_hex(4)}.tmp"
    with _in_use(temporary):
        try:
            yield temporary
            try:
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            except FileNotFoundError:
                # Whoever has taken the folder over has removed it, which says more.
                before()
                raise
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
            if is_still(handle, temporary):
                yield
                return


def is_still(handle: IO[bytes], path: Path) -> bool:
    """Whether an open file is the one that lies at a path."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except OSError:
        return False


def _remove_abandoned(folder: Path, name: str) -> None:
    """Delete the temporary files of a name that killed processes left behind: those that nobody has locked.

    Only this machine's: another one may hold a lock that this one is not told of.
    """
    for leftover in folder.glob(f".{glob.escape(name)}.{machine_token()}-*.tmp") if name else ():
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
