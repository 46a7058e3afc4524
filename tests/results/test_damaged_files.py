"""Runs that are finished, of another config, in use, damaged or foreign."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from finished_runs import FINISHED, Finished, executed
from resealed import reseal, unsealed
from tiny_runs import Killed, killed_at, tables, tiny_run

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import bytes_hash
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import directory_of, execute, is_finished, move_aside

# Finished, other and damaged runs


def modified(path: Path) -> dict[str, int]:
    return {
        str(file): file.stat().st_mtime_ns
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith(".lock")
    }


def test_a_finished_run_is_left_alone(copied: Finished) -> None:
    before = modified(copied.results)
    assert is_finished(copied.run, copied.results)
    execute(copied.run, copied.results, report=(progress := []).append)
    assert modified(copied.results) == before
    assert progress == []


def test_another_description_is_the_same_run(copied: Finished) -> None:
    assert is_finished(tiny_run({**FINISHED, "description": "reworded"}), copied.results)


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"training.steps": 13, "model.width": 16}, "model.width, training.steps"),
        ({"function_classes": ["linear", {"name": "quadratic", "label_noise": 0.5}]}, "function_classes.1.label_noise"),
        ({"training.clip": 2.0, "evaluation.shifts": []}, "training.clip"),
        ({"model.max_points": 20}, "model.max_points"),
    ],
)
def test_another_config_names_the_changed_keys_and_the_ways_out(
    copied: Finished, changes: dict[str, Any], keys: str
) -> None:
    before = modified(copied.results)
    with pytest.raises(UserError) as error:
        execute(tiny_run({**FINISHED, **changes}), copied.results)
    assert str(copied.path) in str(error.value)
    assert f"changed: {keys}. " in str(error.value)
    assert "fresh=True" in str(error.value)
    assert "results=DIR" in str(error.value)
    assert modified(copied.results) == before


def test_only_affected_runs_are_moved_aside(copied: Finished) -> None:
    other = tiny_run({**FINISHED, "training.steps": 6})
    before = tables(copied.path)
    assert move_aside(copied.run, copied.results) is None, "finished, and the very run"
    assert move_aside(tiny_run(seed=9), copied.results) is None, "not there"
    first = move_aside(other, copied.results)
    assert first == copied.results / "tiny" / "aside" / "mixed-seed0-1"
    assert tables(first) == before
    assert not copied.path.exists()
    with pytest.raises(Killed):
        execute(other, copied.results, report=killed_at("training", 5))
    assert move_aside(other, copied.results) == first.with_name("mixed-seed0-2"), "unfinished"
    execute(other, copied.results)
    assert is_finished(other, copied.results)


def test_a_run_in_use_is_refused(copied: Finished) -> None:
    with (
        directory_of(copied.run, copied.results).locked(),
        pytest.raises(UserError, match="in use by process"),
    ):
        execute(copied.run, copied.results)


class Exploit:
    """Would leave a file behind if a checkpoint were unpickled like any Python object."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.marker),)


def saved(value: Any) -> bytes:
    torch.save(value, buffer := io.BytesIO())
    return buffer.getvalue()


def without(state: bytes, key: str) -> bytes:
    loaded = torch.load(io.BytesIO(state), weights_only=True)
    del loaded[key]
    return saved(loaded)


def with_another_model(state: bytes) -> bytes:
    loaded = torch.load(io.BytesIO(state), weights_only=True)
    loaded["trainer"]["model"] = {"read_in": torch.zeros(1)}
    return saved(loaded)


def with_a_byte_flipped(state: bytes) -> bytes:
    """In a tensor's data, of which torch's own reader would notice nothing."""
    weights = torch.load(io.BytesIO(state), weights_only=True)["trainer"]["model"]["qkv"].numpy().tobytes()
    place = state.index(weights) + 5
    flipped = state[:place] + bytes([state[place] ^ 1]) + state[place + 1 :]
    torch.load(io.BytesIO(flipped), weights_only=True)
    return flipped


