"""Tasks of job arrays followed to their ends, on a batch system that does what a test says."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.locks import locked
from icl_curriculum.launchers import JobArray, NoAnswer, QueuedTask
from icl_curriculum.launchers.base import UNIT_FILE, Launch, LaunchUnit
from icl_curriculum.launchers.batch import BatchLauncher
from icl_curriculum.launchers.batch_files import Ended, arrays_in, read_array
from icl_curriculum.testing.launchers.subject import Heard

Key = tuple[str, int]


class Scripted(BatchLauncher):
    """A batch system whose queue a test fills at every look."""

    name = "scripted"
    poll: float = 0.001
    patience: float = 0.01

    def script(self, array: JobArray) -> str:
        return "#!/bin/sh\n"

    def submit(self, script: Path, array: JobArray) -> str:
        return SYSTEM.submit(array)

    def queue(self, arrays: Sequence[JobArray]) -> Mapping[Key, QueuedTask]:
        return SYSTEM.look(arrays)

    def cancelling(self, array: JobArray) -> str:
        return f"end {array.job}"


@dataclass
class System:
    """What happens at each look at the queue, in turn; the last goes on happening."""

    looks: list[Callable[[JobArray], QueuedTask | None]] = field(default_factory=list)
    submitted: list[JobArray] = field(default_factory=list)

    def submit(self, array: JobArray) -> str:
        self.submitted.append(array)
        return str(len(self.submitted))

    def look(self, arrays: Sequence[JobArray]) -> Mapping[Key, QueuedTask]:
        happens = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        found = {(array.token, 0): happens(array) for array in arrays}
        return {key: task for key, task in found.items() if task is not None}


SYSTEM = System()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    monkeypatch.setitem(globals(), "SYSTEM", System())
    return SYSTEM


def launch_of(folder: Path, *, key: str = "a") -> Launch:
    unit = LaunchUnit("mixed-seed0", key, {UNIT_FILE: b""}, ("true",))
    return Launch("mixed", folder, [unit], ("true",))


def followed(folder: Path, **changes: Any) -> Heard:
    heard = Heard()
    Scripted().execute(launch_of(folder, **changes), heard)
    return heard


def gone(array: JobArray) -> None:
    """The queue does not know it."""


def runs(array: JobArray) -> QueuedTask:
    begin(array)
    return QueuedTask("running", job=f"{array.job}_0")


def begin(array: JobArray, attempt: str = "") -> str:
    task = array.task(0)
    attempt = attempt or f"{array.token}.0"
    if not task.is_latest(attempt):
        task.begin(attempt, "n1")
    return attempt


def ends(how: str, at: str = "", message: str = "") -> Callable[[JobArray], None]:
    def look(array: JobArray) -> None:
        array.task(0).end(Ended(begin(array), how, message, "details", at))  # type: ignore[arg-type]

    return look


def waits(array: JobArray) -> QueuedTask:
    return QueuedTask("waiting", "Resources", f"{array.job}_0")


def cancelled(array: JobArray) -> QueuedTask:
    return QueuedTask("cancelled", "cancelled by 1000")


def silent(array: JobArray) -> None:
    raise NoAnswer("no controller")


def test_a_task_that_finishes_is_told_of_and_leaves_no_folder(system: System, tmp_path: Path) -> None:
    system.looks = [waits, runs, runs, ends("finished")]
    heard = followed(tmp_path)
    assert heard.starts == ["mixed-seed0"]
    assert heard.ends == [("mixed-seed0", None)]
    assert heard.notes == ["submitted 1 run as job 1; end 1 ends it"]
    assert arrays_in(tmp_path) == []


def test_a_task_that_vanishes_is_submitted_twice_more_and_then_has_failed(system: System, tmp_path: Path) -> None:
    system.looks = [gone]
    heard = followed(tmp_path)
    assert len(system.submitted) == 3
    assert [array.restarts for array in system.submitted] == [{}, {"mixed-seed0": 1}, {"mixed-seed0": 2}]
    ((_, problem),) = heard.ends
    assert problem is not None
    assert problem.message == "mixed-seed0: job 3_0 vanished; it was started 3 times"
    assert heard.notes[1] == "mixed-seed0: job 1_0 vanished; it is submitted once more"


def test_why_a_task_ended_is_said_when_it_has_failed(system: System, tmp_path: Path) -> None:
    system.looks = [lambda array: QueuedTask("ended", "out of memory")]
    ((_, problem),) = followed(tmp_path).ends
    assert problem is not None
    assert problem.message == "mixed-seed0: job 3_0 vanished (out of memory); it was started 3 times"


def test_a_task_that_was_killed_says_so_with_its_log(system: System, tmp_path: Path) -> None:
    system.looks = [ends("killed", message="mixed-seed0: the worker process was ended by SIGKILL")]
    system.looks *= 1
    heard = followed(tmp_path)
    assert len(system.submitted) == 3
    assert heard.ends[0][1] is not None
    assert heard.ends[0][1].message.startswith("mixed-seed0: the worker process was ended by SIGKILL; it was started 3")


def test_nothing_is_left_of_a_task_that_was_killed_and_finished_later(system: System, tmp_path: Path) -> None:
    def at_last(array: JobArray) -> None:
        ends("finished" if len(system.submitted) > 1 else "killed")(array)

    system.looks = [at_last]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]
    assert arrays_in(tmp_path) == []


def test_what_another_command_has_launched_since_is_left_to_it(system: System, tmp_path: Path) -> None:
    """The same run, moved aside by it and begun anew."""
    later: list[JobArray] = []

    def launched_anew(array: JobArray) -> None:
        if not later:
            ends("finished")(array)
            unit = launch_of(tmp_path).units[0]
            later.extend(Scripted().submitted(launch_of(tmp_path), [unit], {}))

    system.looks = [launched_anew]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]
    assert [array.token for array in arrays_in(tmp_path)] == [array.token for array in later]


def test_where_what_was_lost_is_refused_for_the_moment_others_are_followed(system: System, tmp_path: Path) -> None:
    first = launch_of(tmp_path).units[0]
    launch = dataclasses.replace(launch_of(tmp_path), units=[first, dataclasses.replace(first, name="mixed-seed1")])
    refusals, taken = ["busy", "busy"], system.submit

    def submit(array: JobArray) -> str:
        if system.submitted and refusals:
            raise UserError(f"sbatch refused the job: {refusals.pop()}")
        return taken(array)

    def look(array: JobArray) -> QueuedTask | None:
        # The second run of the first array is in no queue.
        if len(array.units) == 2 and len(system.submitted) == 1:
            return runs(array)
        return ends("finished")(array)

    system.submit = submit  # type: ignore[method-assign]
    system.looks = [look]
    heard = Heard()
    Scripted().execute(launch, heard)
    assert sorted(heard.ends) == [("mixed-seed0", None), ("mixed-seed1", None)]
    assert [array.restarts for array in system.submitted] == [{}, {"mixed-seed1": 1}]
    assert "sbatch refused the job: busy; 1 run will be submitted again" in heard.notes
    assert heard.notes.count("sbatch refused the job: busy; 1 run will be submitted again") == 1


def test_a_command_that_takes_its_time_to_submit_is_named(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.launchers.batch_keeping.SAY_AFTER", 2)
    monkeypatch.setattr("icl_curriculum.core.locks.LOOK_EVERY", 0.01)
    system.looks = [ends("finished")]
    with contextlib.ExitStack() as other:
        claim = other.enter_context(locked(tmp_path / "launched/.lock"))
        threading.Timer(0.2, other.close).start()
        heard = followed(tmp_path)
    assert heard.notes[0].startswith(
        f"another command is submitting runs here, and is waited for: process {os.getpid()} on "
    )
    assert (len(heard.notes), claim.is_held()) == (2, False)


@pytest.mark.parametrize("change", [{"launcher": "slurm"}, {"units": 3}, {"keys": []}, {"restarts": 1}, {"job": 7}])
def test_a_file_that_was_edited_to_nonsense_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    array = JobArray("t", "mixed", tmp_path, ["mixed-seed0"], ["key"], [["true"]], ["true"])
    array.write()
    assert read_array(tmp_path) == dataclasses.replace(array, launcher={})
    file = tmp_path / "array.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert read_array(tmp_path) is None


@pytest.mark.parametrize("how", ["stopped", "terminated"])
def test_a_task_that_made_room_is_submitted_as_often_as_it_takes(system: System, tmp_path: Path, how: str) -> None:
    def at_last(array: JobArray) -> None:
        ends("finished" if len(system.submitted) > 5 else how, at=f"training {len(system.submitted)}/9")(array)

    system.looks = [at_last]
    heard = followed(tmp_path)
    assert heard.ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 6


def test_where_a_task_stopped_is_known_to_the_array_that_executes_it_next(system: System, tmp_path: Path) -> None:
    seen: list[Ended | None] = []

    def stops(array: JobArray) -> None:
        seen.append(array.task(0).last_ended())
        assert array.task(0).ended() is None, "that of an earlier attempt is not the end of this one"
        ends("finished" if len(system.submitted) > 1 else "stopped", at="training 3/9")(array)

    system.looks = [stops, gone, gone, gone, gone, stops]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]
    assert seen[0] is None
    assert seen[1] is not None
    assert (seen[1].how, seen[1].at) == ("stopped", "training 3/9")


def test_a_task_that_tells_of_its_way_has_not_vanished(system: System, tmp_path: Path) -> None:
    """Whatever the queue says, as where a user's own settings hide it."""

    def hidden(array: JobArray) -> None:
        time.sleep(0.004)
        told = len(system.looks)
        if told > 1:
            array.task(0).tell(begin(array), told, {"progress": {"phase": "training", "done": told, "total": 99}})
        else:
            ends("finished")(array)

    system.looks = [hidden] * 12
    heard = followed(tmp_path)
    assert heard.ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 1


