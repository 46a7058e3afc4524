"""A sign of life: a file whose time is renewed every few seconds, as long as its process lives and is not frozen."""

from __future__ import annotations

import contextlib
import os
import threading

#: Seconds between two signs of life.
BEAT = 5.0


class Heartbeat:
    """Renews the time of an open file from now on, until it is stopped.

    By a thread that keeps no process alive, through a descriptor of its own: a file that was put in the place of this
    one is not touched, and a folder that has vanished is no trouble. The time is that of the file system's own clock.
    """

    def __init__(self, descriptor: int) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=_beat, args=(os.dup(descriptor), self._stopped, BEAT), name="heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Give no more sign of life. One that hangs, as its server does not answer, is not waited for."""
        self._stopped.set()
        self._thread.join(timeout=1.0)


def _beat(descriptor: int, stopped: threading.Event, every: float) -> None:
    try:
        while not stopped.wait(every):
            with contextlib.suppress(OSError):
                os.utime(descriptor)
    finally:
        os.close(descriptor)
