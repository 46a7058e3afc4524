"""What cannot be imported is one message that names the file, the key, what was found and what was expected."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import GARG, foreign_weights, write_state
from tiny_runs import Icl

Weights = dict[str, Any]


def without(key: str) -> Callable[[Weights], Weights]:
    return lambda weights: {name: value for name, value in weights.items() if name != key}


def having(key: str, value: Any) -> Callable[[Weights], Weights]:
    return lambda weights: {**weights, key: value}


NAN = torch.full((8,), torch.nan)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            without("_read_in.bias"),
            "{file}: _read_in.bias: expected among the weights of the 2 layers that {config} says, but missing",
        ),
        (
            having("_backbone.h.1.mlp.c_fc.weight", torch.zeros(8, 31)),
            "{file}: _backbone.h.1.mlp.c_fc.weight: expected shape (8, 32), as {config} says n_dims = 3, "
            "n_positions = 12, n_embd = 8, n_layer = 2, found (8, 31)",
        ),
        (
            lambda weights: foreign_weights(width=16),
            "{file}: _read_in.weight: expected shape (8, 3), as {config} says n_dims = 3, n_positions = 12, "
            "n_embd = 8, n_layer = 2, found (16, 3)",
        ),
        (
            lambda weights: foreign_weights(layers=1),
            "{file}: _backbone.h.1.ln_1.weight: expected among the weights of the 2 layers that {config} says, but "
            "missing",
        ),
        (
            lambda weights: foreign_weights(layers=3),
            "{file}: _backbone.h.2.ln_1.weight: no weight of a model of 2 layers, as {config} says n_dims = 3, "
            "n_positions = 12, n_embd = 8, n_layer = 2, and 11 more",
        ),
        (
            having("_read_out.bias", torch.zeros(1, dtype=torch.int64)),
            "{file}: _read_out.bias: expected a dense tensor of floating-point numbers, found a tensor of torch.int64",
        ),
        (
            having("_read_in.weight", 3),
            "{file}: _read_in.weight: expected a dense tensor of floating-point numbers, found a int",
        ),
        (having("_read_in.weight", torch.zeros(8)), "{file}: _read_in.weight: expected a matrix, found (8,)"),
        (
            having("_backbone.wpe.weight", torch.zeros(23, 8)),
            "{file}: _backbone.wpe.weight: expected two rows for every pair of a prompt, found (23, 8)",
        ),
        (
            having("_backbone.ln_f.bias", NAN),
            "{file}: _backbone.ln_f.bias: holds values that are not finite: its training diverged, or it is damaged",
        ),
        (
            having("module._read_in.bias", torch.zeros(8)),
            "{file}: module._read_in.bias: stands there twice, under different prefixes",
        ),
        (
            lambda weights: {"transformer.h.0.ln_1.weight": torch.ones(8), "lm_head.weight": torch.ones(8, 8)},
            "{file} holds no '_read_in.weight', which every checkpoint of Garg et al.'s and Bhasin et al.'s code has; "
            "found lm_head.weight, transformer.h.0.ln_1.weight",
        ),
        (lambda weights: {}, "{file} holds no '_read_in.weight', which every checkpoint of Garg et al.'s and Bhasin et "
                             "al.'s code has; found nothing"),
        (lambda weights: [1, 2], "{file}: expected weights by their names, or a dict that has them under "
                                 "model_state_dict, found a list"),
    ],
    ids=[
        "missing", "another shape", "another width", "too few layers", "too many layers", "integers", "no tensor",
        "no matrix", "odd positions", "not finite", "twice", "another model's", "empty", "no weights",
    ],
)  # fmt: skip
def test_weights_of_another_shape_or_of_another_code(
    change: Callable[[Weights], Any], message: str, icl: Icl, tmp_path: Path
) -> None:
    folder = write_state(tmp_path / "theirs", change(foreign_weights()), GARG)
    code, out, err = icl("import", folder, "--results", tmp_path / "results")
    assert (code, out) == (2, "")
    assert err == "error: " + message.format(file=folder / "state.pt", config=folder / "config.yaml") + "\n"
    assert not (tmp_path / "results").exists()


class Code:
    """What a pickle executes when it is loaded without care."""

    def __reduce__(self) -> Any:
        return Path.write_text, (Path("executed"), "")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def altered(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "is damaged, or no checkpoint of torch's that holds tensors and plain values alone ("),
        (altered, "is damaged, or no checkpoint of torch's that holds tensors and plain values alone (ValueError)"),
        (lambda path: path.write_bytes(b""), "is damaged, or no checkpoint of torch's"),
        (lambda path: path.write_bytes(b"\x89PNG nothing of the kind" * 9), "is damaged, or no checkpoint of torch's"),
        (
            lambda path: torch.save({"model_state_dict": foreign_weights(), "train_step": Code()}, path),
            "holds more than tensors and plain values: it names ",
        ),
        (lambda path: path.write_bytes(pickle.dumps(Code())), "is damaged, or no checkpoint of torch's"),
        (
            lambda path: torch.save({"model_state_dict": foreign_weights(), "train_step": "x"}, path),
            ": train_step: expected a number of updates, found 'x'",
        ),
    ],
    ids=["cut off", "altered", "empty", "a picture", "code", "code alone", "step"],
)
def test_files_that_are_damaged_or_hold_code_execute_nothing(
    damage: Callable[[Path], Any], message: str, icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_state(tmp_path / "theirs", foreign_weights(), GARG)
    damage(folder / "state.pt")
    code, _, err = icl("import", folder, "--results", "results")
    assert code == 2
    assert err.startswith(f"error: {folder / 'state.pt'}")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "model_5.pt: the weights don't tell the number of attention heads, and there is no config.yaml that does; "
             "give --heads N\n"),
        (("--heads", "3"), "error: --heads: 3 heads do not divide the width of the weights, 8\n"),
        (("--heads", "2", "--points", "13"), "error: --points: expected from 2 to 12 points, which the positions "
                                             "allow, found 13\n"),
        (("--heads", "2", "--function-class", "lineer"), "error: --function-class lineer: unknown function class"),
        (("--heads", "2", "--inputs", "gausian"), "error: --inputs gausian: unknown input distribution"),
        (("--heads", "2", "--function-class", "parity"), "parity: expected inputs of -1 and 1"),
        (("--heads", "2", "--function-class", "sparse_linear/sparsity=9"), "sparsity 9 exceeds"),
        (("--name", "a/b"), "error: --name: 'a/b' cannot name a folder"),
        (("--config", "none.yaml"), "error: none.yaml: cannot be read: No such file or directory\n"),
        (("--heads", "2", "--plugin", "none.py"), "plugin file"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_meant(
    options: tuple[str, ...], message: str, icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(foreign_weights(), tmp_path / "model_5.pt")
    code, _, err = icl("import", "model_5.pt", *options)
    assert code == 2
    assert message in err
    assert not (tmp_path / "results").exists()


def test_the_published_number_of_heads_is_suggested(icl: Icl, tmp_path: Path) -> None:
    torch.save(foreign_weights(width=64, layers=3), tmp_path / "model_5.pt")
    assert (
        "give --heads N; the published model of 3 layers and width 64 has 2"
        in icl("import", tmp_path / "model_5.pt")[2]
    )


def test_heads_that_contradict_the_configuration(icl: Icl, tmp_path: Path) -> None:
    folder = write_state(tmp_path / "theirs", foreign_weights(), GARG)
    code, _, err = icl("import", folder, "--heads", "4")
    assert (code, err) == (
        2,
        f"error: --heads 4: {folder / 'config.yaml'} says n_head = 2; leave the option out\n",
    )


def test_paths_without_a_checkpoint(icl: Icl, tmp_path: Path) -> None:
    assert "nothing does not exist; expected a folder with config.yaml and state.pt" in icl("import", "nothing")[2]
    assert f"{tmp_path} holds no state.pt; expected a folder with" in icl("import", tmp_path)[2]
    for step in (9, 10):
        torch.save(foreign_weights(), tmp_path / f"model_{step}.pt")
    code, _, err = icl("import", tmp_path)
    assert code == 2
    assert f"{tmp_path} holds no state.pt; name one of its checkpoints: model_9.pt, model_10.pt\n" in err
