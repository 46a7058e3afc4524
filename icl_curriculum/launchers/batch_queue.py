"""What a batch system says of the tasks of job arrays, and how far a unit is by that and by its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from icl_curriculum.launchers.base import UnitStanding
from icl_curriculum.launchers.batch_files import Ending, JobArray

#: ``waiting`` in the queue; ``running``; ``ended``, as the system still knows, perhaps with why; ``cancelled``, by
#: whoever may.
TaskState = Literal["waiting", "running", "ended", "cancelled"]


@dataclass(frozen=True)
class QueuedTask:
    """What a batch system says of a task: its state, the reason for which it waits or ended, and its own name."""

    state: TaskState
    why: str = ""
    job: str = ""


#: Tasks by the token of their array and their number in it. One that the system does not know is left out.
Queue = Mapping[tuple[str, int], QueuedTask]


class NoAnswer(Exception):
    """The batch system did not answer. Nothing is concluded from that, and it is asked again."""


#: Why an attempt ended that goes on, in words.
_WHY: dict[Ending, str] = {"stopped": "its time was nearly over", "terminated": "it made room for another job"}


def standing_in(array: JobArray, number: int, queue: Queue | None) -> UnitStanding:
    """How far a task is, by what it has left in its folder and what the queue knows; None: it does not answer."""
    folder = array.task(number)
    task = None if queue is None else queue.get((array.token, number))
    ended, begun = folder.ended(), folder.attempt()
    job = (task.job if task is not None else "") or (f"{array.job}_{number}" if array.job else "")
    if ended is not None and ended.how in ("finished", "failed"):
        return UnitStanding("ended", job, ended.message)
    if queue is None:
        at_work = bool(begun) and ended is None
        return UnitStanding("running" if at_work else "waiting", job, "the queue does not answer")
    if task is None or task.state in ("ended", "cancelled"):
        why = task.why if task is not None else ""
        return UnitStanding("gone", job, why or (ended.message if ended is not None else ""))
    if task.state == "running" and ended is None:
        return UnitStanding("running" if begun else "waiting", job, begun.get("where", "starting"))
    reasons = [_WHY.get(ended.how, ended.how)] if ended is not None else []
    return UnitStanding("requeued" if begun else "waiting", job, "; ".join([*reasons, task.why]).strip("; "))
