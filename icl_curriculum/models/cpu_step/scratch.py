"""Memory that outlives an update: passes over newly allocated memory take several times as long."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Scratch:
    """A buffer per name."""

    def __init__(self) -> None:
        self.buffers: dict[Any, Tensor] = {}
        self.views: dict[Any, NDArray[np.float32]] = {}

    def __call__(self, name: Any, *shape: int) -> NDArray[np.float32]:
        """An uninitialised array; the next call with the same name returns the same memory."""
        view = self.views.get((name, shape))
        if view is None:
            size = math.prod(shape)
            held = self.buffers.get(name)
            if held is None or held.numel() < size:
                # By torch, whose memory begins where the processor's vectors want it to.
                held = self.buffers[name] = torch.empty(size)
                self.views = {key: old for key, old in self.views.items() if key[0] != name}
            view = self.views[name, shape] = held[:size].view(shape).numpy()
        return view


_local = threading.local()


def scratch_of_this_thread() -> Scratch:
    if not hasattr(_local, "scratch"):
        _local.scratch = Scratch()
    scratch: Scratch = _local.scratch
    return scratch
