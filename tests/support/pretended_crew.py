"""Processes that train one run together, pretended by threads of this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.training import Trainer, Update


class Meeting:
    """Where pretended processes meet; each gets what all of them have brought, in the order of their ranks."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._barrier = threading.Barrier(processes, timeout=30)
        self._brought: list[Any] = [None] * processes

    def met(self, rank: int, brought: object) -> list[Any]:
        self._brought[rank] = brought
        self._barrier.wait()
        found = list(self._brought)
        self._barrier.wait()
        return found

    def leave(self) -> None:
        """Nobody waits for a thread that has failed."""
        self._barrier.abort()


class PretendedCrew:
    """What one of the pretended processes knows of them; ``sent``: how much it has told them of each kind."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.processes = meeting, rank, meeting.processes
        self.sent: list[str] = []

    def largest(self, numbers: Sequence[int]) -> list[int]:
        self.sent.append("numbers")
        return [max(place) for place in zip(*self.meeting.met(self.rank, list(numbers)), strict=True)]

    def gathered(self, own: Tensor) -> list[Tensor]:
        self.sent.append("gradients")
        return self.meeting.met(self.rank, own.clone())

    def texts(self, own: str | None) -> list[str | None]:
        self.sent.append("text")
        return self.meeting.met(self.rank, own)

    def fail(self) -> None:
        self.sent.append("failure")
        self.meeting.leave()


def trained_by(
    run: Run,
    processes: int,
    *,
    updates: int,
    before: Callable[[Trainer, int], None] = lambda trainer, rank: None,
    after: Callable[[Update, int], None] = lambda update, rank: None,
) -> list[Trainer]:
    """The trainers of so many pretended processes after so many updates, in the order of their ranks.

    ``before``: what is done with each of them before the first update; ``after``: with each update.
    """
    meeting = Meeting(processes)

    def train(rank: int) -> Trainer:
        try:
            trainer = Trainer(run, "cpu", PretendedCrew(meeting, rank))
            before(trainer, rank)
            for _ in range(updates):
                after(trainer.update(), rank)
        except BaseException:
            meeting.leave()
            raise
        return trainer

    with ThreadPoolExecutor(processes) as threads:
        ends = [threads.submit(train, rank) for rank in range(processes)]
    failures = [failure for end in ends if (failure := end.exception()) is not None]
    for failure in failures:
        # Others were waiting for the one that failed.
        if not isinstance(failure, threading.BrokenBarrierError):
            raise failure
    return [end.result() for end in ends]
