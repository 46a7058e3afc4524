"""The losses of updates stay where they are until rows are written, for which a device is waited for."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tiny_runs import tiny_run
from torch import Tensor

from icl_curriculum.core.transfers import numbers_of
from icl_curriculum.runs import recording
from icl_curriculum.runs.recording import Interval
from icl_curriculum.training import Trainer


def test_losses_are_read_once_when_rows_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def noted(values: Sequence[Tensor]) -> list[float]:
        read.append(len(values))
        return numbers_of(values)

    monkeypatch.setattr(recording, "numbers_of", noted)
    made, interval = Trainer(tiny_run()), Interval()
    updates = [made.update() for _ in range(3)]
    for update in updates:
        interval.add(update)
    assert not read
    means = interval.means(made.tasks)
    assert read == [3]
    assert interval.means(made.tasks) == means
    assert [loss for *_, loss, _ in interval.losses] == [float(update.losses[0].value) for update in updates]
    assert sum(read) == 3
