"""Paths that another machine has made, and that a file system over a network does not show here yet."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

#: Seconds between the first two looks, by what each is longer than the one before, and the longest.
FIRST, LONGER, LONGEST = 0.05, 1.5, 1.0


def wait_until_visible(path: Path, *, seconds: float, tell: Callable[[float], None]) -> bool:
    """Wait until there is something at a path, at most so many seconds; returns whether there is.

    A client of a network's file system remembers for a while what a folder holds, and also that it lacks something; to
    list the folders above makes it ask its server. ``tell`` is told, before every wait, for how many seconds was waited
    so far. A path that is there at once is not waited for, and nothing is told.
    """
    began, pause = time.monotonic(), FIRST
    while not _is_there(path):
        waited = time.monotonic() - began
        if waited >= seconds:
            return False
        tell(waited)
        time.sleep(min(pause, seconds - waited))
        pause = min(pause * LONGER, LONGEST)
    return True


def _is_there(path: Path) -> bool:
    if os.path.lexists(path):
        return True
    look_anew(path.parent)
    return os.path.lexists(path)


def look_anew(folder: Path) -> None:
    """Have the file system look anew at a folder, and first at those above it where it is missing itself.

    A file in it that another machine has replaced by a new one of the same name is then seen as it is now.
    """
    if not folder.is_dir() and folder.parent != folder:
        look_anew(folder.parent)
    # Opening a folder asks the server whether what is remembered of it is still true.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fstat(descriptor)
            os.listdir(descriptor)
        finally:
            os.close(descriptor)
