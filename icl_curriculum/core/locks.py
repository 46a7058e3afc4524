"""Locks between processes of one machine, and of several that share a file system, whether or not it has ``flock``.

A lock ``.lock`` is two files. The file of that name is locked by ``flock``, which the system frees when a process ends
however it ends; but a file system may lack it, or keep it to each machine, so that it succeeds on two at once. Beside
it lies a claim, ``.lock.7``, the seventh hold of the folder, which says who holds it; empty, it says that nobody does.
Taking the folder is making the claim of the next number by a hard link, which one process alone can on any file system,
so that of two who take over from one that is gone, one is told that it came too late. The claim with the highest number
is the one that counts, and is never removed; `Claim.check` looks, before everything that is written, whether it is
still one's own. So a machine that was frozen while another one took its folder over writes nothing when it wakes.

A holder on this machine is judged by its process. One on another machine gives a sign of life every few seconds, by
renewing its claim's time; clocks of two machines are not compared, see `Watch`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from icl_curriculum.core.claims import (
    LONGEST,
    FoundClaim,
    claim_path,
    look,
    made_claim,
    numbers_of,
    refusing,
    remove_older,
    time_there,
)
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import is_still
from icl_curriculum.core.heartbeat import BEAT, Heartbeat
from icl_curriculum.core.hosts import is_running, this_process

#: Seconds between two attempts to take a lock that another process holds.
LOOK_EVERY = 0.5
#: Seconds that a holder on another machine may go without a sign of life before its folder is taken over.
STALE = 60.0
#: Seconds that it is watched at least, even if its last sign of life is older than that.
CONFIRM = 2 * BEAT
# How many more times to try, and how many seconds apart, before a lock is reported as held.
GLANCES, GLANCE = 3, 0.02
#: What a file system says that has no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
#: The owners of the claims that this process holds. A fork of it holds none.
_HELD: set[str] = set()
os.register_at_fork(after_in_child=_HELD.clear)


class Locked(UserError):
    """Another process holds the lock."""


class FolderLost(RunFailed):
    """The folder that this process was writing to is no longer its own: moved, replaced, or taken over."""


class Claim:
    """A process's hold of a folder: the claim that it made, and what it wrote into it.

    ``owner`` tells this hold from every other one, and ``attempt`` counts the holds of the folder so far.
    """

    def __init__(self, lock: Path, attempt: int, owner: str, written: bytes) -> None:
        self.lock, self.attempt, self.owner, self._written = lock, attempt, owner, written
        self.path = claim_path(lock, attempt)
        self._pid = os.getpid()
        self._handle = self.path.open("r+b", buffering=0)
        self._heartbeat = Heartbeat(self._handle.fileno())
        _HELD.add(owner)

    def is_held(self) -> bool:
        """Whether the claim is the one that counts."""
        try:
            # Opened anew, as a file system over a network then asks its server.
            with self.path.open("rb", buffering=0) as now:
                same = os.path.samestat(os.fstat(now.fileno()), os.fstat(self._handle.fileno()))
                same = same and now.read(LONGEST) == self._written
        except OSError:
            return False
        return same and not claim_path(self.lock, self.attempt + 1).exists()

    def check(self) -> None:
        """FolderLost unless the folder is still held. To be called before everything that is written there."""
        if self.is_held():
            return
        folder, stopped = self.lock.parent, "this process has stopped, and has written nothing more there"
        found = look(self.lock)
        if found is not None and found.number > self.attempt:
            raise FolderLost(f"{folder} was taken over by {found}; {stopped}")
        raise FolderLost(
            f"{folder} was moved, deleted or replaced while this process was writing to it; it has stopped, and has "
            f"written nothing more there"
        )

    def release(self) -> None:
        """Say that nobody holds the folder. A fork of the process that holds it does not."""
        if os.getpid() != self._pid:
            return
        self._heartbeat.stop()
        with contextlib.suppress(OSError):
            self._handle.truncate(0)
        self._handle.close()
        _HELD.discard(self.owner)


class Watch:
    """How long a claim of another machine has gone without a sign of life while this process watched it.

    Counted is the watcher's own time, and only that between two looks which followed each other as they should: who was
    frozen itself, or waited for a server that did not answer, has seen nothing.
    """

    def __init__(self, lock: Path) -> None:
        self.lock = lock
        self.seconds = 0.0
        #: How old the last sign of life was when it was first seen, by the clock of the file system alone.
        self.age = 0.0
        self._seen: tuple[object, ...] | None = None
        self._looked = 0.0

    def look(self, found: FoundClaim) -> None:
        """Take note of a claim as it was just found."""
        now, seen = time.monotonic(), (found.number, found.inode, found.beat, found.owner)
        if seen == self._seen:
            self.seconds += min(now - self._looked, 2 * LOOK_EVERY)
        else:
            self._seen, self.seconds = seen, 0.0
            self.age = max(0.0, (time_there(self.lock) - found.beat) / 1e9)
        self._looked = now

    @property
    def is_old(self) -> bool:
        """Whether the last sign of life is too old, before it is confirmed that none follows."""
        return self.age > STALE

    @property
    def is_stale(self) -> bool:
        return self.seconds >= (CONFIRM if self.is_old else STALE)

    def __str__(self) -> str:
        limit = f"unless one follows within {CONFIRM:g} s" if self.is_old else f"after {STALE:g} s without one"
        return f"whose last sign of life is {self.age + self.seconds:.0f} s old (it is taken over {limit})"


def _is_held(found: FoundClaim | None, flocked: bool | None) -> bool | None:
    """Whether a claim that was found is held; None where only signs of life can tell.

    ``flocked``: whether this process has got the ``flock``; None where there is none.
    """
    me = this_process()
    if found is None or found.is_free or found.process is None:
        if flocked is False:
            # By one that is just about to make or to end its claim, or by an earlier version, which makes none.
            return True
        return False if found is None or found.is_free else None
    if found.process.kernel != me.kernel:
        return None
    if flocked is False:
        return True
    freed = flocked is True and found.flocked
    if found.process.machine != me.machine:
        # Of another container, or one that only bears another name. Both locks are of one kernel.
        return False if freed and found.process.namespace != me.namespace else None
    running = found.owner in _HELD if found.process.pid == me.pid else is_running(found.process)
    if running is False:
        return False
    if running and found.genuine:
        return True
    return False if freed else None


@contextlib.contextmanager
def locked(path: Path, *, waiting: Callable[[str], None] | None = None) -> Iterator[Claim]:
    """Hold a lock file during the block. It is free again when the process ends, however it ends.

    While another process holds it, this raises `Locked`; with ``waiting`` it waits instead, and calls ``waiting`` every
    half second with who is waited for. From a process of another machine that gives no more sign of life the folder is
    taken over, which that one notices (`Claim.check`). UserError where the file cannot be written.
    """
    tries, watch = 0, Watch(path)
    while True:
        with _opened(path) as gate:
            flocked = _flock(gate, fcntl.LOCK_EX)
            found = look(path)
            held = _is_held(found, flocked)
            if held is None and found is not None:
                watch.look(found)
            # During a wait, the file may have been moved aside together with its folder: then it locks nothing.
            if held is False or (held is None and watch.is_stale):
                claim = _claimed(path, gate, (found.number if found else 0) + 1, flocked=flocked is True)
                if claim is not None:
                    try:
                        yield claim
                    finally:
                        claim.release()
                    return
        tries += 1
        who = f"{holder(path)}, {watch}" if held is None else holder(path)
        if waiting is not None:
            waiting(who)
            time.sleep(LOOK_EVERY)
        elif held is None and watch.is_old:
            time.sleep(min(LOOK_EVERY, CONFIRM / 4))
        # The other process may only have looked whether the lock is free.
        elif tries > GLANCES:
            raise Locked(f"{path.parent} is in use by {who}; wait for it, or write to another folder")
        else:
            time.sleep(GLANCE)


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock file. Of one that may not be read, nothing is known, so it does not.

    Nothing is written. A holder on another machine is believed to be there by this machine's clock, so that this is
    for showing, and for nothing that must be right: that is for `locked`.
    """
    try:
        with path.open("rb") as handle:
            flocked = _flock(handle, fcntl.LOCK_SH)
            found = look(path)
    except OSError:
        return False
    held = _is_held(found, flocked)
    if held is None and found is not None:
        return time.time() - found.beat / 1e9 < STALE
    return held is True


