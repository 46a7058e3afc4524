"""Follows the tasks of job arrays to their ends: attaches to those under way, and submits anew what was lost."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.locks import locked
from icl_curriculum.launchers.base import MOST_RESTARTS, Launch, LaunchUnit, LaunchWatch, UnitProblem
from icl_curriculum.launchers.batch_files import LAUNCHED, Ended, JobArray, TaskFolder, arrays_in
from icl_curriculum.launchers.batch_queue import NoAnswer, Queue, QueuedTask, standing_in

#: Seconds after which it is said once more that the batch system does not answer, or refuses what was lost.
SAY_AGAIN = 60.0
#: At which look it is said that another command is waited for, which submits; they are half a second apart.
SAY_AFTER = 10


class BatchSystem(Protocol):
    """What is asked of a `BatchLauncher` here."""

    @property
    def poll(self) -> float: ...
    @property
    def patience(self) -> float: ...
    def submitted(self, launch: Launch, units: Sequence[LaunchUnit], restarts: Mapping[str, int]) -> list[JobArray]: ...
    def queue(self, arrays: Sequence[JobArray]) -> Queue: ...
    def cancelling(self, array: JobArray) -> str: ...


@dataclass
class _Followed:
    """A unit and the task that executes it at the moment."""

    unit: LaunchUnit
    array: JobArray
    number: int
    restarts: int = 0
    #: Since when the queue has not known it.
    lost_since: float | None = None
    heard: tuple[str, int] = ("", 0)
    attempt: str = ""
    said: str = ""

    @property
    def folder(self) -> TaskFolder:
        return self.array.task(self.number)

    @property
    def job(self) -> str:
        return f"{self.array.job}_{self.number}"


@dataclass
class Keeper:
    """Follows the units of a launch to their ends."""

    system: BatchSystem
    launch: Launch
    watch: LaunchWatch
    open: dict[str, _Followed] = field(default_factory=dict)
    #: The units that are to be submitted, each with the task that executed it.
    lost: dict[str, _Followed] = field(default_factory=dict)
    #: The units that have ended well, each with the token of the array in which it did.
    well: dict[str, str] = field(default_factory=dict)
    said_no_answer: float | None = None
    said_refused: float | None = None

    def keep(self) -> None:
        """Attach to what is under way, submit what is not, and follow all of it until every unit has ended."""
        self._attach()
        while self.open or self.lost:
            time.sleep(self.system.poll)
            arrays = list({each.array.token: each.array for each in self.open.values()}.values())
            queue = self._queue(arrays)
            for each in list(self.open.values()):
                self._look(each, queue)
            if self.lost:
                self._submit_lost()
        self._tidy()

    def _attach(self) -> None:
        """Take up the tasks that execute units of this launch already, and submit the other units.

        UserError, with nothing submitted, where a task is under way that would write a unit of another config.
        """
        with self._submitting_alone():
            arrays = arrays_in(self.launch.folder)
            queue: Queue = {}
            while arrays:
                found = self._queue(arrays)
                if found is not None:
                    queue = found
                    break
                time.sleep(self.system.poll)
            for unit in self.launch.units:
                places = [(array, array.units.index(unit.name)) for array in arrays if unit.name in array.units]
                for array, number in places[-1:]:
                    if standing_in(array, number, queue).state not in ("waiting", "running", "requeued"):
                        continue
                    if array.keys[number] != unit.key:
                        ends = self.system.cancelling(array)
                        raise UserError(
                            f"{unit.name} of {self.launch.experiment} is under way in job {array.job}_{number} with "
                            f"another config", way_out=f"wait for it, or end it{f' by {ends}' if ends else ''}",
                        )  # fmt: skip
                    restarts = array.restarts.get(unit.name, 0)
                    self.open[unit.name] = _Followed(unit, array, number, restarts)
            if self.open:
                jobs = sorted({each.array.job for each in self.open.values()})
                self.watch.note(f"attached to {_runs(len(self.open))} under way, job {', '.join(jobs)}")
            rest = {unit.name: 0 for unit in self.launch.units if unit.name not in self.open}
            self._submit_locked(rest)

    def _submit_lost(self) -> None:
        """Submit what was lost, unless another command that follows it has done that: then follow it there."""
        with self._submitting_alone():
            arrays = arrays_in(self.launch.folder)
            for each in list(self.lost.values()):
                name, key = each.unit.name, each.unit.key
                later = [array for array in arrays if array.token > each.array.token and name in array.units]
                for array in later[-1:]:
                    number = array.units.index(name)
                    if array.keys[number] == key:
                        self.open[name] = _Followed(each.unit, array, number, array.restarts.get(name, 0))
                        del self.lost[name]
            try:
                self._submit_locked({name: each.restarts for name, each in self.lost.items()})
            except UserError as error:
                # It may be for the moment that nothing is taken, and others are to be followed meanwhile.
                if not self.open:
                    raise
                if self.said_refused is None or time.monotonic() - self.said_refused > SAY_AGAIN:
                    self.said_refused = time.monotonic()
                    self.watch.note(f"{error}; {_runs(len(self.lost))} will be submitted again")
                return
            self.lost, self.said_refused = {}, None

    @contextlib.contextmanager
    def _submitting_alone(self) -> Iterator[None]:
        """A block in which no other command attaches or submits here. One that takes its time over that is named."""
        waits = 0

        def waiting(holder: str) -> None:
            nonlocal waits
            waits += 1
            if waits == SAY_AFTER:
                self.watch.note(f"another command is submitting runs here, and is waited for: {holder}")

        with locked(self.launch.folder / LAUNCHED / ".lock", waiting=waiting):
            yield

    def _submit_locked(self, restarts: Mapping[str, int]) -> None:
        units = [unit for unit in self.launch.units if unit.name in restarts]
        if not units:
            return
        for array in self.system.submitted(self.launch, units, restarts):
            by_name = {unit.name: unit for unit in units}
            for number, name in enumerate(array.units):
                self.open[name] = _Followed(by_name[name], array, number, restarts[name])
            number = len(array.units)
            ends = self.system.cancelling(array)
            self.watch.note(f"submitted {_runs(number)} as job {array.job}{f'; {ends} ends it' if ends else ''}")

    def _queue(self, arrays: Sequence[JobArray]) -> Queue | None:
        """What the batch system knows of the arrays; None where it does not answer, which is said."""
        try:
            found = self.system.queue(arrays)
        except NoAnswer as error:
            now = time.monotonic()
            if self.said_no_answer is None or now - self.said_no_answer > SAY_AGAIN:
                self.said_no_answer = now
                self.watch.note(f"the batch system does not answer, and is asked again: {error}")
            return None
        self.said_no_answer = None
        return found

    def _look(self, each: _Followed, queue: Queue | None) -> None:
        """Tell what is new of a unit, and note it where it was lost."""
        ended = each.folder.ended()
        self._tell(each, ended)
        if ended is not None and ended.how in ("finished", "failed"):
            problem = None if ended.how == "finished" else UnitProblem(ended.message, ended.details)
            self._close(each, problem)
        elif not each.array.folder.is_dir():
            # Another command has followed it to its end, and has tidied up.
            self._close(each, None)
        elif queue is not None:
            task = queue.get((each.array.token, each.number))
            if task is None or task.state in ("ended", "cancelled"):
                self._look_for(each, ended, task)
            else:
                each.lost_since = None
                standing = standing_in(each.array, each.number, queue)
                if standing.state != "running" and each.said != standing.why:
                    each.said = standing.why
                    self.watch.waiting(each.unit.name, standing.why)

    def _tell(self, each: _Followed, ended: Ended | None) -> None:
        """Pass on that it is being executed, and what its process has said last."""
        attempt = each.folder.attempt().get("attempt", "")
        if attempt and attempt != each.attempt and (ended is None or ended.how in ("finished", "failed")):
            each.attempt, each.said = attempt, ""
            self.watch.started(each.unit.name)
        told = each.folder.told()
        if told and (told["attempt"], told["number"]) != each.heard:
            each.heard = (told["attempt"], told["number"])
            # Whatever the queue knows: it is at work.
            each.lost_since = None
            self.watch.heard(each.unit.name, told["message"])

    def _look_for(self, each: _Followed, ended: Ended | None, task: QueuedTask | None) -> None:
        """Judge a unit that has not said that it is done, and that the queue does not execute any more."""
        now = time.monotonic()
        each.lost_since = now if each.lost_since is None else each.lost_since
        # What another machine has written is seen here a little later, and a task that is put back into the queue may
        # be missing from it for a moment.
        patience = self.system.patience if ended is None else min(self.system.patience, 2 * self.system.poll)
        if now - each.lost_since < patience:
            return
        why = _because(task.why if task is not None else "")
        if task is not None and task.state == "cancelled":
            self._close(each, UnitProblem(f"{each.unit.name}: job {each.job} was cancelled{why}"))
        elif ended is not None and ended.how in ("stopped", "terminated"):
            self._lose(each)
        elif each.restarts < MOST_RESTARTS:
            what = f"was killed on {each.folder.attempt().get('where')}" if ended is not None else "vanished"
            self.watch.note(f"{each.unit.name}: job {each.job} {what}{why}; it is submitted once more")
            each.restarts += 1
            self._lose(each)
        else:
            message = ended.message if ended is not None else f"{each.unit.name}: job {each.job} vanished{why}"
            log = f"; its log is {each.folder.log}" if each.folder.log.is_file() else ""
            again = f"{message}; it was started {MOST_RESTARTS + 1} times{log}"
            self._close(each, UnitProblem(again, ended.details if ended is not None else ""))

    def _lose(self, each: _Followed) -> None:
        del self.open[each.unit.name]
        self.lost[each.unit.name] = each

    def _close(self, each: _Followed, problem: UnitProblem | None) -> None:
        del self.open[each.unit.name]
        if problem is None:
            self.well[each.unit.name] = each.array.token
        self.watch.ended(each.unit.name, problem)

    def _tidy(self) -> None:
        """Remove the folders of arrays whose units are all finished; those of others hold what is to be known."""
        for array in arrays_in(self.launch.folder):
            # One that was killed may have finished in a later array; one that was launched since is another command's.
            left = [number for number, name in enumerate(array.units) if array.token > self.well.get(name, "")]
            endings = [array.task(number).ended() for number in left]
            if all(ended is not None and ended.how == "finished" for ended in endings):
                shutil.rmtree(array.folder, ignore_errors=True)


def _because(why: str) -> str:
    return f" ({why})" if why else ""


def _runs(number: int) -> str:
    return f"{number} run{'s' * (number > 1)}"
