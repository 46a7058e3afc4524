"""Whether the command was asked to stop: kept, as what raises at a signal may be lost on its way.

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
