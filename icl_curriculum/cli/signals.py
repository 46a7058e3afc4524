"""Signals that ask a command to stop: raised where the stack can unwind, and the end of the process where it cannot."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from icl_curriculum.core.stopping import asked_to_stop

#: What is said of a command that a signal stopped.
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
#: For so many seconds the command may clean up undisturbed: a second signal is often the same key, pressed twice.
PATIENCE = 2.0
#: Every so many seconds it is looked whether the command is on its way to stop.
_LOOK_EVERY = 0.1


class Stopped(BaseException):
    """A signal asks the command to stop. Raised so that the stack unwinds and no worker process is left behind.

    It is not a KeyboardInterrupt, because typer would end the process at that without a word.
    """

    def __init__(self, number: int) -> None:
        super().__init__(_WORDS.get(signal.Signals(number), "stopped"))
        self.number = number


class Signals:
    """What this process does at a signal. ``hint``: what to add to the word on how it ended."""

    def __init__(self, hint: Callable[[], str]) -> None:
        self.hint = hint
        self.since: float | None = None
        self.stop: Stopped | None = None
        self.over = False
        self.listening = False

    def listen(self) -> None:
        """Raise `Stopped` at a signal from now on. What ``nohup`` has ignored stays ignored."""
        for number in _WORDS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.heard)
        sys.unraisablehook = self._unraisable
        self.listening = True

    def ignore(self) -> None:
        """Hear no signal any more: what is left to do is short, and an exception would end it in a traceback."""
        self.over = True
        if self.stop is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            asked_to_stop(None)
        for number in _WORDS:
            if signal.getsignal(number) == self.heard:
                signal.signal(number, signal.SIG_IGN)

    def heard(self, number: int, frame: FrameType | None) -> None:
        """The first signal raises `Stopped`; one that comes while that is dealt with is ignored for a while.

        A module that is half imported may not pass the exception on, nor be left: there the process ends at once.
        """
        now = time.monotonic()
        if self.over:
            return
        if self.since is None:
            self.since = now
            stop = Stopped(number)
            if self.listening:
                self.stop = stop
                asked_to_stop(stop)
                signal.signal(signal.SIGALRM, self._look)
                signal.setitimer(signal.ITIMER_REAL, _LOOK_EVERY, _LOOK_EVERY)
            self._raise(stop, frame)
        if now - self.since > PATIENCE:
            self.end_at_once(number)

    def _raise(self, stop: Stopped, frame: FrameType | None) -> NoReturn:
        if _importing(frame):
            self.end_at_once(stop.number)
        raise stop

    def _look(self, number: int, frame: FrameType | None) -> None:
        """Raise `Stopped` anew if code in C has dropped it, or has raised another exception in its place.

        It was not dropped where it, or what was raised while it was dealt with, is being dealt with.
        """
        if self.over or self.stop is None:
            return
        handled = sys.exception()
        while handled is not None and handled is not self.stop:
            handled = handled.__context__
        if handled is None:
            self._raise(self.stop, frame)

    def end_at_once(self, number: int) -> NoReturn:
        """End the process without unwinding. Workers end with it, and files survive a sudden end at any moment."""
        with contextlib.suppress(Exception):
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), b"\x1b[?25h\n")  # a progress bar hides the cursor
            sys.stdout.flush()
        with contextlib.suppress(OSError):
            os.write(2, f"{Stopped(number)}{self.hint()}\n".encode())
        os._exit(128 + number)

    def _unraisable(self, unraisable: Any) -> None:
        """An exception that was raised where Python cannot pass it on, as while an object is taken down."""
        if isinstance(unraisable.exc_value, Stopped):
            self.end_at_once(unraisable.exc_value.number)
        sys.__unraisablehook__(unraisable)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported at a place in the program."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
