"""The live view: a line per run on a terminal, plain lines without one; failures are named at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from pathlib import Path
from typing import Any

import pytest
from places import EXAMPLE
from tiny_runs import TINY, merge, tables, tiny_run, write_toml

from icl_curriculum.cli import output, progress
from icl_curriculum.cli.error_tables import error_table
from icl_curriculum.cli.progress import View, duration, live_view
from icl_curriculum.runs.execution import Progress
from icl_curriculum.runs.launch import RunFailure

#: Two variants, of which one has a learning rate that no run survives.
BAD_RATE: dict[str, Any] = {"optimizer": {"name": "adam", "learning_rate": 1e6}, "clip": float("inf"), "steps": 300}
GOOD = {"training": {"steps": 400, "learning_every": 200, "checkpoint_every": 100}}
VALUES = merge(TINY, {"variants": {"good": GOOD, "bad": {"training": BAD_RATE}}, "evaluation": {"shifts": []}})


def on_a_terminal(python: Path, folder: Path, *arguments: str, columns: int = 80) -> tuple[int, list[str]]:
    """The exit code of a command that runs on a terminal, and every line it ever showed there."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [str(python), "-m", "icl_curriculum", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(command, cwd=folder, stdin=inner, stdout=inner, stderr=inner, env=environment)
    os.close(inner)
    shown = b""
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    while True:
        try:
            part = os.read(outer, 1 << 16)
        except OSError:  # Linux's way to say that the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(outer)
    watchdog.cancel()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    return process.wait(), [line.rstrip() for line in re.split(r"[\r\n]+", plain)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> tuple[Path, int, list[str]]:
    """A launch of one run that finishes and one that diverges, on a terminal of 80 columns."""
    folder = tmp_path_factory.mktemp("terminal")
    write_toml(folder / "my.toml", VALUES)
    return folder, *on_a_terminal(quick_python, folder, "run", "my.toml", "--jobs", "1", "--debug")


def test_a_terminal_shows_a_line_per_run_with_step_loss_and_time_left(shown: tuple[Path, int, list[str]]) -> None:
    _, _, lines = shown
    bar = "[━╸╺ ]+"
    patterns = [
        rf"good-seed0 {bar}starting",
        rf"bad-seed0  {bar}waiting for its turn",
        rf"good-seed0 {bar}training \d+/400  loss \d+\.\d+  \d+s left  [\d.]+ steps/s",
        rf"good-seed0 {bar}done",
        rf"bad-seed0  {bar}failed",
        rf"all        {bar}1 of 2 runs done, 1 failed",
    ]
    for pattern in patterns:
        assert any(re.fullmatch(pattern, line) for line in lines), pattern
    assert max(map(len, lines[: next(i for i, line in enumerate(lines) if line.startswith("failed: "))])) <= 80


def test_a_failed_run_stops_no_other_and_is_named_at_the_end(shown: tuple[Path, int, list[str]]) -> None:
    folder, code, lines = shown
    assert code == 1
    said = " ".join(lines)
    assert "failed: bad-seed0: training diverged by step" in said
    assert (folder / "results/tiny/figures/error_by_examples.png").is_file(), "the good run is collected and drawn"
    assert b"good-seed0" in tables(folder / "results/tiny")["evaluation.csv"]
    assert b"bad-seed0" not in tables(folder / "results/tiny")["evaluation.csv"]


def test_debug_shows_the_traceback_of_a_failed_run(shown: tuple[Path, int, list[str]]) -> None:
    said = "\n".join(shown[2])
    assert "Traceback (most recent call last)" in said
    assert "icl_curriculum.core.errors.RunFailed" in said


# Without a terminal


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> View:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    monkeypatch.setattr(progress, "ESTIMATE_AFTER", 0.0)
    return View(None)


def test_without_a_terminal_every_report_is_a_line(plain: View, capsys: pytest.CaptureFixture[str]) -> None:
    plain.queued(["a-seed0", "a-seed1"])
    plain.started("a-seed0")
    plain.report(Progress("a-seed0", "training", 10, 100, 0.5, 20.0))
    plain.report(Progress("a-seed0", "training", 60, 100, 0.25, 20.0))
    plain.report(Progress("a-seed0", "evaluation", 1, 4, None, 2.0))
    plain.ended("a-seed0", None)
    plain.ended("a-seed1", RunFailure("a-seed1", "no"))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if not line.startswith("all:")] == [
        "a-seed0: starting",
        "a-seed0: training 10/100  loss 0.500  4s left  20.0 steps/s",
        "a-seed0: training 60/100  loss 0.250  2s left  20.0 steps/s",
        "a-seed0: evaluation 1/4  2s left  2.0 banks/s",
        "a-seed0: done",
        "a-seed1: failed",
    ]
    assert re.fullmatch(r"all: 0 of 2 runs done; about \d+s of training left", lines[4])


