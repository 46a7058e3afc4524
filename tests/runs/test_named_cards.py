"""The manifest of a run on a GPU says which one it was, as the bytes are those of its model of card."""

from __future__ import annotations

import pytest
import torch
from tiny_runs import tiny_run

from icl_curriculum.runs.description import described


def test_the_manifest_names_the_card_and_its_libraries_and_on_a_cpu_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"the card of {device}")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    on_gpu, on_cpu = (
        described(tiny_run(), "running", device=device, started="now", seconds=0.0) for device in ("cuda:1", "cpu")
    )
    assert (on_gpu["card"], on_gpu["cuda_version"]) == ("the card of cuda:1", "12.8")
    assert {*on_gpu} - {*on_cpu} == {"card", "cuda_version"}
