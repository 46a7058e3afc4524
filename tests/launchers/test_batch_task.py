"""One task of a job array: a unit in a process that is watched, warned and started again."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from icl_curriculum.launchers.base import UNIT_FILE
from icl_curriculum.launchers.batch_files import Ended, JobArray, TaskFolder
from icl_curriculum.launchers.batch_task import main

#: A unit that tells how far it is, stops where it is asked to, and else does what its file says.
UNIT = """
import json, os, signal, sys, time
asked = []
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: asked.append(number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1, signal.SIGTERM})
def say(**message):
    print(json.dumps(message), flush=True)
say(progress=dict(phase="training", done=3, total=9, warning="a logger is gone"))
say(detail="wrote a file")
print("a plugin says something", file=sys.stderr, flush=True)
exec(open(sys.argv[1]).read())
"""
STOPS = """
while not asked:
    time.sleep(0.002)
say(stopped={"at": "training 3/9"})
sys.exit(75)
"""


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture
def array(tmp_path: Path) -> JobArray:
    (tmp_path / "unit.py").write_text(UNIT)
    command = [sys.executable, "-IS", str(tmp_path / "unit.py")]
    made = JobArray("t", "mixed", tmp_path / "array", ["mixed-seed0"], ["key"], [command], ["true"])
    made.task(0).path.mkdir(parents=True)
    made.write()
    return made


def executed(array: JobArray, does: str, *more: str, attempt: str = "1.0", signals: int | None = None) -> int:
    """The exit code of the task; ``signals``: what it is sent as soon as its unit has begun."""
    (array.task(0).path / UNIT_FILE).write_text(does)

    def send() -> None:
        while not array.task(0).told():
            time.sleep(0.002)
        os.kill(os.getpid(), signals or 0)

    if signals is not None:
        threading.Thread(target=send, daemon=True).start()
    return main([str(array.folder), "0", attempt, *more])


def ending(array: JobArray) -> Ended:
    ended = array.task(0).ended()
    assert ended is not None
    return ended


def test_a_unit_that_finishes(array: JobArray) -> None:
    assert executed(array, "say(finished='mixed-seed0')") == 0
    assert ending(array) == Ended("1.0", "finished", at="training 3/9")
    assert array.task(0).told()["message"]["progress"]["done"] == 3
    log = array.task(0).log.read_text()
    assert "attempt 1.0 on " in log
    assert "wrote a file" in log
    assert "warning: a logger is gone" in log


def test_a_unit_that_fails_by_itself(array: JobArray) -> None:
    assert executed(array, "say(failure={'message': 'mixed-seed0: diverged', 'details': 'more'}); sys.exit(1)") == 1
    assert ending(array) == Ended("1.0", "failed", "mixed-seed0: diverged", "more", "training 3/9")


@pytest.mark.parametrize(("from_command_line", "said"), [(True, "without --fresh"), (False, "without fresh=True")])
def test_what_it_says_names_options_as_whoever_launched_it(array: JobArray, from_command_line: bool, said: str) -> None:
    dataclasses.replace(array, from_command_line=from_command_line).write()
    assert executed(array, "os.kill(os.getpid(), signal.SIGKILL)") == 137
    assert f"; {said}, the next run continues from the last checkpoint" in ending(array).message


def test_a_unit_that_is_killed(array: JobArray) -> None:
    assert executed(array, "os.kill(os.getpid(), signal.SIGKILL)") == 137
    ended = ending(array)
    assert ended.how == "killed"
    assert ended.message.startswith("mixed-seed0: the worker process was ended by SIGKILL, as the system does when")
    assert "a plugin says something" in ended.details


def test_a_warning_that_time_is_nearly_over_stops_the_unit_and_has_it_executed_again(
    array: JobArray, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    assert executed(array, STOPS, "--again", f"touch '{again}'", signals=signal.SIGUSR1) == 75
    assert ending(array) == Ended("1.0", "stopped", at="training 3/9")
    assert again.exists()


def test_a_unit_that_comes_no_further_until_its_next_warning_has_failed(array: JobArray, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert executed(array, STOPS, signals=signal.SIGUSR1) == 75
    array.task(0).path.joinpath("progress.json").unlink()
    code = executed(array, STOPS, "--again", f"touch '{again}'", attempt="1.1", signals=signal.SIGUSR1)
    assert code == 1
    assert not again.exists()
    assert ending(array).message == (
        "mixed-seed0: its time was over twice at the same place, training 3/9; give each attempt more time, or let it "
        "write checkpoints more often (training.checkpoint_every)"
    )


def test_a_unit_that_is_ended_after_its_warning_fails_at_the_same_place_too(array: JobArray, tmp_path: Path) -> None:
    """It stops when its time is over and not before, and does so again however often it is executed."""
    again = tmp_path / "again"
    ended = (
        "for number, of in enumerate((signal.SIGUSR1, signal.SIGTERM)):\n    os.kill(os.getppid(), of)\n"
        "    while len(asked) == number:\n        time.sleep(0.002)\n"
        "say(stopped={'at': 'training 3/9'})\nsys.exit(75)"
    )
    assert executed(array, ended, "--again", f"touch '{again}'") == 75
    assert ending(array) == Ended("1.0", "stopped", at="training 3/9")
    assert executed(array, ended, "--again", f"touch '{again}'", attempt="1.1") == 1
    assert "its time was over twice at the same place" in ending(array).message
    assert not again.exists()


def test_a_task_that_has_to_make_room_does_not_put_itself_back(array: JobArray, tmp_path: Path) -> None:
    """Whoever took its place has it executed again; a job that was cancelled must stay so."""
    again = tmp_path / "again"
    assert executed(array, STOPS, "--again", f"touch '{again}'", signals=signal.SIGTERM) == 143
    assert ending(array).how == "terminated"
    assert not again.exists()


def test_an_attempt_that_was_given_up_writes_nothing_more(array: JobArray) -> None:
    begins = "import pathlib, json; pathlib.Path(sys.argv[1]).with_name('begun.json').write_text("
    begins += "json.dumps(dict(attempt='2.0', where='n2'))); say(finished='mixed-seed0')"
    assert executed(array, begins) == 0
    assert array.task(0).ended() is None
    assert array.task(0).last_ended() is None


def test_a_folder_that_is_not_seen_yet_is_waited_for(array: JobArray) -> None:
    file = array.folder / "array.json"
    hidden = file.rename(file.with_name("hidden"))
    threading.Timer(0.05, lambda: hidden.rename(file)).start()
    assert executed(array, "say(finished='mixed-seed0')") == 0


def test_a_folder_that_is_never_seen_is_named_and_a_file_that_is_damaged(
    array: JobArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("icl_curriculum.launchers.batch_task.SEEN_WITHIN", -1.0)
    assert main([str(tmp_path / "away"), "0", "1.0"]) == 1
    assert "away/array.json is not seen on " in capsys.readouterr().err
    (array.folder / "array.json").write_text("{")
    assert main([str(array.folder), "0", "1.0"]) == 1
    assert capsys.readouterr().err == f"{array.folder}/array.json is damaged; give the command again\n"


def test_half_a_file_of_a_task_is_none(tmp_path: Path) -> None:
    task = TaskFolder(tmp_path)
    for content in ("", "{", "[1]", '{"how": "finished"}', '{"attempt": "1", "how": "finished", "more": 1}'):
        (tmp_path / "ended.json").write_text(content)
        assert task.ended() is None


def test_an_attempt_that_was_given_up_puts_nothing_back_into_the_queue(array: JobArray, tmp_path: Path) -> None:
    """Its place is taken by the attempt that was begun elsewhere meanwhile, which that would end."""
    begun = array.task(0).path / "begun.json"
    elsewhere = f'open({str(begun)!r}, "w").write(json.dumps(dict(attempt="1.1", where="n2")))\n'
    does = STOPS.replace("say(stopped", f"{elsewhere}say(stopped")
    again = f"touch {tmp_path / 'again'}"
    assert executed(array, does, "--again", again, signals=signal.SIGUSR1) == 75
    assert not (tmp_path / "again").exists()
