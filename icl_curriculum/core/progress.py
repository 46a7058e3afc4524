"""How far long work is, as whoever does it tells. The library tells; only the command line draws."""

from __future__ import annotations

from typing import Protocol


class Tell(Protocol):
    """What is told of work while it is under way."""

    def __call__(self, share: float, detail: str = "") -> None:
        """Take note of how much of the work is done, from 0 to 1, and of what is being done now."""


def tell_nobody(share: float, detail: str = "") -> None:
    """Ignores how far the work is."""


def within(tell: Tell, number: int, of: int) -> Tell:
    """Returns what one of several equal parts tells: its own share becomes a share of the whole."""
    return between(tell, number / of, (number + 1) / of)


def between(tell: Tell, begin: float, end: float) -> Tell:
    """What a part of the work tells that lasts from one share of the whole to another."""
    return lambda share, detail="": tell(begin + (end - begin) * share, detail)
