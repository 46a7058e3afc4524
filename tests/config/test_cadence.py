"""How often a run writes where its file doesn't say, and that its hash stays what it was."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from pydantic import Field
from tiny_runs import tiny_run, write_toml

from icl_curriculum.config import cadence
from icl_curriculum.config.loading import build, load
from icl_curriculum.config.tables import TrainingConfig
from icl_curriculum.core.component import Strict, default_was
from icl_curriculum.core.errors import UserError


def test_the_examples_in_the_docstrings() -> None:
    assert doctest.testmod(cadence).failed == 0


@pytest.mark.parametrize(
    ("steps", "log_every", "learning_every"),
    [(1, 10, 50), (8000, 10, 50), (20_000, 20, 50), (99_999, 50, 50), (100_000, 100, 100), (500_001, 500, 500)],
)
def test_a_long_run_writes_about_a_thousand_rows(steps: int, log_every: int, learning_every: int) -> None:
    config = TrainingConfig(steps=steps)
    assert (config.log_every, config.learning_every, config.checkpoint_every) == (log_every, learning_every, "time")


def test_what_is_given_is_kept() -> None:
    config = TrainingConfig(steps=500_000, log_every=10, learning_every=7, checkpoint_every=200)
    assert (config.log_every, config.learning_every, config.checkpoint_every) == (10, 7, 200)


def test_a_config_with_all_numbers_written_out_is_the_same_run(tmp_path: Path) -> None:
    long = load(str(write_toml(tmp_path / "long.toml", {"training": {"steps": 60_000}})))[0]
    resolved = long.experiment.resolved()
    assert resolved["training"]["log_every"] == 50
    assert build(resolved, source="") == long.experiment
    other = load(str(tmp_path / "long.toml"), overrides=["training.log_every=10"])[0]
    assert other.hash() != long.hash()


def test_checkpoints_by_time_have_the_hash_of_the_former_default() -> None:
    """They change no table, and runs that were finished with it stay finished."""
    by_time = tiny_run({"training.checkpoint_every": "time"})
    assert by_time.hash() == tiny_run({"training.checkpoint_every": 200}).hash()
    assert by_time.hash() != tiny_run({"training.checkpoint_every": 100}).hash()


def test_a_default_that_changed_stands_in_the_hash_as_it_was() -> None:
    class Before(Strict):
        every: int = 200

    class After(Strict):
        every: int | None = Field(15, json_schema_extra=default_was(200))

    assert After().deciding() == Before().deciding() == {"every": 200}
    assert After(every=3).deciding() == {"every": 3}


@pytest.mark.parametrize("every", ["never", "", 0, -1, 2.0, True])
def test_a_cadence_that_is_none_is_refused(every: object) -> None:
    with pytest.raises(UserError, match="checkpoint_every: expected a whole number of at least 1, or 'time', found"):
        tiny_run({"training.checkpoint_every": every})


def test_a_mistake_is_told_once_not_also_of_the_defaults_that_hang_on_it() -> None:
    with pytest.raises(UserError) as error:
        build({"training": {"steps": "many"}}, source="my.toml")
    assert str(error.value) == "my.toml: training.steps: expected a valid integer, found 'many'"
