"""How far long work is, as whoever does it tells. The library tells; only the command line draws."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Protocol, TypeVar

T = TypeVar("T")


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


#: Who hears of what takes long deep inside a learner, which is given prompts and nobody to tell.
_HEARD_BY: ContextVar[Tell] = ContextVar("_HEARD_BY", default=tell_nobody)


@contextlib.contextmanager
def heard_by(tell: Tell) -> Iterator[None]:
    """Have `one_by_one` tell of its way in the block."""
    token = _HEARD_BY.set(tell)
    try:
        yield
    finally:
        _HEARD_BY.reset(token)


def one_by_one(items: Sequence[T], what: str) -> Iterator[T]:
    """The items, each of which is told of before it is worked on: ``length 3 of 201``, where ``what`` is ``length``."""
    tell = _HEARD_BY.get()
    for number, item in enumerate(items):
        tell(number / len(items), f"{what} {number + 1:,} of {len(items):,}")
        yield item


@contextlib.contextmanager
def part_of(whole: int, begin: int, size: int, what: str) -> Iterator[None]:
    """Have `one_by_one` in the block tell of a part of some work, as of that part: ``length 3 of 201, prompts 65-128``.

    ``whole``: how many there are of ``what``; ``begin``, ``size``: how many come before the part, and are in it.
    """
    outer, end = _HEARD_BY.get(), begin + size
    about = f", {what} {begin + 1:,}-{end:,} of {whole:,}" if size < whole else ""
    part = between(outer, begin / whole, end / whole)
    with heard_by(lambda share, detail="": part(share, detail + about)):
        yield
