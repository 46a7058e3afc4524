"""Keys that only decide what is recorded in training: nothing is trained anew for them, and the user is told."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from finished_runs import FINISHED, Finished
from tiny_runs import tables, tiny_run

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.notices import NotRecordedAnew
from icl_curriculum.runs.launch import LaunchOutcome, launch

#: Every key that decides nothing else, at another value.
RECORDED: dict[str, Any] = {
    "training.log_every": 3,
    "training.learning_every": 6,
    "training.checkpoint_every": 3,
    "training.keep_checkpoints": [4],
    "evaluation.learning_prompts": 4,
    "evaluation.learning_shifts": ["skewed"],
}


def launched(runs: Sequence[Run], results: Path, **options: Any) -> tuple[LaunchOutcome, list[NotRecordedAnew]]:
    """What became of the runs, and what was not recorded as asked."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outcome = launch(runs, results, jobs=0, report=lambda progress: None, **options)
    notices = [item.message for item in caught]
    assert all(isinstance(notice, NotRecordedAnew) for notice in notices)
    return outcome, notices  # type: ignore[return-value]


def everything(run_dir: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in run_dir.iterdir()
        if path.is_file() and not path.name.startswith(".lock")
    }


@pytest.mark.parametrize("key", RECORDED)
def test_a_finished_run_is_kept_as_it_is(key: str, copied: Finished) -> None:
    before = everything(copied.path)
    outcome, (notice,) = launched([tiny_run({**FINISHED, key: RECORDED[key]})], copied.results)
    assert (outcome.skipped, outcome.left_out) == (["mixed-seed0"], [])
    assert (notice.variant, notice.keys, notice.like) == ("mixed", (key,), copied.path)
    assert "no weights" in str(notice)
    assert "fresh=True" in str(notice)
    assert everything(copied.path) == before, "config and manifest say what made the tables"


def test_with_another_evaluation_it_is_evaluated_anew_and_its_cadence_stays(copied: Finished) -> None:
    before = everything(copied.path)
    changed = tiny_run({**FINISHED, "training.log_every": 3, "evaluation.confidence": 0.5})
    outcome, (notice,) = launched([changed], copied.results)
    assert (outcome.reevaluated, notice.keys) == (
        {"mixed-seed0": ("evaluation.confidence",)},
        ("training.log_every",),
    )
    assert everything(copied.path)["training.csv"] == before["training.csv"]
    assert copied.manifest()["config_hash"] == tiny_run({**FINISHED, "evaluation.confidence": 0.5}).hash()


def test_a_seed_that_is_added_has_rows_at_the_same_steps(copied: Finished) -> None:
    asked = [
        tiny_run({**FINISHED, "training.log_every": 3, "training.learning_every": 3}, seed=seed) for seed in (0, 1)
    ]
    outcome, notices = launched(asked, copied.results)
    assert (outcome.finished, outcome.skipped, len(notices)) == (["mixed-seed1"], ["mixed-seed0"], 1)
    added = Finished(tiny_run(FINISHED, seed=1), copied.results, [])
    for name in ("training", "learning"):
        assert added.table(name)["step"].tolist() == copied.table(name)["step"].tolist()
    # Also where the run that is there is not asked for.
    shutil.rmtree(added.path)
    outcome, notices = launched(asked[1:], copied.results)
    assert (outcome.finished, outcome.left_out, len(notices)) == (["mixed-seed1"], [], 1)


def test_an_unfinished_run_goes_on_at_the_cadence_that_it_began_with(half: Finished, tmp_path: Path) -> None:
    outcome, (notice,) = launched([tiny_run({"training.log_every": 3, "training.checkpoint_every": 2})], half.results)
    assert (outcome.finished, notice.keys) == (["mixed-seed0"], ("training.checkpoint_every", "training.log_every"))
    launched([tiny_run()], tmp_path / "whole")
    assert tables(half.path) == tables(tmp_path / "whole/tiny/mixed-seed0")


def test_fresh_records_as_asked(copied: Finished) -> None:
    outcome, notices = launched([tiny_run({**FINISHED, "training.log_every": 3})], copied.results, fresh=True)
    assert (outcome.finished, notices) == (["mixed-seed0"], [])
    assert copied.table("training")["step"].unique().tolist() == [3, 6, 9, 12]


def test_where_training_changed_too_it_is_refused(copied: Finished) -> None:
    changed = tiny_run({**FINISHED, "training.log_every": 3, "training.clip": 2.0})
    with pytest.raises(UserError, match=r"changed: training\.clip\. "):
        launch([changed], copied.results, jobs=0, report=lambda progress: None)


def test_a_default_that_was_another_in_an_earlier_version_is_not_asked_for(tmp_path: Path) -> None:
    """Checkpoints came every 200 steps where now they come by the clock; of neither does anything follow."""
    launched([tiny_run({"training.checkpoint_every": 200})], tmp_path)
    outcome, notices = launched(
        [tiny_run({"training.checkpoint_every": "time", "evaluation.confidence": 0.5})], tmp_path
    )
    assert (list(outcome.reevaluated), notices) == (["mixed-seed0"], [])


def test_the_same_command_again_says_nothing(copied: Finished) -> None:
    assert launched([copied.run], copied.results)[1] == []