#: What may be found in place of a checkpoint, given the true one and where an exploit would leave its mark.
DAMAGE: dict[str, Callable[[bytes, Path], bytes]] = {
    "cut in half": lambda state, marker: state[: len(state) // 2],
    "cut to a few bytes": lambda state, marker: state[:10],
    "short of a byte": lambda state, marker: state[:-1],
    "empty": lambda state, marker: b"",
    "one byte of a tensor": lambda state, marker: with_a_byte_flipped(state),
    "text": lambda state, marker: b"not a checkpoint",
    "a foreign pickle": lambda state, marker: pickle.dumps(Exploit(marker)),
    "an old foreign pickle": lambda state, marker: pickle.dumps(Exploit(marker), protocol=2),
    "a foreign pickle in torch's format": lambda state, marker: saved({"trainer": Exploit(marker)}),
    "a list": lambda state, marker: saved([1, 2]),
    "a tensor": lambda state, marker: saved(torch.zeros(3)),
    "without the tables' lengths": lambda state, marker: without(state, "tables"),
    "without the trainer": lambda state, marker: without(state, "trainer"),
    "another model's": lambda state, marker: with_another_model(state),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_checkpoint_is_an_error_and_runs_no_code(
    half: Finished, tmp_path: Path, damage: Callable[[bytes, Path], bytes]
) -> None:
    file, marker = half.path / "state.pt", tmp_path / "executed"
    file.write_bytes(damage(file.read_bytes(), marker))
    before = modified(half.results)
    with pytest.raises(UserError) as error:
        execute(half.run, half.results)
    for part in (str(file), "damaged", "fresh=True"):
        assert part in str(error.value)
    assert not marker.exists()
    assert modified(half.results) == before
    assert move_aside(half.run, half.results) is not None, "what fresh does is a way out"


def test_the_exploit_would_work_where_pickles_are_trusted(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Exploit(tmp_path / "executed")))
    assert (tmp_path / "executed").is_dir()


def test_a_table_that_lost_what_its_checkpoint_knows_is_an_error(half: Finished) -> None:
    os.truncate(half.path / "training.csv", 50)
    with pytest.raises(UserError, match=r"training\.csv is damaged"):
        execute(half.run, half.results)


def test_a_finished_table_that_lost_rows_is_an_error(copied: Finished) -> None:
    table = copied.path / "evaluation.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-3]))
    with pytest.raises(UserError, match=r"evaluation\.csv"):
        collect(copied.path.parent, {copied.run.variant: copied.run.hash()})


# Files of another run, or of no run


def test_a_checkpoint_of_another_seed_is_foreign(half: Finished) -> None:
    """Of the very same shape, so nothing but its mark gives it away."""
    other = tiny_run(seed=1)
    with pytest.raises(Killed):
        execute(other, half.results, report=killed_at("training", 8))
    shutil.copy(directory_of(other, half.results).path / "state.pt", half.path)
    with pytest.raises(UserError, match=r"state.pt is damaged or foreign \(it belongs to mixed-seed1\).*fresh=True"):
        execute(half.run, half.results)


def test_a_checkpoint_of_another_config_is_foreign(half: Finished, tmp_path: Path) -> None:
    other = tiny_run({"training.batch_size": 4})
    with pytest.raises(Killed):
        execute(other, tmp_path / "other", report=killed_at("training", 8))
    shutil.copy(directory_of(other, tmp_path / "other").path / "state.pt", half.path)
    with pytest.raises(UserError, match=r"foreign \(it belongs to mixed-seed0 of another config\)"):
        execute(half.run, half.results)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[: len(text) // 2], r"is damaged: .*; restore it, or start afresh with fresh=True"),
        (lambda text: "", "manifest.json is damaged"),
        (lambda text: "[]", "manifest.json is damaged: expected an object, found list"),
        (lambda text: '{"status": "finished"}', "is damaged: .*with config_hash, status, variant and seed"),
        (lambda text: text.replace('"seed": 0', '"seed": "0"'), "manifest.json is damaged: .* its seal says"),
    ],
    ids=["cut in half", "empty", "a list", "not a run's", "a seed that is text"],
)  # fmt: skip
def test_a_damaged_manifest_is_an_error(copied: Finished, damage: Callable[[str], str], message: str) -> None:
    file = copied.path / "manifest.json"
    file.write_text(damage(file.read_text()))
    before = modified(copied.results)
    with pytest.raises(UserError, match=message):
        execute(copied.run, copied.results)
    assert modified(copied.results) == before
    assert collect_fails(copied), "and such a run is not collected"
    assert move_aside(copied.run, copied.results) is not None, "what fresh does is a way out"


