"""What tests of the bench measure, and the clock that they go by."""

from __future__ import annotations

from collections.abc import Callable

from icl_curriculum.bench.tables import ModelSize

TINY = ModelSize("tiny", width=8, layers=2, heads=2, points=5, dims=3, batch=4)


def quiet(share: float, detail: str = "") -> None:
    """Nobody is told how far it is."""


class Clock:
    """A clock that only the competitors advance."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def taking(self, name: str, seconds: float) -> Callable[[], None]:
        def call() -> None:
            self.calls.append(name)
            self.now += seconds

        return call