def test_of_two_commands_one_submits_what_was_lost(system: System, tmp_path: Path) -> None:
    launch = launch_of(tmp_path)

    def other_submits(array: JobArray) -> None:
        Scripted().submitted(launch, launch.units, {"mixed-seed0": 1})

    def second_finishes(array: JobArray) -> None:
        if array.token != system.submitted[0].token:
            ends("finished")(array)

    system.looks = [runs, other_submits, second_finishes]
    heard = followed(tmp_path)
    assert heard.ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 2


def test_a_task_that_is_put_back_into_the_queue_is_waited_for(system: System, tmp_path: Path) -> None:
    def stops(array: JobArray) -> QueuedTask:
        ends("stopped", "training 3/9")(array)
        return QueuedTask("waiting", "BeginTime", "1_0")

    def again(array: JobArray) -> QueuedTask:
        begin(array, "second")
        return QueuedTask("running", job="1_0")

    def finishes(array: JobArray) -> None:
        array.task(0).end(Ended("second", "finished"))

    system.looks = [runs, stops, stops, again, again, finishes]
    heard = followed(tmp_path)
    assert heard.starts == ["mixed-seed0"] * 2
    assert len(system.submitted) == 1


def test_what_an_attempt_says_that_was_given_up_is_not_heard(system: System, tmp_path: Path) -> None:
    """A node that was cut off wakes when its task is executed elsewhere, and says that it failed."""

    def wakes(array: JobArray) -> QueuedTask:
        begin(array, "second")
        array.task(0).end(Ended("first", "failed", "it was taken over"))
        return QueuedTask("running", job="1_0")

    def finishes(array: JobArray) -> None:
        array.task(0).end(Ended("second", "finished"))

    system.looks = [runs, wakes, wakes, finishes]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]


