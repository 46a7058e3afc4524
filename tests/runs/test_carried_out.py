"""An experiment from start to end: the same files from the command line and from Python, whatever failed."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_runs import Icl, tiny_values, write_toml

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.runs import experiment

#: What says in a manifest, a checkpoint or a page when and how long a run ran.
CLOCK = re.compile(
    rb'\d{4}-\d\d-\d\dT[\d:+]+(</td>\s*<td data-value="[\d.]+">\d+</td>)?|"wall_seconds": [\d.]+|"(timing|seal)": "\w+"'
)


def written(directory: Path) -> dict[str, bytes]:
    """Every file of an experiment but locks, what a clock says left out."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
    contents = {str(path.relative_to(directory)): path.read_bytes() for path in files}
    # The seal of a manifest is of the times in it, too.
    timed = [name for name in contents if name.endswith(("timing.csv", "state.pt", "collected.json"))]
    return {name: b"" if name in timed else CLOCK.sub(b"", content) for name, content in contents.items()}


@pytest.mark.usefixtures("two_figures")
def test_the_command_line_and_python_leave_the_same_files(
    icl: Icl, quick_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(quick_python))
    file = write_toml(tmp_path / "my.toml", tiny_values({"function_classes": ["linear"]}))
    assert icl("run", file, "--results", tmp_path / "typed", "--device", "cpu")[0] == 0
    results = icl_curriculum.run(file, results=tmp_path / "called", device="cpu")
    typed, called = written(tmp_path / "typed/tiny"), written(results.path)
    assert {"summary.csv", "report.html", "runs.csv", "figures/heat_map.png"} <= set(called)
    assert set(called) == set(typed)
    assert [name for name in typed if called[name] != typed[name]] == []


@pytest.mark.usefixtures("two_figures")
def test_a_run_that_fails_stops_no_other_and_is_raised_at_the_end(tmp_path: Path) -> None:
    bad = {"training": {"optimizer": {"name": "adam", "learning_rate": 1e6}, "clip": float("inf")}}
    file = write_toml(tmp_path / "my.toml", tiny_values({"variants": {"bad": bad, "good": {}}}))
    with pytest.raises(RunFailed, match=r"\Abad-seed0: training diverged by step \d+.*\Z") as failed:
        icl_curriculum.run(file, results=tmp_path, device="cpu")
    # What finished is at hand.
    results = failed.value.results
    assert isinstance(results, icl_curriculum.Results)
    assert (results.finished, set(results.evaluation["variant"].dropna())) == (["good-seed0"], {"good"})
    manifest = json.loads((tmp_path / "tiny/good-seed0/manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert "bad-seed0 (diverged)" in (tmp_path / "tiny/report.html").read_text()
    assert (tmp_path / "tiny/figures/heat_map.png").is_file()


def test_runs_that_failed_are_named_although_nothing_could_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"training": {"optimizer": {"name": "adam", "learning_rate": 1e6}, "clip": float("inf")}}
    file = write_toml(tmp_path / "my.toml", tiny_values({"variants": {"bad": bad, "good": {}}}))

    def full(directory: Path, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("icl_curriculum.figures.draw_all", full)
    with pytest.raises(RunFailed, match=r"bad-seed0: training .*\nfigures and report were not finished: .*space"):
        icl_curriculum.run(file, results=tmp_path, device="cpu")


def test_drawing_says_every_few_seconds_what_it_is_at(
    tmp_path: Path, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here after no time at all: every figure, then the report."""
    monkeypatch.setattr(experiment, "SAY_EVERY", 0.0)

    def draw(directory: Path, *, tell: Callable[[str], None], **options: object) -> list[Path]:
        tell("a_figure")
        return []

    monkeypatch.setattr(figures, "draw_all", draw)
    file = write_toml(tmp_path / "tiny.toml", tiny_values({"training.steps": 2}))
    _, _, complaint = icl("run", str(file), "--results", str(tmp_path), "--jobs", "1")
    said = [line for line in complaint.splitlines() if line.startswith(("drawing", "writing"))]
    assert said == ["drawing figures", "drawing a_figure", "writing summary and report"]
