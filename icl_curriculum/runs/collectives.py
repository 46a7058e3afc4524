"""How the processes that train a run together speak with each other: by torch.distributed, over sockets.

A process waits as long as it takes, since another one may evaluate for hours; one that ends closes its sockets, and
whoever waits for it hears of that at once. What is said on the way goes from CPU to CPU (gloo), gradients on CUDA from
device to device (NCCL).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError, described
from icl_curriculum.core.machine import device_kind, is_out_of_memory
from icl_curriculum.core.options import option
from icl_curriculum.core.processes import Place

#: Nobody waits longer for another process than this, which is as good as for ever.
_EVER = datetime.timedelta(days=3650)
#: The longest pause in seconds between two looks at whether others have come: before an update, and before a run.
_PAUSE, _LONG_PAUSE = 0.005, 0.05
#: What a process says of itself before anything is exchanged in a run. The largest number counts.
_GOES_ON, _LEAVES, _FAILED = 0, 1, 2


class ProcessLost(BaseException):
    """Another process of the crew has ended. No ``Exception``: no component and no run is to blame, and all is over."""

    def __init__(self, what: str = "another process that trains the run has ended") -> None:
        super().__init__(f"{what}; without {option('--fresh')}, the next run continues from the last checkpoint")


class RunOver(BaseException):
    """The run ends for all processes, since one of them has left it or has failed in it."""


class Collectives:
    """The crew of a process, as `training.shards.Crew` describes it, with what begins and ends a run for all.

    In a run every exchange begins with a word of each process on how it fares, so that one that fails or leaves is
    never waited for.
    """

    def __init__(self, place: Place) -> None:
        self.rank, self.processes, self.local_rank = place.rank, place.processes, place.local_rank
        self.joined = False
        self.device = "cpu"
        self._by_device: Any = None
        #: How many numbers are exchanged at most, and how the run has ended, if it has.
        self._width = self._over = 0
        #: Whether this process is in a run, or has left one in a way that the others cannot know of.
        self.within = False

    def join(self, store: Any = None, look: Callable[[], None] = lambda: None) -> None:
        """Meet the others, where torchrun says or at a ``store``. ``look`` is called again and again meanwhile."""
        if dist.is_initialized():
            raise UserError("this process belongs to a group of torch.distributed already, and can belong to one alone")
        errors: list[BaseException] = []

        def meet() -> None:
            try:
                if store is None:
                    dist.init_process_group("gloo", timeout=_EVER)
                else:
                    dist.init_process_group(
                        "gloo", store=store, rank=self.rank, world_size=self.processes, timeout=_EVER
                    )
            except BaseException as error:
                errors.append(error)

        # In a thread of its own, since it hears no signal.
        thread = threading.Thread(target=meet, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.05)
            look()
        if errors:
            raise RunFailed(f"the processes did not find each other: {described(errors[0])}") from errors[0]
        self.joined = True

    def leave(self) -> None:
        """Leave the others, without a word."""
        if self.joined:
            self.joined = False
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()

    def use(self, device: str) -> None:
        """Exchange gradients from a device to those of the others. All processes call it, once they have one."""
        self._agree(_GOES_ON)
        self.device = device
        if device_kind(device) == "cuda" and self._by_device is None:
            torch.cuda.set_device(device)
            self._by_device = dist.new_group(backend="nccl")

    # What the crew of a trainer can do

    def largest(self, numbers: Sequence[int]) -> list[int]:
        return self._agree(_GOES_ON, numbers)[: len(numbers)]

    def gathered(self, own: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(own) for _ in range(self.processes)]
        if self._by_device is not None:
            dist.all_gather(parts, own, group=self._by_device)
        else:
            _done(lambda: dist.all_gather(parts, own, async_op=True), _PAUSE)
        return parts

    def texts(self, own: str | None) -> list[str | None]:
        self._agree(_GOES_ON)
        return [None if text is None else str(text) for text in self._exchanged(own)]

    def fail(self) -> None:
        with contextlib.suppress(RunOver):
            self._agree(_FAILED)

    # What begins and ends a run

    def broadcast(self, content: bytes | None = None) -> bytes:
        """What the first process says, to all; the others give nothing."""
        size = torch.tensor([0 if content is None else len(content)])
        _done(lambda: dist.broadcast(size, 0, async_op=True), _LONG_PAUSE)
        whole = torch.empty(int(size), dtype=torch.uint8)
        if content:
            whole = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        if len(whole):
            _done(lambda: dist.broadcast(whole, 0, async_op=True), _LONG_PAUSE)
        return whole.numpy().tobytes()

    @contextlib.contextmanager
    def together(self, width: int) -> Iterator[None]:
        """A block in which all processes train one run, and which ends for all of them or for none.

        The first process may leave it by any error, at which it ends for the others without one. What another process
        fails by is raised in all. ``width``: how many numbers `largest` is given at most.
        """
        self._width, self._over, self.within = width, _GOES_ON, True
        try:
            yield
            self._agree(_GOES_ON)
            self.within = False
        except RunOver:
            failures = self._failures(None)
            self.within = False
            if failures:
                raise failures[0] from None
        except Exception as error:
            if self._over == _GOES_ON:
                with contextlib.suppress(RunOver):
                    self._agree(_LEAVES if self.rank == 0 else _FAILED)
            self._failures(error)
            self.within = False
            raise

    def _agree(self, how: int, numbers: Sequence[int] = ()) -> list[int]:
        """The largest of the numbers of all processes. `RunOver` unless all of them go on."""
        told = torch.tensor([how, *numbers, *[0] * (self._width - len(numbers))])
        _done(lambda: dist.all_reduce(told, op=dist.ReduceOp.MAX, async_op=True), _PAUSE)
        self._over, *largest = told.tolist()
        if self._over != _GOES_ON:
            raise RunOver
        return largest

    def _failures(self, own: Exception | None) -> list[Exception]:
        """What processes have failed by, in the order of their ranks, where any has."""
        if self._over != _FAILED:
            return []
        told = self._exchanged(None if own is None else [_kind(own), str(own), described(own)])
        return [_as_raised(rank, *found) for rank, found in enumerate(told) if found is not None]

    def _exchanged(self, own: Any) -> list[Any]:
        """What each process gives that JSON can hold, in the order of their ranks."""
        content = json.dumps(own).encode()
        sizes = [torch.empty(1, dtype=torch.int64) for _ in range(self.processes)]
        _done(lambda: dist.all_gather(sizes, torch.tensor([len(content)]), async_op=True), _PAUSE)
        longest = max(int(size) for size in sizes)
        padded = torch.frombuffer(bytearray(content.ljust(longest)), dtype=torch.uint8)
        parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.processes)]
        _done(lambda: dist.all_gather(parts, padded, async_op=True), _PAUSE)
        return [json.loads(part.numpy().tobytes()) for part in parts]


def _done(begin: Callable[[], Any], longest: float) -> None:
    """Begin an exchange and wait until it is done, ready to hear a signal. ProcessLost if another process has ended."""
    try:
        work, pause = begin(), 2e-5
        while not work.is_completed():
            time.sleep(pause)
            pause = min(1.5 * pause, longest)
        work.wait()
    except RuntimeError as error:
        raise ProcessLost from error


def _kind(error: Exception) -> str:
    if isinstance(error, ComponentFailed):
        return "component"
    if isinstance(error, UserError | RunFailed):
        return "told"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
        return "memory"
    return "other"


def _as_raised(rank: int, kind: str, message: str, whole: str) -> Exception:
    """The error of another process, as it would have been raised in this one."""
    if kind == "component":
        return ComponentFailed(message)
    if kind == "memory":
        return MemoryError(message)
    return RunFailed(message if kind == "told" else f"process {rank} failed: {whole}")
