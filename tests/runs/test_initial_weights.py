"""Runs that start from another run's weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch
from finished_runs import Finished, assert_same_results, weights
from tiny_runs import Icl, Killed, killed_at, tiny_run, tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import Trainer


@pytest.fixture
def first(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in results/ of the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished.path, tmp_path / "results/tiny/mixed-seed0")
    return tmp_path / "results/tiny/mixed-seed0"


def second(initial: str | Path, *, seed: int = 0) -> Run:
    return tiny_run({"model.initial": str(initial), "name": "second"}, seed=seed)


@pytest.mark.parametrize("named", ["its folder", "EXPERIMENT/RUN", "its weights file"])
def test_training_starts_from_the_weights_of_the_run(first: Path, finished: Finished, named: str) -> None:
    place = {"its folder": first, "EXPERIMENT/RUN": "tiny/mixed-seed0", "its weights file": first / "model.safetensors"}
    trainer = Trainer(second(place[named], seed=3))
    state = trainer.model.state_dict()
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in weights(finished).items()
    }
    assert trainer.step == 0


def test_the_first_errors_are_the_last_of_the_run_and_all_is_repeated_without_it(
    first: Path, finished: Finished, tmp_path: Path
) -> None:
    run = second(first)
    execute(run, tmp_path / "one")
    found = Finished(run, tmp_path / "one", [])
    before, after = finished.table("learning"), found.table("learning")
    columns = ["function_class", "input_distribution", "n_context", "value"]
    pd.testing.assert_frame_equal(
        before.query("step == step.max()")[columns].reset_index(drop=True),
        after.query("step == 0")[columns].reset_index(drop=True),
    )
    with pytest.raises(Killed):
        execute(run, tmp_path / "two", report=killed_at("training", 8))
    shutil.rmtree(first)
    execute(run, tmp_path / "two")
    assert_same_results(Finished(run, tmp_path / "two", []), found)
    # The same weights by another path are the same run.
    assert second(found.path / run.experiment.model.initial.copy).hash() == run.hash()  # type: ignore[union-attr]
    assert tiny_run().hash() != run.hash()


def test_what_cannot_be_started_from_is_one_message(first: Path, icl: Icl, tmp_path: Path) -> None:
    def message(initial: str, **changes: object) -> str:
        file = write_toml(tmp_path / "second.toml", tiny_values({"model.initial": initial, **changes}))
        code, out, complaint = icl("run", file, "--results", tmp_path / "new")
        assert (code, out, complaint.count("\n")) == (2, "", 1)
        assert not (tmp_path / "new").exists()
        return complaint.strip().split("model.initial: ")[1]

    assert message("tiny/mixed-seed1") == (
        "expected the folder of a finished run, such as results/mixed/mixed-seed0, or a weights file, found "
        "'tiny/mixed-seed1', which is neither"
    )
    assert message("results/tiny").startswith("expected the folder of a finished run, found no run in ")
    weights_file = first / "model.safetensors"
    assert message("tiny/mixed-seed0", **{"model.heads": 4}) == (
        f"{first} is a run of another model: expected heads = 4, found 2; name a copy of its weights file to "
        "start from them all the same"
    )
    weights_file = Path(shutil.copy(weights_file, tmp_path))
    assert message("model.safetensors", **{"model.width": 16}) == (
        f"{weights_file} holds the weights of another model: expected 'read_in' of shape (16, 5), found of shape (8, 5)"
    )
    weights_file = first / "model.safetensors"
    assert "holds the weights of another model, with 'blocks.1" in message_of_more(message, first, tmp_path)
    held = safetensors.torch.load_file(weights_file)
    safetensors.torch.save_file({name: value.to(torch.int8) for name, value in held.items()}, "int8.safetensors")
    assert "another model: expected 'read_in' of type torch.float32, found torch.int8" in message("int8.safetensors")
    assert message("second.toml").startswith(f"{tmp_path / 'second.toml'} is no weights file, or damaged (")
    weights_file.write_bytes(weights_file.read_bytes() + b"x")
    assert (
        message("tiny/mixed-seed0") == f"{weights_file} is damaged: expected what the run wrote, found something else"
    )
    manifest = first / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"status": "finished"', '"status": "running"'))
    assert message("tiny/mixed-seed0") == f"expected the folder of a finished run, found one that is running: {first}"
    manifest.write_text("[" * 100_000)
    assert message("tiny/mixed-seed0").startswith("expected the folder of a finished run, found no run in ")


def message_of_more(message: object, first: Path, tmp_path: Path) -> str:
    """The message where the file holds a tensor that the model lacks."""
    held = safetensors.torch.load_file(first / "model.safetensors")
    safetensors.torch.save_file({**held, "blocks.1.more": torch.zeros(1)}, tmp_path / "more.safetensors")
    return str(message("more.safetensors"))  # type: ignore[operator]
