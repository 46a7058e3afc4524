"""The first of several processes that train a run together: it reads and writes, and tells the others what to do."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch.distributed as dist

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.machine import device_kind
from icl_curriculum.core.options import given
from icl_curriculum.core.processes import Place
from icl_curriculum.runs.collectives import Collectives, ProcessLost
from icl_curriculum.runs.following import END, order_of, own_device, width_of
from icl_curriculum.runs.together import LEADER
from icl_curriculum.runs.units import expect_seen, starter
from icl_curriculum.training import Trainer

_Told = TypeVar("_Told")
#: Seconds for the other processes to end by themselves, once they are told or their input has ended.
_PATIENCE = 10.0
#: How often it is looked how a process has ended.
_GLANCES = 50


class Leader(Collectives):
    """The first process, of so many that torchrun has started, or that it starts itself when there is work for them."""

    def __init__(self, place: Place, *, starts_others: bool) -> None:
        super().__init__(place)
        self.others: list[subprocess.Popen[bytes]] = []
        self._starts_others = starts_others

    def check(self, runs: Sequence[Run], jobs: int | None = None, on: str | None = None) -> None:
        """UserError for what several processes cannot train together. ``on``: the launcher that is to do it."""
        asked = given("--jobs", jobs) if jobs is not None and jobs > 1 else given("--on", on) if on is not None else ""
        if asked:
            raise UserError(
                f"{asked}: {self.processes} processes train here, one run after another, each together; leave it out"
            )
        expect_seen(runs)
        for run in runs:
            shards = run.experiment.training.shards
            if shards < self.processes:
                raise UserError(
                    f"expected at least {self.processes}, as each of {self.processes} processes needs a shard of its "
                    f"own, found {shards} in {run.variant!r}",
                    key="training.shards",
                    way_out=f"set training.shards = {self.processes}, which changes what a run is, or start "
                    + ("one process" if shards == 1 else f"at most {shards} processes"),
                )

    def device_for(self, device: str) -> str:
        """The device of this process. UserError for one that several processes cannot have one of each."""
        kind = device_kind(device)
        if kind == "mps" or device != kind:
            raise UserError(
                f"{given('--device', device)}: {self.processes} processes train together on the CPU, or each on a CUDA "
                f"device of its own; expected cpu or cuda"
            )
        return own_device(device, self.local_rank)

    @contextlib.contextmanager
    def training(self, run: Run, trainer: Trainer) -> Iterator[None]:
        """A block in which all processes train a run on from a trainer's state, to the last step."""
        order, state = order_of(run, trainer)
        if not self.joined:
            self._start()
        self.broadcast(order)
        self.broadcast(state)
        with self.together(width_of(trainer)):
            self.use(trainer.device)
            yield

    def watched(self, report: Callable[[_Told], None]) -> Callable[[_Told], None]:
        """The same report, which ends the command if a process has ended: evaluation would notice it late."""

        def told(progress: _Told) -> None:
            self._look()
            report(progress)

        return told

    def explained(self, lost: ProcessLost) -> ProcessLost:
        """The same in other words, where it can be seen how the process has ended, soon after its sockets closed."""
        for _ in range(_GLANCES if self.others else 0):
            try:
                self._look()
            except ProcessLost as seen:
                return seen
            time.sleep(0.02)
        return lost

    def dismiss(self, *, at_once: bool) -> None:
        """Tell the others that nothing is left to be done, or end them where this process ends in the middle of it."""
        at_once = at_once or self.within
        if self.joined and not at_once:
            with contextlib.suppress(ProcessLost):
                self.broadcast(END)
        for other in self.others:
            assert other.stdin is not None
            if at_once:
                other.kill()
            other.stdin.close()
        for other in self.others:
            try:
                other.wait(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                other.kill()
                other.wait()
        # What is left of an exchange would be waited for, and those that torchrun has started are not ended here.
        if not at_once or self.others:
            self.leave()
        self.others = []

    def _start(self) -> None:
        """Start the other processes on this machine, and join them."""
        if not self._starts_others:
            self.join()
            return
        make_store = dist.TCPStore  # type: ignore[attr-defined]
        store = make_store("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        for rank in range(1, self.processes):
            self.others.append(
                subprocess.Popen(
                    [*starter(), "--follow", str(rank), str(self.processes), str(store.port)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                )
            )
        while not all(store.check([f"ready/{rank}"]) for rank in range(1, self.processes)):
            self._look()
            time.sleep(0.02)
        self.join(store, self._look)

    def _look(self) -> None:
        """ProcessLost if one of the processes that were started here has ended."""
        for rank, other in enumerate(self.others, start=1):
            code = other.poll()
            if code is not None:
                ended = f"by {signal.Signals(-code).name}" if -code in {*signal.Signals} else f"with code {code}"
                raise ProcessLost(f"process {rank} that trains the run has ended {ended}")


@contextlib.contextmanager
def leading(processes: int | None = None, *, place: Place | None = None) -> Iterator[Leader | None]:
    """Train the runs of the block together with other processes, where there are any.

    ``processes``: how many to train by on this machine, of which this is the first; the others are started when there
    is something to train. ``place``: that of this process among those that torchrun has started, for all blocks within.
    RunFailed, at once, when one of them ends.
    """
    above = LEADER.get()
    if isinstance(above, Leader):
        if processes is not None:
            raise UserError(
                f"{given('--processes', processes)}: torchrun has started {above.processes} processes; leave it out"
            )
        yield above
        return
    if place is None and (processes is None or processes == 1):
        yield None
        return
    leader = Leader(place or Place(0, processes or 1, 0), starts_others=place is None)
    if place is not None:
        leader.join()
    before = LEADER.set(leader)
    at_once = True
    try:
        yield leader
        at_once = False
    except ProcessLost as lost:
        raise RunFailed(str(leader.explained(lost))) from lost
    except (Exception, SystemExit):
        at_once = False
        raise
    finally:
        LEADER.reset(before)
        leader.dismiss(at_once=at_once)
