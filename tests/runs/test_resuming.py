"""Runs that are interrupted resume to the bytes of an uninterrupted one. (Real kills: test_killed.py.)"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import PER_PROMPT, Finished, assert_same_results
from tiny_runs import Killed, killed_at, tiny_run

from icl_curriculum.core.errors import UserError
from icl_curriculum.runs.execution import directory_of, execute, is_finished
from icl_curriculum.training import Trainer

# Interrupted and resumed. Checkpoints are at 5, 10 and 12, rows of training.csv at every second step.


@pytest.fixture
def killed_before_update(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """End the process when this many updates are done, once."""

    def arrange(step: int) -> None:
        update, armed = Trainer.update, [True]

        def dying(self: Trainer) -> Any:
            if self.step == step and armed:
                armed.clear()
                raise Killed
            return update(self)

        monkeypatch.setattr(Trainer, "update", dying)

    return arrange


def kill_and_resume(results: Path, *places: tuple[str, int]) -> Finished:
    run = tiny_run(PER_PROMPT)
    for phase, done in places:
        with pytest.raises(Killed):
            execute(run, results, report=killed_at(phase, done))
        assert not is_finished(run, results)
    execute(run, results, report=(progress := []).append)
    return Finished(run, results, progress)


@pytest.mark.parametrize(
    "places",
    [
        [("training", 2)],
        [("training", 6)],
        [("training", 10)],
        [("training", 12)],
        [("evaluation", 1)],
        [("evaluation", 4)],
        [("training", 4), ("training", 8), ("training", 8), ("evaluation", 3)],
    ],
    ids=["before the first checkpoint", "logged after a checkpoint", "between log and checkpoint", "at the last step",
         "evaluating", "after the last bank", "again and again"],
)  # fmt: skip
def test_a_killed_run_resumes_to_the_same_bytes(
    tmp_path: Path, per_prompt: Finished, places: list[tuple[str, int]]
) -> None:
    assert_same_results(kill_and_resume(tmp_path, *places), per_prompt)


@pytest.mark.parametrize("step", [0, 5, 7, 11])
def test_a_run_killed_between_updates_resumes_to_the_same_bytes(
    tmp_path: Path, per_prompt: Finished, killed_before_update: Callable[[int], None], step: int
) -> None:
    killed_before_update(step)
    with pytest.raises(Killed):
        execute(tiny_run(PER_PROMPT), tmp_path)
    assert_same_results(kill_and_resume(tmp_path), per_prompt)


def test_a_resumed_run_does_not_repeat_what_a_checkpoint_holds(tmp_path: Path) -> None:
    run = kill_and_resume(tmp_path, ("training", 8))
    assert [p.done for p in run.progress if p.phase == "training"] == [6, 8, 10, 12]
    assert {p.phase for p in kill_and_resume(tmp_path / "late", ("evaluation", 1)).progress} == {"evaluation"}


def test_torn_lines_after_the_checkpoint_are_cut_off(tmp_path: Path, per_prompt: Finished) -> None:
    run = tiny_run(PER_PROMPT)
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 8))
    for name in ("training", "learning", "curriculum", "timing"):
        with (directory_of(run, tmp_path).path / f"{name}.csv").open("a") as table:
            table.write("tiny,mix")
    assert_same_results(kill_and_resume(tmp_path), per_prompt)


def test_resuming_keeps_the_start_and_adds_up_the_time(half: Finished) -> None:
    state = half.path / "state.pt"
    loaded = torch.load(state, weights_only=True)
    torch.save({**loaded, "started": "2020-02-02T00:00:00+00:00", "seconds": 1000.0}, state)
    execute(half.run, half.results)
    manifest = half.manifest()
    assert manifest["started"] == "2020-02-02T00:00:00+00:00"
    assert manifest["wall_seconds"] > 1000


# Checkpoints of version 0.2.0


def as_of_0_2_0(path: Path) -> None:
    """Write a checkpoint anew in the form of version 0.2.0, which knew neither roles nor states of methods."""
    state = torch.load(path / "state.pt", weights_only=True)
    del state["trainer"]["method"]
    state["pending"]["losses"] = [entry[1:-1] for entry in state["pending"]["losses"]]
    torch.save(state, path / "state.pt")


def test_a_run_that_an_earlier_version_began_is_finished_to_the_same_bytes(
    tmp_path: Path, per_prompt: Finished
) -> None:
    run = tiny_run(PER_PROMPT)
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 8))
    as_of_0_2_0(directory_of(run, tmp_path).path)
    execute(run, tmp_path)
    assert_same_results(Finished(run, tmp_path, []), per_prompt)


def test_what_an_earlier_version_drew_otherwise_is_not_gone_on_with(tmp_path: Path) -> None:
    """There, an id of one's own stood in the names of the streams."""
    run = tiny_run({"function_classes": [{"name": "linear", "id": "mine"}]})
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 8))
    as_of_0_2_0(directory_of(run, tmp_path).path)
    with pytest.raises(UserError, match=r"begun by icl_curriculum 0\.2\.0, .* fresh=True"):
        execute(run, tmp_path)
