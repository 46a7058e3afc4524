"""Workers on the devices of a machine, which are pretended: what each sees is what decides where it computes."""

from __future__ import annotations

import pytest
import torch

from icl_curriculum.runs import pool as pools
from icl_curriculum.runs.slots import VISIBLE, DeviceSlots, visible_devices


@pytest.fixture
def four_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("four_devices")
def test_every_worker_has_a_device_and_every_device_as_many_workers() -> None:
    slots = DeviceSlots("cuda")
    taken = [slots.take(f"a-seed{seed}")[VISIBLE] for seed in range(6)]
    assert taken == ["0", "1", "2", "3", "0", "1"]
    slots.give_back("a-seed2")
    assert slots.take("a-seed6") == {VISIBLE: "2"}


@pytest.mark.usefixtures("four_devices")
@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:1"])
def test_another_device_is_that_of_every_worker(device: str) -> None:
    assert DeviceSlots(device).take("a-seed0") == {}


def test_a_single_device_needs_no_dealing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert DeviceSlots("cuda").take("a-seed0") == {}


@pytest.mark.usefixtures("four_devices")
def test_devices_are_those_that_the_command_sees_by_the_names_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a cluster names them, which sets aside some devices of a node for a job."""
    monkeypatch.setenv(VISIBLE, "GPU-8932f937, MIG-1 ,3")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert visible_devices() == ["GPU-8932f937", "MIG-1", "3"]


@pytest.mark.usefixtures("four_devices")
def test_the_pool_gives_its_workers_their_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pools.WorkerPool(None, "cuda", print, print, print).slots.take("a") == {VISIBLE: "0"}  # type: ignore[arg-type]
