"""Which devices there are, and how many runs go on them at once."""

from __future__ import annotations

import os

from icl_curriculum.registry import UserError


def resolve_device(device: str) -> str:
    """``auto``: CUDA, else MPS, else the CPU. UserError for a device that is not there."""
    import torch

    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.append("mps")
    if torch.cuda.is_available():
        available.append("cuda")
    if device == "auto":
        return available[-1]
    kind, _, index = device.partition(":")
    numbered = device == kind or (kind == "cuda" and index.isdecimal() and int(index) < torch.cuda.device_count())
    if kind not in available or not numbered:
        raise UserError(f"--device {device}: not on this machine; available: auto, {', '.join(available)}")
    return device


def available_cores() -> int:
    """The cores this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs(runs: int, cores: int) -> int:
    """How many runs to execute at once so that no core idles in the last round.

    Three runs on two cores share them and take 1.5 times one run; two at a time would take twice.

    >>> [default_jobs(runs, 2) for runs in (1, 2, 3, 4, 5)]
    [1, 2, 3, 2, 3]
    """
    rounds = max(1, runs // cores)
    return max(1, -(-runs // rounds))
