"""Claims of a folder: numbered files of which one process alone can make the next, on any file system."""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.hosts import ProcessIdentity, this_process

#: The most bytes of a claim.
LONGEST = 4096
#: What a file system says where nothing may be written.
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
#: What it says that has no hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@dataclass(frozen=True)
class FoundClaim:
    """The claim that counts, as it was found: ``owner`` and ``process`` are None where it cannot be read.

    ``beat``: the time of its last sign of life, by the file system's clock, in nanoseconds. ``genuine``: whether the
    file is the one that was claimed, and no copy of it. ``flocked``: whether its owner holds the ``flock``, too.
    """

    number: int
    size: int
    inode: int
    beat: int
    owner: str | None = None
    process: ProcessIdentity | None = None
    since: str = ""
    genuine: bool = False
    flocked: bool = False

    @property
    def is_free(self) -> bool:
        return self.size == 0

    def __str__(self) -> str:
        if self.process is None:
            return "another process"
        return f"process {self.process.pid} on {self.process.host}, since {self.since}"


def claim_path(lock: Path, number: int) -> Path:
    return lock.with_name(f"{lock.name}.{number}")


def numbers_of(lock: Path) -> list[int]:
    """The numbers of the claims of a lock that lie in its folder, in order."""
    pattern = re.compile(rf"{re.escape(lock.name)}\.([1-9]\d{{0,14}})")
    try:
        names = os.listdir(lock.parent)
    except FileNotFoundError:
        return []
    return sorted(int(match[1]) for name in names if (match := pattern.fullmatch(name)))


def _read(path: Path) -> tuple[os.stat_result, bytes]:
    """A claim's file and its content, which is empty where it may not be read. OSError where the file is gone."""
    try:
        with path.open("rb", buffering=0) as handle:
            return os.fstat(handle.fileno()), handle.read(LONGEST)
    except OSError:
        return path.stat(), b""


def look(lock: Path) -> FoundClaim | None:
    """The claim that counts, or None where there is none."""
    numbers = numbers_of(lock)
    if not numbers:
        return None
    path = claim_path(lock, numbers[-1])
    try:
        about, content = _read(path)
    except OSError:
        # Another one has taken its place, as which a file system over a network may say that it is stale.
        return look(lock) if numbers_of(lock) != numbers else None
    found = FoundClaim(numbers[-1], about.st_size, about.st_ino, about.st_mtime_ns)
    try:
        said = json.loads(content)
        process = ProcessIdentity(
            int(said["pid"]), str(said["started"]), str(said["host"]), str(said["boot"]), str(said["namespace"])
        )
        return FoundClaim(
            found.number, found.size, found.inode, found.beat, str(said["owner"]), process, str(said["since"]),
            genuine=said["inode"] == found.inode, flocked=said["flock"] is True,
        )  # fmt: skip
    except (ValueError, LookupError, TypeError, RecursionError):
        return found


def _write_claim(path: Path, owner: str, number: int, *, flocked: bool) -> bytes:
    """Write a claim into a new file; what was written. FileExistsError if it is there."""
    with path.open("xb", buffering=0) as handle:
        me = this_process()
        since = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        about = {
            "pid": me.pid, "host": me.host, "since": since, "owner": owner, "attempt": number, "flock": flocked,
            "started": me.started, "boot": me.boot, "namespace": me.namespace,
            "inode": os.fstat(handle.fileno()).st_ino,
        }  # fmt: skip
        content = json.dumps(about).encode()
        try:
            if handle.write(content) == len(content):
                return content
        except OSError:
            pass
        # Naming the holder is a courtesy: a full disk must not keep a run from resuming.
        handle.truncate(0)
        return b""


def made_claim(lock: Path, path: Path, owner: str, number: int, *, flocked: bool) -> bytes | None:
    """Make a claim that no other process can make, too; what was written into it, or None if it is there."""
    temporary = lock.with_name(f"{lock.name}.{owner}.tmp")
    try:
        with refusing(lock):
            written = _write_claim(temporary, owner, number, flocked=flocked)
        try:
            os.link(temporary, path)
        except OSError as error:
            # The answer of a server may be lost, and that to a second request says that the name is taken.
            with temporary.open("rb") as handle:
                is_linked = os.fstat(handle.fileno()).st_nlink == 2
            if not is_linked and error.errno in _NO_LINKS:
                # The next best: making the file is exclusive, too, but it is empty for a moment, and so free to others.
                return _write_claim(path, owner, number, flocked=flocked)
            if not is_linked:
                raise
    except FileExistsError:
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return written


def remove_older(lock: Path, number: int) -> None:
    """Remove the claims before a number, in order: whoever finds its own one gone knows that it has lost the folder."""
    for older in numbers_of(lock):
        if older < number:
            try:
                claim_path(lock, older).unlink(missing_ok=True)
            except OSError:
                return


def time_there(lock: Path) -> int:
    """The time by the clock of the file system, in nanoseconds: that of a file that was just written there."""
    temporary = lock.with_name(f"{lock.name}.{secrets.token_hex(16)}.tmp")
    try:
        with temporary.open("xb", buffering=0) as handle:
            with contextlib.suppress(OSError):
                handle.write(b"\0")
            return os.fstat(handle.fileno()).st_mtime_ns
    except OSError:
        # Then nothing is known to be old.
        return 0
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what forbids to write a lock file into a UserError with the way out."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise UserError(
            f"{path}: cannot be written to: {error.strerror}; write to another folder, or ask the owner of this one"
        ) from error
