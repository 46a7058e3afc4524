"""Times of competitors that take turns, so that the noise of a shared machine affects all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from icl_curriculum.core.progress import Tell, tell_nobody

#: The least seconds that a turn lasts. A call that takes less is repeated.
TURN = 0.05
#: Sides of the square matrices whose products show what the hardware can do.
SQUARES = (512, 1024, 2048)


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    low, median, high = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(low), float(high))


def ratios(reference: Sequence[float], times: Sequence[float]) -> Spread:
    """How many times faster than the reference each round was."""
    return spread([theirs / ours for theirs, ours in zip(reference, times, strict=True)])


def interleaved(
    competitors: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    tell: Tell = tell_nobody,
    turn: float = TURN,
    wait: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of one call of each competitor in each round: A, B, C, A, B, C, ... after a warm-up of each.

    A competitor that takes less than ``turn`` seconds is called several times in its turn, in every turn as often.
    ``wait`` returns when the device has finished what it was given.
    """

    def seconds(call: Callable[[], object], times: int) -> float:
        wait()
        began = clock()
        for _ in range(times):
            call()
        wait()
        return (clock() - began) / times

    total, done = (rounds + 1) * len(competitors), 0
    repeats, found = {}, {name: list[float]() for name in competitors}
    for name, call in competitors.items():
        tell(done / total, f"{name}, warm-up")
        once = seconds(call, 1)
        # The first call may also have set something up, so a second one is timed where that takes little.
        once = seconds(call, 1) if once < 20 * turn else once
        repeats[name] = max(1, round(turn / max(once, 1e-9))) if turn else 1
        done += 1
    for number in range(rounds):
        for name, call in competitors.items():
            tell(done / total, f"{name}, round {number + 1} of {rounds}")
            found[name].append(seconds(call, repeats[name]))
            done += 1
    return found


def square_products(device: str, sides: Sequence[int] = SQUARES) -> dict[int, Callable[[], object]]:
    """By side n, a function that multiplies two square float32 matrices, which takes 2 n^3 operations."""
    products: dict[int, Callable[[], object]] = {}
    for n in sides:
        made = torch.Generator().manual_seed(n)
        left, right = (torch.randn(n, n, generator=made).to(device) for _ in range(2))

        def product(left: torch.Tensor = left, right: torch.Tensor = right) -> object:
            return torch.mm(left, right)

        products[n] = product
    return products


def peak(rates: dict[int, list[float]]) -> list[float]:
    """The best rate of each round, from rates by size of matrix."""
    return [max(values) for values in zip(*rates.values(), strict=True)]