def collect_fails(run: Finished) -> bool:
    try:
        collect(run.path.parent, {run.run.variant: run.run.hash()})
    except UserError:
        return True
    return False


def test_a_run_does_not_change_its_kind_of_device(half: Finished) -> None:
    state = torch.load(half.path / "state.pt", weights_only=True)
    torch.save({**state, "device": "cuda"}, half.path / "state.pt")
    with pytest.raises(UserError, match=r"begun on cuda, this is cpu, whose results differ; give device=cuda"):
        execute(half.run, half.results)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: pickle.dumps([1]),
        lambda data: safetensors.torch.save({"x": torch.zeros(1)}),
    ],
    ids=["a byte changed", "cut in half", "empty", "a pickle", "another model's"],
)
def test_damaged_weights_are_an_error(copied: Finished, damage: Callable[[bytes], bytes]) -> None:
    file = copied.path / "model.safetensors"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"model\.safetensors is damaged: it is not what the run wrote"):
        load_model(copied.path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "model.safetensors is damaged or no weights file"),
        (safetensors.torch.save({"x": torch.zeros(1)}), "holds the weights of another model"),
    ],
    ids=["empty", "another model's"],
)
def test_weights_that_a_manifest_was_made_for_are_read_with_care(copied: Finished, data: bytes, message: str) -> None:
    (copied.path / "model.safetensors").write_bytes(data)
    reseal(copied.path / "manifest.json", {"weights": bytes_hash(data)})
    with pytest.raises(UserError, match=message):
        load_model(copied.path)


@pytest.mark.parametrize("content", ["", "x = ", 'name = "tiny"\n', "seed = 0\nvariant = 3\n"])
def test_a_config_that_is_no_run_s_is_an_error(copied: Finished, content: str) -> None:
    (copied.path / "config.toml").write_text(content)
    with pytest.raises(UserError, match=r"config\.toml is damaged: it is not what the run wrote"):
        load_model(copied.path)
    # As of a version that did not seal it.
    unsealed(copied.path / "manifest.json", {"config_file": None})
    with pytest.raises(UserError, match=r"config\.toml: (not a valid TOML file|expected the config of a run)"):
        load_model(copied.path)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("json", ""),
        ("json", "[[1, 2]]"),
        ("json", "{}"),
        ("json", "[3]"),
        ("safetensors", ""),
        ("safetensors", "other"),
    ],
)
def test_a_damaged_cache_of_baselines_is_computed_anew(
    copied: Finished, tmp_path: Path, kind: str, content: str
) -> None:
    cache = copied.path.parent / ".cache"
    files = list(cache.glob(f"*.{kind}"))
    assert files
    for file in files:
        file.write_text(content)
    other = executed(copied.results, FINISHED, seed=1)
    alone = executed(tmp_path / "alone", FINISHED, seed=1)
    assert tables(other.path) == tables(alone.path)


def test_a_finished_run_with_damaged_weights_is_not_intact(copied: Finished) -> None:
    file = copied.path / "model.safetensors"
    directory_of(copied.run, copied.results).check_intact()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"model.safetensors is damaged: it is not what the run wrote"):
        directory_of(copied.run, copied.results).check_intact()
    assert move_aside(copied.run, copied.results) is not None
