"""A table that grows while a run trains: rows are kept in memory, and are appended to its file all together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from icl_curriculum.core.errors import RunFailed
from icl_curriculum.core.options import option


class GrownTable:
    """What a process has written of a growing table, by its length in bytes and its hash, and what it has still to.

    ``content``: what its file holds.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        self.path = path
        self.length, self._digest = len(content), hashlib.sha256(content)
        self.pending = bytearray()

    @property
    def hash(self) -> str:
        """As `bytes_hash` has it, of what was written."""
        return self._digest.hexdigest()[:16]

    def add(self, data: bytes) -> None:
        """Have rows at the end of the table, once it is flushed."""
        self.pending += data

    def flush(self, before: Callable[[], None]) -> None:
        """Append what is pending to the file, down to the disk. Nothing is touched where nothing is.

        ``before``: called first, and may forbid it by raising. RunFailed, with nothing written, if the file is not as
        long as what this process has written of it.
        """
        if not self.pending:
            return
        before()
        with self.path.open("r+b") as handle:
            if handle.seek(0, os.SEEK_END) != self.length:
                raise changed(self.path)
            handle.write(self.pending)
            handle.flush()
            os.fsync(handle.fileno())
        self.length += len(self.pending)
        self._digest.update(self.pending)
        self.pending.clear()


def changed(path: Path) -> RunFailed:
    """The error for a file of a run's that is not what the run has written of it."""
    return RunFailed(
        f"{path} was changed while the run was writing to it; without {option('--fresh')}, the next run continues from "
        f"the last checkpoint"
    )
