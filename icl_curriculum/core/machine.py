"""The machine: its devices, cores and threads, in which precision it computes, and how it runs out of memory."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from threadpoolctl import ThreadpoolController

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.log import LOG
from icl_curriculum.core.options import given

_OUT_OF_MEMORY = re.compile("(not enough|out of|allocate) memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out. On the CPU torch has no type of its own for this error, so its message must tell."""
    return bool(_OUT_OF_MEMORY.search(str(error)))


@contextlib.contextmanager
def computing_threads(number: int) -> Iterator[None]:
    """Compute with ``number`` threads during the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        # torch obeys its own setting; this one is for the libraries behind numpy.
        with _libraries().limit(limits=number):
            yield
    finally:
        torch.set_num_threads(before)


def _libraries() -> ThreadpoolController:
    """The libraries that compute with threads. They are looked for anew only where something was imported since."""
    # By the number of modules and the one that came last, since all their names take as long as many an update.
    return _libraries_of(len(sys.modules), next(reversed(sys.modules)))


@functools.lru_cache(maxsize=1)
def _libraries_of(modules: int, last: str) -> ThreadpoolController:
    return ThreadpoolController()


Precision = Literal["float32", "tf32", "bfloat16"]


def check_precision(precision: Precision, device: str) -> None:
    """Raise UserError for a precision that this kind of device does not have."""
    if precision == "tf32" and device_kind(device) != "cuda":
        raise UserError(
            f"tf32 is of CUDA devices, found {device}; expected float32 or bfloat16", key="training.precision"
        )


@contextlib.contextmanager
def arithmetic(precision: Precision, device: str) -> Iterator[None]:
    """Compute matrix products in this precision during the block. Parts that a model excepts stay in float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        with torch.autocast(device_kind(device), dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Choose kernels whose sums do not depend on timing, on an accelerator. On the CPU all kernels are like that.

    CUDA's matrix products also want CUBLAS_WORKSPACE_CONFIG, which `launch` sets for its workers.
    """
    if device == "cpu":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def device_kind(device: str) -> str:
    """The kind of a device, ``cpu``, ``cuda`` or ``mps``, without the number that may follow as in ``cuda:1``."""
    return device.partition(":")[0]


def waiting_for(device: str) -> Callable[[], None]:
    """A function that returns when the device has finished what it was given."""
    if device_kind(device) == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device_kind(device) == "mps" else lambda: None


def resolve_device(device: str) -> str:
    """Returns the device to use; ``auto`` is CUDA, else MPS, else the CPU. UserError for one that is not there."""
    if not isinstance(device, str):
        device = str(device) if isinstance(device, torch.device) else repr(device)
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.append("mps")
    if torch.cuda.is_available():
        available.append("cuda")
    if device == "auto":
        LOG.info("device: %s, of %s", available[-1], ", ".join(available))
        return available[-1]
    kind, index = device_kind(device), device.partition(":")[2]
    numbered = device == kind or (kind == "cuda" and index.isdecimal() and int(index) < torch.cuda.device_count())
    if kind not in available or not numbered:
        raise UserError(f"{given('--device', device)}: not on this machine; available: auto, {', '.join(available)}")
    return device


def machine_memory() -> float:
    """The bytes of this machine's memory; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return float("inf")


def available_cores() -> int:
    """The cores this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
