"""Checkpoints by time, reports between rare rows, and the cadence of runs that an earlier version began."""

from __future__ import annotations

import doctest
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from finished_runs import PER_PROMPT, Finished, assert_same_results
from tiny_runs import Killed, killed_at, tables, tiny_run, tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load
from icl_curriculum.runs import cadence, execution
from icl_curriculum.runs.cadence import CheckpointCadence, as_begun, checkpoints_in
from icl_curriculum.runs.execution import Progress, directory_of, execute
from icl_curriculum.runs.launch import launch


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(cadence).failed == 0


class Clock:
    """Seconds that a run has taken, of which each step takes one."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def checkpoints(steps: int, *, writing: float = 0.0, started_at: float = 0.0) -> Iterator[int]:
    """The steps, of a second each, after which a checkpoint is written that takes so many seconds."""
    clock = Clock()
    clock.now = started_at
    by_time = CheckpointCadence("time", clock)
    for step in range(1, steps + 1):
        clock.now += 1
        if by_time.due(step):
            with by_time.writing():
                clock.now += writing
            yield step


def test_checkpoints_come_after_a_quarter_of_a_minute_and_more_rarely_in_a_long_run() -> None:
    assert list(checkpoints(50)) == [15, 30, 45]
    assert list(checkpoints(100, started_at=4000)) == [40, 81]
    assert list(checkpoints(14)) == []


def test_checkpoints_that_take_long_are_rarer() -> None:
    first, second, *_ = checkpoints(200, writing=2.0)
    assert (first, second) == (15, 115)


def test_what_is_foreseen_is_what_is_written() -> None:
    """With the one at the end, which every run writes, and but for the seconds that a step makes it wait."""
    assert checkpoints_in(10_000.5, 0.0) == pytest.approx(1 + len(list(checkpoints(10_000))), rel=0.02)
    assert checkpoints_in(3.0, 0.1) == 1
    # The published size: seven hours, 114 MB at a time.
    assert checkpoints_in(7 * 3600, 0.5) * 0.114 < 50


def test_checkpoints_by_steps_stand_where_they_stood() -> None:
    by_steps = CheckpointCadence(200, Clock())
    assert [step for step in range(1, 1000) if by_steps.due(step)] == [200, 400, 600, 800]


BY_TIME = {**PER_PROMPT, "training.checkpoint_every": "time"}


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_a_run_with_checkpoints_by_time_resumes_to_the_bytes_of_one_by_steps(
    tmp_path: Path, per_prompt: Finished, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """With one after every step, and with none before the end, after which the run begins anew."""
    monkeypatch.setattr(cadence, "seconds_between", lambda elapsed, writing: seconds)
    run, progress = tiny_run(BY_TIME), list[Progress]()
    for done in (4, 8):
        with pytest.raises(Killed):
            execute(run, tmp_path, report=killed_at("training", done))
    execute(run, tmp_path, report=progress.append)
    assert_same_results(Finished(run, tmp_path, progress), per_prompt)
    # What the reports of step 8 saw was not yet in a checkpoint.
    assert progress[0].done == (8 if seconds == 0 else 2)


def test_a_run_tells_how_far_it_is_between_rare_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "TELL_EVERY", -1.0)
    progress = list[Progress]()
    execute(tiny_run({"training.log_every": 5, "evaluation.shifts": []}), tmp_path, report=progress.append)
    told = [each for each in progress if each.phase == "training"]
    assert [each.done for each in told] == list(range(1, 13))
    assert [each.loss is None for each in told] == [True] * 4 + [False] * 8
    # The loss of the latest rows is shown until there are new ones.
    assert told[4].loss == told[8].loss != told[9].loss
    assert all(each.rate is not None and each.rate >= 0 for each in told)


# Runs that an earlier version began


def long_runs(folder: Path, training: dict[str, int]) -> list[Run]:
    values = {"training": {"steps": 60_000, **training}, "variants": {"one": {}, "two": {"dims": 4}}}
    return load(str(write_toml(folder / "long.toml", values)), seeds=[0, 1])


def begun_by(run: Run, results: Path) -> None:
    """Leave the manifest of a run in its place."""
    manifest = {
        "config_hash": run.hash(), "status": "finished", "run": run.name, "variant": run.variant, "seed": run.seed,
    }  # fmt: skip
    folder = results / run.experiment.name / run.name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def cadences(runs: list[Run]) -> list[tuple[int, int]]:
    return [(run.experiment.training.log_every, run.experiment.training.learning_every) for run in runs]


def test_a_variant_that_an_earlier_version_began_keeps_its_cadence(tmp_path: Path) -> None:
    """With all its seeds, whose rows stand at the same steps then; other variants have the cadence of today."""
    earlier, *_ = long_runs(tmp_path, {"log_every": 10, "learning_every": 50})
    begun_by(earlier, tmp_path)
    runs = [replace(run, swept={"dims": "2"}) for run in long_runs(tmp_path, {})]
    found = as_begun(runs, tmp_path)
    assert found[0].swept == {"dims": "2"}
    assert cadences(found) == [(10, 50)] * 2 + [(50, 50)] * 2
    assert found[0].hash() == earlier.hash()
    assert found[2:] == runs[2:]


def test_a_cadence_that_the_file_gives_is_not_replaced(tmp_path: Path) -> None:
    earlier, *_ = long_runs(tmp_path, {"log_every": 10, "learning_every": 50})
    begun_by(earlier, tmp_path)
    runs = long_runs(tmp_path, {"log_every": 20})
    assert as_begun(runs, tmp_path) == runs


@pytest.mark.parametrize("what", ["nothing", "of today", "another config", "damaged"])
def test_other_folders_change_no_cadence(tmp_path: Path, what: str) -> None:
    runs = long_runs(tmp_path, {})
    begun = {
        "of today": runs[0],
        "another config": replace(runs[2], variant="one"),
    }
    if what in begun:
        begun_by(begun[what], tmp_path)
    if what == "damaged":
        begun_by(runs[0], tmp_path)
        (tmp_path / "long" / runs[0].name / "manifest.json").write_text("{")
    assert as_begun(runs, tmp_path) == runs


def test_a_run_of_an_earlier_version_is_finished_at_its_cadence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of 60 steps is a long one here."""
    values = tiny_values({"training.steps": 60, "training.batch_size": 4, "evaluation.shifts": []})
    del values["training"]["log_every"], values["training"]["learning_every"]
    (run,) = load(str(write_toml(tmp_path / "tiny.toml", values)))
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("evaluation", 1))
    before = tables(directory_of(run, tmp_path).path)
    monkeypatch.setattr("icl_curriculum.config.cadence.TIMES", 3)
    (now,) = load(str(tmp_path / "tiny.toml"))
    assert cadences([now]) == [(20, 50)]
    outcome = launch([now], tmp_path, jobs=0, report=lambda progress: None)
    assert (outcome.finished, outcome.left_out) == (["mixed-seed0"], [])
    after = tables(directory_of(now, tmp_path).path)
    assert {name: after[name] for name in before} == before
    assert launch([now], tmp_path, jobs=0, report=lambda progress: None).skipped == ["mixed-seed0"]