def holder(path: Path) -> str:
    """Returns who holds a lock file: ``process 4711 on laptop, since ...``."""
    with contextlib.suppress(OSError):
        found = look(path)
        if found is not None and found.process is not None:
            return str(found)
    try:
        # As earlier versions wrote it.
        said = json.loads(path.read_text(encoding="utf-8"))
        return f"process {said['pid']} on {said['host']}, since {said['since']}"
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "another process"


def _claimed(lock: Path, gate: IO[bytes], number: int, *, flocked: bool) -> Claim | None:
    """Make the claim of a number; None if another process was faster, or the folder was moved in the meantime."""
    owner, path = secrets.token_hex(16), claim_path(lock, number)
    try:
        written = made_claim(lock, path, owner, number, flocked=flocked)
        claim = None if written is None else Claim(lock, number, owner, written)
    except FileNotFoundError:
        return None
    if claim is None:
        return None
    try:
        # Whoever looked at a folder that has changed since may have made a number anew that was used and removed.
        if numbers_of(lock)[-1:] == [number] and is_still(gate, lock) and claim.is_held():
            remove_older(lock, number)
            with contextlib.suppress(OSError):
                # Earlier versions say there who holds it.
                gate.truncate(0)
            return claim
    except BaseException:
        claim.release()
        raise
    claim.release()
    return None


def _opened(path: Path) -> IO[bytes]:
    """A lock file, to be written to. Unbuffered, so that closing has nothing left to write that could fail."""
    with refusing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab+", buffering=0)


def _flock(handle: IO[bytes], how: int) -> bool | None:
    """Take the ``flock`` of an open file; False if another process has it, None where there is none."""
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return None
    return True
