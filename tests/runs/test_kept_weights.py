"""Weights that are kept along training: which, that a resumed run keeps the same bytes, and reading them back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from finished_runs import Finished, executed
from tiny_runs import Killed, killed_at, tiny_run

import icl_curriculum
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.runs.execution import directory_of, execute
from icl_curriculum.runs.kept_weights import kept_steps
from icl_curriculum.runs.launch import launch
from icl_curriculum.training import Trainer

#: Checkpoints are at 5, 10 and 12, so step 9 is kept between a checkpoint and the next one.
KEEP = {"training.keep_checkpoints": [9, 4], "evaluation.shifts": [], "evaluation.baselines": ["zero"]}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return executed(tmp_path_factory.mktemp("kept"), KEEP)


@pytest.fixture
def mine(kept: Finished, tmp_path: Path) -> Path:
    """The run's directory in a place where it may be damaged."""
    return Path(shutil.copytree(kept.path, tmp_path / kept.path.name))


def files(run_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run_dir / "checkpoints").iterdir()}


def test_the_weights_of_the_steps_asked_for_are_kept_with_their_hashes(kept: Finished) -> None:
    names = {4: "step-000004.safetensors", 9: "step-000009.safetensors"}
    assert set(files(kept.path)) == set(names.values())
    hashes = {str(step): bytes_hash(files(kept.path)[name]) for step, name in names.items()}
    assert kept.manifest()["checkpoints"] == hashes
    assert kept_steps(kept.path) == [4, 9, 12]
    trainer = Trainer(kept.run)
    for _ in range(9):
        trainer.update()
    loaded = icl_curriculum.load_model(kept.path, step=9)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in trainer.model.state_dict().items())


def test_a_number_keeps_the_first_step_and_every_so_many(tmp_path: Path) -> None:
    run = tiny_run({"training.keep_checkpoints": 5})
    assert run.experiment.training.kept_steps() == (0, 5, 10)
    assert tiny_run({"training.keep_checkpoints": 6}).experiment.training.kept_steps() == (0, 6, 12)


def test_the_last_step_is_there_without_being_kept(kept: Finished) -> None:
    last, plain = (icl_curriculum.load_model(kept.path, step=step).state_dict() for step in (12, None))
    assert all(torch.equal(value, plain[name]) for name, value in last.items())


@pytest.mark.parametrize("done", [4, 8, 10])
def test_a_killed_run_keeps_the_same_bytes_when_resumed(tmp_path: Path, kept: Finished, done: int) -> None:
    """Killed before the first checkpoint, between one and the weights kept next, and after both."""
    with pytest.raises(Killed):
        execute(kept.run, tmp_path, report=killed_at("training", done))
    execute(kept.run, tmp_path)
    again = Finished(kept.run, tmp_path, [])
    assert files(again.path) == files(kept.path)
    assert again.manifest()["checkpoints"] == kept.manifest()["checkpoints"]


def test_fresh_moves_them_aside_with_the_run(tmp_path: Path, kept: Finished) -> None:
    shutil.copytree(kept.results, tmp_path / "results")
    other = tiny_run({**KEEP, "training.keep_checkpoints": [2]})
    launch([other], tmp_path / "results", jobs=0, fresh=True, report=lambda progress: None)
    directory = directory_of(other, tmp_path / "results").path
    assert files(directory.parent / "aside/mixed-seed0-1") == files(kept.path)
    assert set(files(directory)) == {"step-000002.safetensors"}


def removed(run_dir: Path) -> None:
    (run_dir / "checkpoints/step-000004.safetensors").unlink()


def edited(run_dir: Path) -> None:
    path = run_dir / "checkpoints/step-000004.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def swapped(run_dir: Path) -> None:
    shutil.copy(run_dir / "checkpoints/step-000009.safetensors", run_dir / "checkpoints/step-000004.safetensors")


@pytest.mark.parametrize(
    ("change", "step", "message"),
    [
        (None, 8, r"weights of step 8 were not kept; the closest that is there is step 9, of 4, 9, 12$"),
        (removed, 4, r"weights of step 4 were kept, and removed since; the closest that is there is step 9, of 9, 12$"),
        (edited, 4, r"step-000004.safetensors is damaged: it is not what the run wrote at step 4;"),
        (swapped, 4, r"step-000004.safetensors is damaged: it is not what the run wrote at step 4;"),
    ],
)  # fmt: skip
def test_weights_that_are_not_those_of_the_step_are_refused(
    mine: Path, change: Callable[[Path], None] | None, step: int, message: str
) -> None:
    if change is not None:
        change(mine)
    with pytest.raises(UserError, match=message):
        icl_curriculum.load_model(mine, step=step)


def test_a_run_that_kept_none_says_how_to_keep_some(finished: Finished) -> None:
    assert kept_steps(finished.path) == [12]
    with pytest.raises(UserError, match=r"there are only those of step 12, the last; training\.keep_checkpoints says"):
        icl_curriculum.load_model(finished.path, step=4)


EXPECTED = "expected a number of steps from 1, or a list of steps, as in [100, 200]"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([4, 13], "training.keep_checkpoints: 13 exceeds training.steps = 12; keep fewer, or train for longer"),
        (13, "training.keep_checkpoints: 13 exceeds training.steps = 12"),
        ([4, 4], "training.keep_checkpoints: 4 stands there twice; expected every step once"),
        (0, f"training.keep_checkpoints: {EXPECTED}, found 0"),
        ([4, 0.5], f"training.keep_checkpoints: {EXPECTED}, found [4, 0.5]"),
        (True, f"training.keep_checkpoints: {EXPECTED}, found True"),
    ],
)  # fmt: skip
def test_mistaken_steps(given: object, message: str) -> None:
    with pytest.raises(UserError) as error:
        tiny_run({"training.keep_checkpoints": given})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_list_keeps_none_and_is_no_other_config() -> None:
    """So that an experiment can take back what it inherits."""
    assert tiny_run({"training.keep_checkpoints": []}).hash() == tiny_run().hash()
    assert tiny_run({"training.keep_checkpoints": [4]}).hash() != tiny_run().hash()
