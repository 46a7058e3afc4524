"""Whether the command was asked to stop, at once or as soon as its work can go on from where it stops.

To stop at once is kept here, as what raises at a signal may be lost on its way.
Code that is written in C can be called just when a signal is heard, and can drop the exception or raise another one in
its place: matplotlib says "Invalid affine transformation matrix" then. Whoever goes on after any exception asks here.

Light: it imports nothing.
"""

from __future__ import annotations

_asked: BaseException | None = None


def asked_to_stop(stop: BaseException | None) -> None:
    """Note what is about to be raised because a signal asks the command to stop; None once it has stopped."""
    global _asked
    _asked = stop


def stop_if_asked() -> None:
    """Raise anew what was noted, if anything was."""
    if _asked is not None:
        raise _asked


class StoppedAt(BaseException):
    """Work has stopped, as it was asked to, where it can go on. ``at``: where, as ``training 20/300``.

    No Exception, as whoever takes one for a failure of what was being done would be wrong.
    """

    def __init__(self, at: str) -> None:
        super().__init__(at)
        self.at = at


_to_stop_soon = False


def stop_soon() -> None:
    """Ask for what is at work to stop, by `StoppedAt`, as soon as it can go on from there."""
    global _to_stop_soon
    _to_stop_soon = True


def is_to_stop() -> bool:
    """Whether what is at work was asked to stop as soon as it can go on from there."""
    return _to_stop_soon
