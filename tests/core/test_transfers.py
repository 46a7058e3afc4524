"""Numbers on their way between the CPU and a device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from icl_curriculum.core.transfers import free_to_look, numbers_of, sent


def test_numbers_are_read_in_their_order_whatever_their_type() -> None:
    values = [torch.tensor(0.1), torch.tensor(0.1, dtype=torch.float64), torch.tensor([2.5]), torch.tensor(-3)]
    assert numbers_of(values) == [float(torch.tensor(0.1)), 0.1, 2.5, -3.0]
    assert numbers_of([]) == []


def test_what_is_sent_to_cuda_comes_from_pinned_memory_and_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    value = torch.arange(3)

    def pin_memory(self: Tensor) -> Tensor:
        calls.append("pinned")
        return self

    def to(self: Tensor, device: torch.device, *, non_blocking: bool) -> Tensor:
        calls.append((str(device), non_blocking))
        return self

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    sent(value, "cuda:1")
    sent(value, torch.device("cpu"))
    # A copy to MPS that is not waited for may read memory that is gone.
    sent(value, "mps")
    assert calls == ["pinned", ("cuda:1", True), ("cpu", False), ("mps", False)]


def test_the_program_may_look_at_what_lies_on_the_cpu() -> None:
    assert free_to_look(torch.zeros(2))
    assert not free_to_look(torch.zeros(2, device="meta"))
