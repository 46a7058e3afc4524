"""Threads of this process for work that is shared out by hand, beside those that torch takes for an operation.

The two get in each other's way: after an operation torch's threads wait for the next in turns of the processor, for
milliseconds, and take them from whoever else wants to compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

from icl_curriculum.core.machine import computing_threads

Share = TypeVar("Share")
Done = TypeVar("Done")

_left: ContextVar[int | None] = ContextVar("_left", default=None)
_pools: dict[int, ThreadPoolExecutor] = {}
# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pools.clear)


@contextmanager
def sharing_threads() -> Iterator[None]:
    """Let each operation compute in one thread during the block, and leave all threads to `in_threads`."""
    if sharing():
        yield
        return
    number = torch.get_num_threads()
    with computing_threads(1):
        before = _left.set(number)
        try:
            yield
        finally:
            _left.reset(before)


def sharing() -> bool:
    """Says whether this is within `sharing_threads`."""
    return _left.get() is not None


def threads_to_share() -> int:
    """The number of threads that work may be shared out to: those that torch would take."""
    left = _left.get()
    return torch.get_num_threads() if left is None else left


def in_threads(work: Callable[[Share], Done], shares: Sequence[Share]) -> list[Done]:
    """Does each share in a thread of its own, the first in this one; no operation takes further threads."""
    if len(shares) == 1:
        return [work(shares[0])]
    others = len(shares) - 1
    if others not in _pools:
        # MKL's number of threads is each thread's own.
        _pools[others] = ThreadPoolExecutor(others, "icl-training", torch.set_num_threads, (1,))
    with sharing_threads():
        pending = [_pools[others].submit(work, share) for share in shares[1:]]
        try:
            return [work(shares[0]), *(future.result() for future in pending)]
        finally:
            wait(pending)
