"""Plain runs of several lengths as a ladder, read between its rungs: numbers in, numbers out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One plain run of a ladder.

    ``steps``: its updates; ``operations``: what they took in all; ``seen``: its error on seen cells; ``error``: where
    it is compared.
    """

    steps: int
    operations: float
    seen: float
    error: float


def at_operations(rungs: Sequence[Rung], operations: float) -> float:
    """The error of plain training after so many operations: straight between rungs in the logarithm of operations.

    NaN outside of the ladder.
    """
    ordered = sorted(rungs, key=lambda rung: (rung.operations, rung.steps))
    return _last_between(ordered, [rung.operations for rung in ordered], operations)


def at_seen_error(rungs: Sequence[Rung], seen: float) -> float:
    """The error of plain training that is as good on seen cells: straight between rungs in the log of the seen error.

    The ladder need not fall from rung to rung: of the segments that bracket ``seen``, that of the most steps counts.
    NaN where no segment does.
    """
    ordered = sorted(rungs, key=lambda rung: rung.steps)
    return _last_between(ordered, [rung.seen for rung in ordered], seen)


def _last_between(rungs: Sequence[Rung], places: Sequence[float], place: float) -> float:
    """The error at a place on the last segment that holds it; at a rung the rung's own, of several the last."""
    found = math.nan
    for number, (rung, right) in enumerate(zip(rungs, places, strict=True)):
        if number and not math.isnan(share := _share(places[number - 1], right, place)):
            found = _mixed(rungs[number - 1].error, rung.error, share)
        elif right == place:
            found = rung.error
    return found


def _share(left: float, right: float, place: float) -> float:
    """How far a place is from left to right, from 0 to 1 in logarithms; NaN where it isn't between them."""
    if not min(left, right) <= place <= max(left, right) or not all(0 < x < math.inf for x in (left, right, place)):
        return math.nan
    if left == right:
        return 1.0
    return (math.log(place) - math.log(left)) / (math.log(right) - math.log(left))


def _mixed(left: float, right: float, share: float) -> float:
    """Between two errors; infinite where one that counts is."""
    if share in (0.0, 1.0):
        return right if share else left
    return (1 - share) * left + share * right