def test_a_task_that_fails_by_itself_is_never_submitted_again(system: System, tmp_path: Path) -> None:
    system.looks = [ends("failed", message="mixed-seed0: training diverged")]
    heard = followed(tmp_path)
    assert len(system.submitted) == 1
    assert [problem and problem.message for _, problem in heard.ends] == ["mixed-seed0: training diverged"]
    # What it has left tells why, until it is submitted anew.
    assert Scripted().standings(tmp_path)["mixed-seed0"].why == "mixed-seed0: training diverged"


def test_a_task_that_is_cancelled_is_not_submitted_again(system: System, tmp_path: Path) -> None:
    system.looks = [runs, cancelled]
    ((_, problem),) = followed(tmp_path).ends
    assert problem is not None
    assert problem.message == "mixed-seed0: job 1_0 was cancelled (cancelled by 1000)"
    assert len(system.submitted) == 1


def test_of_a_queue_that_does_not_answer_nothing_is_concluded(system: System, tmp_path: Path) -> None:
    system.looks = [runs, *[silent] * 50, runs, ends("finished")]
    heard = followed(tmp_path)
    assert heard.ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 1
    assert heard.notes[1:] == ["the batch system does not answer, and is asked again: no controller"]


class Interrupted(Exception):
    """Stands for Ctrl-C."""


def interrupt(array: JobArray) -> None:
    raise Interrupted


def leave_running(system: System, folder: Path) -> None:
    """A command that is interrupted while its task runs."""
    system.looks = [runs, interrupt]
    with pytest.raises(Interrupted):
        followed(folder)


def test_the_same_command_attaches_to_what_is_under_way(system: System, tmp_path: Path) -> None:
    leave_running(system, tmp_path)
    system.looks = [runs, runs, ends("finished")]
    heard = followed(tmp_path)
    assert heard.notes == ["attached to 1 run under way, job 1"]
    assert heard.ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 1


def test_a_command_that_was_killed_while_it_submitted_finds_its_job_by_name(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(self: System, array: JobArray) -> str:
        system.submitted.append(array)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(System, "submit", submit)
        with pytest.raises(Interrupted):
            followed(tmp_path)
    assert arrays_in(tmp_path)[0].job == ""
    system.looks = [runs, runs, ends("finished")]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 1


def test_a_run_of_another_config_that_is_under_way_is_named(system: System, tmp_path: Path) -> None:
    leave_running(system, tmp_path)
    system.looks = [runs]
    with pytest.raises(UserError) as raised:
        followed(tmp_path, key="b")
    assert str(raised.value) == (
        "mixed-seed0 of mixed is under way in job 1_0 with another config; wait for it, or end it by end 1"
    )
    assert len(system.submitted) == 1


def test_a_task_that_another_command_followed_to_its_end_has_ended(system: System, tmp_path: Path) -> None:
    import shutil

    def tidied(array: JobArray) -> None:
        shutil.rmtree(array.folder)

    system.looks = [runs, tidied]
    assert followed(tmp_path).ends == [("mixed-seed0", None)]
    assert len(system.submitted) == 1


def test_a_batch_system_that_refuses_a_job_leaves_nothing(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def submit(self: System, array: JobArray) -> str:
        raise UserError("sbatch refused the job: invalid partition")

    monkeypatch.setattr(System, "submit", submit)
    with pytest.raises(UserError, match="invalid partition"):
        followed(tmp_path)
    assert arrays_in(tmp_path) == []
