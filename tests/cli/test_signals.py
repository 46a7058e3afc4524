"""Signals at every moment, twice, and output that nobody reads: a code, at most one line, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import pytest

from icl_curriculum.cli.signals import PATIENCE, Signals, Stopped


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Signals:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)
    return Signals(lambda: "; more")


def test_the_first_signal_unwinds_and_one_soon_after_it_does_nothing(signals: Signals) -> None:
    with pytest.raises(Stopped, match="terminated"):
        signals.heard(signal.SIGTERM, None)
    signals.heard(signal.SIGTERM, None)
    signals.heard(signal.SIGINT, None)


def test_one_that_comes_late_ends_a_command_that_does_not_end(
    signals: Signals, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    now = time.monotonic()
    with pytest.raises(Stopped):
        signals.heard(signal.SIGINT, None)
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * PATIENCE)
    with pytest.raises(Ended, match="130"):
        signals.heard(signal.SIGINT, None)
    assert capfd.readouterr().err == "interrupted; more\n"


def test_nothing_is_raised_into_a_module_that_is_being_imported(
    signals: Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_imported.py").write_text("import sys\nsys.heard(sys._getframe())\n")
    monkeypatch.syspath_prepend(tmp_path)

    def heard(frame: FrameType) -> None:
        signals.heard(signal.SIGINT, frame)

    monkeypatch.setattr(sys, "heard", heard, raising=False)
    with pytest.raises(Ended, match="130"):
        __import__("half_imported")


def test_what_is_over_hears_nothing(signals: Signals) -> None:
    signals.ignore()
    signals.heard(signal.SIGINT, None)


# A command of its own process that is ready in no time: the ways of `icl` to end, without torch.
COMMAND = """
import sys, threading, time
from icl_curriculum.cli import endings
from icl_curriculum.cli.signals import Signals
from icl_curriculum.cli.screen import Screen
endings.given(sys.argv[1:])
signals = Signals(endings.hint)
signals.listen()
def work():
    endings.echo("ready")
    if "many" in sys.argv:
        for number in range(10000):
            Screen().print("line", number) if "rich" in sys.argv else endings.echo(f"line {number}")
    try:
        time.sleep(20)
    finally:
        time.sleep(0.3)  # cleaning up
endings.end_with_a_message(work, signals=signals)
"""


def started(*words: str, code: str = COMMAND) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_key_that_is_pressed_twice_ends_a_command_once(number: signal.Signals) -> None:
    process = started("run")
    for pause in (0.05, 0.1, 0.3):
        process.send_signal(number)
        time.sleep(pause)
    _, said = process.communicate(timeout=20)
    word = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}[number]
    assert (process.returncode, said) == (128 + number, f"{word}; the same command continues where it stopped\n")


# What code in C does to the exception of a signal: it puts another one in its place, or drops it.
LOST = {
    "replaced in a figure": """
    with said_if_not_shown("the figure"):
        try:
            time.sleep(20)
        except BaseException:
            pass
        raise ValueError("Invalid affine transformation matrix")
    endings.echo("goes on")
""",
    "replaced": """
    try:
        time.sleep(20)
    except BaseException:
        pass
    raise ValueError("Invalid affine transformation matrix")
""",
    "dropped": """
    try:
        time.sleep(20)
    except BaseException:
        pass
    time.sleep(20)
    endings.echo("goes on")
""",
}


@pytest.mark.parametrize("how", LOST)
def test_a_signal_that_is_lost_on_its_way_stops_the_command_all_the_same(how: str) -> None:
    lost = COMMAND.partition('    if "many"')[0] + LOST[how] + COMMAND.splitlines()[-1]
    process = started("run", code="from icl_curriculum.core.notices import said_if_not_shown\n" + lost)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    printed, said = process.communicate(timeout=20)
    assert (process.returncode, printed) == (130, "")
    assert said == "interrupted; the same command continues where it stopped\n"
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("how", ["plain", "rich"])
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("list", 0, ""),
        ("run", 141, "stopped, as nobody reads the output any more; the same command continues where it stopped\n"),
    ],
)
def test_a_command_whose_output_nobody_reads_ends(how: str, command: str, code: int, message: str) -> None:
    process = started(command, how, "many")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == message
    process.stderr.close()
    assert process.wait(timeout=20) == code


def test_output_that_finds_no_room_is_one_message() -> None:
    if not Path("/dev/full").exists():
        return
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device; what is on disk is kept\n")


def test_the_first_lines_of_the_program_end_at_once() -> None:
    code = "import os, signal, icl_curriculum.__main__ as main\nsignal.raise_signal = None\n"
    code += "import sys\nsys.modules['icl_curriculum.core'] = None\n"
    code += (
        "signal.signal = (lambda own: lambda n, f: (own(n, f), os.kill(os.getpid(), 2)))(signal.signal)\nmain.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
