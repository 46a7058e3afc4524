"""On which device of this machine each worker computes: every one of several CUDA devices has workers of its own."""

from __future__ import annotations

import os
from collections import Counter

import torch

#: The variable that says which devices a process sees, and in which order.
VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible_devices() -> list[str]:
    """The CUDA devices that this process sees, as their names or numbers are written in `VISIBLE`."""
    number = torch.cuda.device_count()
    said = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
    return said[:number] if said else [str(index) for index in range(number)]


class DeviceSlots:
    """Deals out devices to workers, always the one that has the fewest.

    ``device``: the one that was asked for. ``cuda`` stands for all that are visible; ``cuda:1``, ``cpu`` and ``mps``
    for themselves, for every worker alike.
    """

    def __init__(self, device: str) -> None:
        self._devices = visible_devices() if device == "cuda" else []
        self._taken = Counter(dict.fromkeys(self._devices, 0))
        self._of: dict[str, str] = {}

    def take(self, run: str) -> dict[str, str]:
        """The environment of the worker of a run, in which it sees its own device alone."""
        # With a single one, there is nothing to deal out.
        if len(self._devices) < 2:
            return {}
        chosen = min(self._devices, key=lambda device: self._taken[device])
        self._taken[chosen] += 1
        self._of[run] = chosen
        return {VISIBLE: chosen}

    def give_back(self, run: str) -> None:
        """Note that the worker of a run has ended."""
        device = self._of.pop(run, None)
        if device is not None:
            self._taken[device] -= 1
