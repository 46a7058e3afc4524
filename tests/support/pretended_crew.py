"""Processes that train one run together, pretended by threads of this one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from icl_curriculum.config.experiment import Run
from icl_curriculum.training import Trainer


class Meeting:
    """Where pretended processes meet; each gets what all of them have brought, in the order of their ranks."""

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._barrier = threading.Barrier(processes, timeout=30)
        self._brought: list[object] = [None] * processes

    def met(self, rank: int, brought: object) -> list[object]:
        self._brought[rank] = brought
        self._barrier.wait()
        found = list(self._brought)
        self._barrier.wait()
        return found

    def leave(self) -> None:
        """Nobody waits for a thread that has failed."""
        self._barrier.abort()


class PretendedCrew:
    """What one of the pretended processes knows of them."""

    def __init__(self, meeting: Meeting, rank: int) -> None:
        self.meeting, self.rank, self.processes = meeting, rank, meeting.processes
        self.sent = 0

    def largest(self, numbers: Sequence[int]) -> list[int]:
        found = self.meeting.met(self.rank, list(numbers))
        return [max(place) for place in zip(*found, strict=True)]  # type: ignore[call-overload]

    def gathered(self, own: Tensor) -> list[Tensor]:
        self.sent += 1
        return self.meeting.met(self.rank, own.clone())  # type: ignore[return-value]

    def texts(self, own: str | None) -> list[str | None]:
        return self.meeting.met(self.rank, own)  # type: ignore[return-value]

    def fail(self) -> None:
        self.meeting.leave()


def trained_by(
    run: Run, processes: int, updates: int, look: Callable[[Trainer], None] = lambda trainer: None
) -> list[Trainer]:
    """The trainers of so many pretended processes after so many updates, in the order of their ranks."""
    meeting = Meeting(processes)

    def train(rank: int) -> Trainer:
        try:
            trainer = Trainer(run, "cpu", PretendedCrew(meeting, rank))
            look(trainer)
            for _ in range(updates):
                trainer.update()
        except BaseException:
            meeting.leave()
            raise
        return trainer

    with ThreadPoolExecutor(processes) as threads:
        return list(threads.map(train, range(processes)))
