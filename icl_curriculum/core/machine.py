"""The machine: its devices, cores and threads, in which precision it computes, and how it runs out of memory."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from threadpoolctl import ThreadpoolController

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.log import LOG
from icl_curriculum.core.options import given

_OUT_OF_MEMORY = re.compile("(not enough|out of|allocate) memory|_ALLOC_FAILED")
#: The variable that gives cuBLAS workspaces of a fixed size, and the values with which its products repeat.
_WORKSPACE, _WORKSPACES = "CUBLAS_WORKSPACE_CONFIG", (":4096:8", ":16:8")
#: The variable that makes a wait for the device an error during updates of training, if it is 1.
NEVER_WAIT = "ICL_CURRICULUM_NEVER_WAIT"


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, here or on a device.

    On the CPU torch has no type of its own for this error, nor has it where CUDA's libraries find none: the message
    must tell.
    """
    return isinstance(error, torch.OutOfMemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


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
    """Compute matrix products in this precision during the block. Parts that a model excepts stay in float32.

    Weights that are rounded for bfloat16 are rounded at every use: they change within the block, at inner steps.
    """
    kind = device_kind(device)
    with contextlib.ExitStack() as undo:
        undo.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        if kind == "cuda":
            undo.enter_context(_tf32_in_cudnn(precision == "tf32"))
        undo.enter_context(
            torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False)
        )
        yield


@contextlib.contextmanager
def _tf32_in_cudnn(allowed: bool) -> Iterator[None]:
    """Let cuDNN, which computes recurrent layers, round products to TF32 or not. By default torch lets it."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@contextlib.contextmanager
def reproducible(device: str) -> Iterator[None]:
    """Compute on this device by kernels whose sums do not depend on timing. On the CPU all kernels are like that.

    On CUDA an operation that has no such kernel is an error; products are in float32 unless `arithmetic` says
    otherwise; and `fix_workspace` is called, whose UserError passes. On MPS, of whose kernels nothing is promised,
    torch warns. New memory is not filled, as nothing reads what it has not written.
    """
    kind = device_kind(device)
    if kind == "cpu":
        yield
        return
    with contextlib.ExitStack() as undo:
        if kind == "cuda":
            fix_workspace()
            if device != kind:
                # Memory that copies pass through, and CUDA's own libraries, are of the current device.
                undo.enter_context(torch.cuda.device(device))
            undo.enter_context(_tf32_in_cudnn(False))
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        undo.callback(torch.use_deterministic_algorithms, before[0], warn_only=before[1])
        torch.use_deterministic_algorithms(True, warn_only=kind != "cuda")
        memory: Any = torch.utils.deterministic
        undo.callback(setattr, memory, "fill_uninitialized_memory", memory.fill_uninitialized_memory)
        memory.fill_uninitialized_memory = False
        yield


def fix_workspace() -> None:
    """Give cuBLAS workspaces of a fixed size, for the rest of this process, without which its products do not repeat.

    It reads them from the environment when it is first used. UserError where that is too late, or where the
    environment says something else.
    """
    _workspace_if_in_time()
    found = os.environ.get(_WORKSPACE)
    if found in _WORKSPACES:
        return
    if found is not None:
        raise UserError(
            f"CUDA's matrix products repeat with {_WORKSPACE}={' or '.join(_WORKSPACES)} alone, found {found!r}",
            way_out="unset it",
        )
    raise UserError(
        f"CUDA was used in this process before {_WORKSPACE} was set, without which its matrix products do not repeat",
        way_out=f"set {_WORKSPACE}={_WORKSPACES[0]} before Python starts, or let worker processes execute the runs, as "
        f"they do by default",
    )


def _workspace_if_in_time() -> None:
    if _WORKSPACE not in os.environ and not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        os.environ[_WORKSPACE] = _WORKSPACES[0]


@contextlib.contextmanager
def never_waiting(device: str) -> Iterator[None]:
    """Make it an error during the block if the program waits for the device: torch's check of CUDA, of no other."""
    if device_kind(device) != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def device_kind(device: str) -> str:
    """The kind of a device, ``cpu``, ``cuda`` or ``mps``, without the number that may follow as in ``cuda:1``."""
    return device.partition(":")[0]


def card_of(device: str) -> str | None:
    """The model of a CUDA card, such as ``NVIDIA H100``; None for another kind of device."""
    return torch.cuda.get_device_name(device) if device_kind(device) == "cuda" else None


def waiting_for(device: str) -> Callable[[], None]:
    """A function that returns when the device has finished what it was given."""
    if device_kind(device) == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return torch.mps.synchronize if device_kind(device) == "mps" else lambda: None


def resolve_device(device: str) -> str:
    """Returns the device to use; ``auto`` is CUDA, else MPS, else the CPU. UserError for one that is not there.

    Whoever asks for CUDA is about to use it, so this is where `fix_workspace` is in time, if anywhere.
    """
    if not isinstance(device, str):
        device = str(device) if isinstance(device, torch.device) else repr(device)
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.append("mps")
    if torch.cuda.is_available():
        available.append("cuda")
    if device == "auto":
        LOG.info("device: %s, of %s", available[-1], ", ".join(available))
        if available[-1] == "cuda":
            _workspace_if_in_time()
        return available[-1]
    kind, index = device_kind(device), device.partition(":")[2]
    if kind == "cuda":
        _workspace_if_in_time()
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