def test_between_lines_only_the_latest_of_each_run_is_kept(
    plain: View, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain.queued(["a", "b"])
    monkeypatch.setattr(progress, "LINE_EVERY", 1e9)
    for step in (10, 20, 30):
        plain.report(Progress("a", "training", step, 100, 0.5, None))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    plain.report(Progress("b", "training", 5, 100, 0.5, None))
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["a: training 30/100  loss 0.500", "b: training 5/100  loss 0.500"]


def test_what_a_resumed_run_had_done_before_does_not_flatter_the_estimate(
    plain: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the steps were there at the start; a quarter took 10 seconds; a quarter is left."""
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    plain.queued(["a"])
    plain.report(Progress("a", "training", 50, 100))
    now = 110.0
    plain.report(Progress("a", "training", 75, 100))
    assert plain._overall() == "0 of 1 runs done; about 10s of training left"


def test_a_long_run_weighs_more_than_a_short_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 1,100 steps 100 took 10 seconds: the short run is through, and 1,000 are left."""
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    brief, long = tiny_run({"training.steps": 100}), tiny_run({"training.steps": 1000}, seed=1)
    with live_view([brief, long], "cpu") as view:
        view.queued([brief.name, long.name])
        view.report(Progress(brief.name, "training", 0, 100))
        now = 110.0
        view.report(Progress(brief.name, "training", 100, 100))
    assert view._overall() == "0 of 2 runs done; about 1m40s of training left"
    assert capsys.readouterr().err.splitlines()[0] == (
        "tiny: 2 runs of 100–1000 steps, 8 prompts of 5 points in 2 dimensions, on cpu"
    )


def test_a_run_that_waits_for_another_process_says_so(plain: View, capsys: pytest.CaptureFixture[str]) -> None:
    plain.queued(["a"])
    plain.report(Progress("a", "waiting for process 7 on laptop", 0, 0))
    assert capsys.readouterr().err == "a: waiting for process 7 on laptop\n"


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (75, "1m15s"), (3600, "1h00m"), (7325, "2h02m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# Names are the user's


def test_names_that_look_like_markup_are_names(plain: View, capsys: pytest.CaptureFixture[str]) -> None:
    plain.queued(["[red]-seed0"])
    plain.started("[red]-seed0")
    plain.report(Progress("[red]-seed0", "training", 1, 2, 0.5))
    plain.ended("[red]-seed0", None)
    assert capsys.readouterr().err.count("[red]-seed0: ") == 3


def test_the_table_of_errors_shows_names_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that pandas would take for a missing value."""
    for table in ("evaluation", "curriculum"):
        text = (EXAMPLE / f"{table}.csv").read_text()
        (tmp_path / f"{table}.csv").write_text(text.replace(",quadratic,", ",[/x],").replace(",linear,", ",NA,"))
    output.results.print(error_table(tmp_path))
    shown = capsys.readouterr().out
    assert re.search(r"^\[/x\] +0\.", shown, re.MULTILINE)
    assert re.search(r"^NA +0\.", shown, re.MULTILINE)


def test_errors_that_are_undefined_everywhere_do_not_break_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in ("evaluation", "curriculum"):
        text = (EXAMPLE / f"{table}.csv").read_text()
        (tmp_path / f"{table}.csv").write_text(re.sub(r"(,baseline,.*?,normalized_error,)[^,]+", r"\1", text))
    output.results.print(error_table(tmp_path))
    assert re.search(r"^linear .* – +0\.000$", capsys.readouterr().out.replace("  \n", "\n"), re.MULTILINE)


def test_shifts_that_mean_nothing_for_a_class_are_said_at_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    changes = {
        "function_classes": ["linear_classification", "linear"],
        "evaluation.shifts": ["scaled_outputs", "label_noise"],
    }
    with live_view([tiny_run(changes), tiny_run(changes, seed=1)], "cpu"):
        pass
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("undefined")]
    assert lines == ["undefined: linear_classification under scaled_outputs/2: its values are signs"]
