"""When an update's numbers are asked for: as late as can be, all at once, and on request never."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pytest
from tiny_runs import tiny_run
from torch import Tensor

from icl_curriculum.core.transfers import numbers_of
from icl_curriculum.training import Trainer, trainer


def test_an_adaptive_curriculum_is_told_when_it_decides_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def noted(values: Sequence[Tensor]) -> list[float]:
        read.append(len(values))
        return numbers_of(values)

    monkeypatch.setattr(trainer, "numbers_of", noted)
    made = Trainer(tiny_run({"curriculum.function_classes": "bandit", "curriculum.draw": "prompt"}))
    update = made.update()
    assert not read
    made.update()
    # The losses of all cells of the first update, in one go.
    assert read == [len(update.losses)]
    assert made.curriculum_state["function_classes"]["updates"] == 2
    assert len(read) == 2


@pytest.mark.parametrize(("asked", "watched"), [("1", ["cpu", "cpu", "there", "there"]), ("", ["cpu"] * 4)])
def test_waiting_is_an_error_on_request_once_all_is_made(
    asked: str, watched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    @contextlib.contextmanager
    def never_waiting(device: str) -> Iterator[None]:
        seen.append(device)
        yield

    monkeypatch.setattr(trainer, "never_waiting", never_waiting)
    monkeypatch.setenv("ICL_CURRICULUM_NEVER_WAIT", asked)
    made = Trainer(tiny_run())
    made.device = "cpu:there"
    for _ in range(4):
        made.update()
    assert [device.removeprefix("cpu:") for device in seen] == watched
