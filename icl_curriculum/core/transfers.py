"""Numbers on their way between the CPU and the device that computes, which is waited for as seldom as can be.

A program that asks an accelerator for a number waits until all before it is done, and then the accelerator waits for
the program: small models spend most of their time like that.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def free_to_look(value: Tensor) -> bool:
    """Whether the program may look at the values of a tensor: elsewhere than on CUDA it waits for them.

    MPS is waited for, since it has no float64, in which a device counts by itself.
    """
    return value.device.type in ("cpu", "mps")


def sent(value: Tensor, device: str | torch.device) -> Tensor:
    """A tensor of the CPU on the device, which is not waited for. It must not be changed afterwards."""
    where = torch.device(device)
    if where.type == "cuda" and value.device.type == "cpu":
        # From other memory the copy would be waited for.
        value = value.pin_memory()
    return value.to(where, non_blocking=where.type not in ("cpu", "mps"))


def numbers_of(values: Sequence[Tensor]) -> list[float]:
    """The numbers in tensors of one number each. It waits for each device that they lie on, and for each only once."""
    found = [0.0] * len(values)
    by_device: dict[torch.device, list[int]] = {}
    for place, value in enumerate(values):
        by_device.setdefault(value.device, []).append(place)
    for device, places in by_device.items():
        if device.type == "cpu":
            read = [float(values[place]) for place in places]
        else:
            read = torch.cat([values[place].detach().reshape(1) for place in places]).cpu().tolist()
        for place, number in zip(places, read, strict=True):
            found[place] = number
    return found
