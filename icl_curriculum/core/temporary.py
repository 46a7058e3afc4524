"""Temporary folders that outlive nobody: what a killed process left behind is removed by the next that makes one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from icl_curriculum.core.hosts import machine_token


@contextlib.contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder of its own among the system's temporary ones, which is removed at the end.

    This process holds a lock on it meanwhile. Folders of the same ``prefix`` that nobody on this machine holds are
    those of processes that were killed, and are removed first: no folder that is made otherwise may have the prefix.
    Those of another machine, which shares the place, are left to it, as its locks may not be seen from here; and on a
    file system without locks, what killed processes leave is left to the system.
    """
    remove_abandoned(prefix)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{machine_token()}-"))
        with contextlib.suppress(FileNotFoundError), _opened(folder) as descriptor:
            with contextlib.suppress(OSError):
                _lock(descriptor)
            # In between, another process may have taken it for an abandoned one.
            if folder.is_dir():
                try:
                    yield folder
                    return
                finally:
                    shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(prefix: str) -> None:
    """Remove the folders of a prefix that killed processes left behind, see `temporary_folder`."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}{machine_token()}-*"):
        # Gone, held, on a file system without locks, or another user's.
        with contextlib.suppress(OSError), _opened(folder) as descriptor:
            _lock(descriptor)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Hold a folder until it is closed. BlockingIOError if another process does."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
