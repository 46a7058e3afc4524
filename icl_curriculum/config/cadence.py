"""How often a run writes rows and checkpoints where its file doesn't say: what fits a minute fits no week."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

#: How often a long run writes a table, at least; at most 2.5 times as often.
TIMES = 1000

#: The steps between rows that version 0.2.0 had where a file said nothing, however long the run.
EARLIER = {"log_every": 10, "learning_every": 50}


def steps_between(steps: int, least: int) -> int:
    """The steps between two writes of a table in a run of ``steps`` steps: ``least``, or more in a long run.

    More is the largest of 1, 2, 5, 10, 20, 50, ... that still makes it a thousand writes.

    >>> [steps_between(steps, 10) for steps in (100, 19_999, 20_000, 60_000, 500_000)]
    [10, 10, 20, 50, 500]
    """
    most = str(max(steps // TIMES, 1))
    first = max(digit for digit in "125" if digit <= most[0])
    return max(least, int(first + "0" * (len(most) - 1)))


def by_steps(least: int) -> Callable[[dict[str, Any]], int]:
    """A field's default that is made from the ``steps`` before it, which are missing where they are wrong."""
    return lambda given: steps_between(given.get("steps", 1), least)


def _steps_or_time(value: object) -> object:
    if value == "time" or (type(value) is int and value >= 1):
        return value
    raise PydanticCustomError("steps_or_time", "expected a whole number of at least 1, or 'time'")


StepsOrTime = Annotated[int | Literal["time"], PlainValidator(_steps_or_time)]
