"""Imported models answer as Hugging Face's GPT-2 does with the same weights, whatever file they come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import BHASIN, GARG, WrappedGpt2, changed, foreign_weights, write_state
from torch import Tensor

import icl_curriculum as icl

SIZES = {"3x64": (3, 64, 2), "12x256": (12, 256, 8)}
FEW: dict[str, Any] = {"n_prompts": 2, "device": "cpu"}


def prompts(*, points: int, dims: int, batch: int = 2) -> icl.Prompts:
    made = torch.Generator().manual_seed(1)
    xs, ys = torch.randn(batch, points, dims, generator=made), torch.randn(batch, points, generator=made)
    return icl.Prompts(xs=xs, ys=ys, targets=ys)


@pytest.mark.parametrize("size", SIZES)
def test_a_checkpoint_in_either_format_answers_as_hugging_face_does(size: str, tmp_path: Path) -> None:
    layers, width, heads = SIZES[size]
    theirs = WrappedGpt2(dims=20, positions=101, width=width, layers=layers, heads=heads).eval()
    asked = prompts(points=101, dims=20)
    with torch.no_grad():
        expected = theirs(asked.xs, asked.ys)
    assert expected.std() > 0.1
    config = changed(GARG, curriculum={"points": {"start": 3, "end": 5, "inc": 1, "interval": 10}})
    config["model"] = {
        "family": "gpt2", "n_dims": 20, "n_positions": 101, "n_embd": width, "n_layer": layers, "n_head": heads,
    }  # fmt: skip
    folder = write_state(tmp_path / "state", theirs.state_dict(), config)
    torch.save(theirs.state_dict(), tmp_path / "model_300000.pt")
    runs = [
        icl.import_checkpoint(folder, results=tmp_path / "results", **FEW),
        icl.import_checkpoint(tmp_path / "model_300000.pt", results=tmp_path / "results", heads=heads, points=5, **FEW),
    ]
    for run_dir in runs:
        assert torch.allclose(icl.load_model(run_dir).predict(asked), expected, rtol=0, atol=1e-5)


TOLD = {"type": "task", "encoding": "dynamic", "position": 0}


@pytest.mark.parametrize("kind", ["model_two", "model_three", "model_four"])
def test_what_stood_before_every_prompt_is_told_again(kind: str, tmp_path: Path) -> None:
    """The row is that of the task; two tokens take the place of a point."""
    theirs = WrappedGpt2(dims=3, positions=12, width=8, layers=2, heads=2).eval()
    folder = write_state(
        tmp_path / "theirs", theirs.state_dict(), changed(BHASIN, prompt_type=kind, prompt_kwargs=TOLD)
    )
    presets = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(2))
    files = [tmp_path / "linear_instruction.pt", tmp_path / "quadratic_instruction.pt"] if kind == "model_four" else []
    for file, vector in zip(files, presets, strict=False):
        torch.save(vector.clone(), file)
    run_dir = icl.import_checkpoint(folder, results=tmp_path / "results", instruction_files=files, **FEW)
    imported = icl.load_model(run_dir)
    assert imported.max_points == (11 if kind == "model_three" else 12)
    asked = prompts(points=11, dims=3)  # theirs also reads the last label, for which there must be a position
    for row, name in enumerate(("hermite/1/weights=gaussian", "hermite/2/weights=gaussian")):
        with torch.no_grad():
            if kind == "model_four":
                expected = theirs(asked.xs, asked.ys, preset=presets[row])
            else:
                expected = theirs(asked.xs, asked.ys, one_hot=(2 if kind == "model_three" else 1, row))
        found = imported.predict(dataclasses.replace(asked, function_class=name))
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_the_same_token_before_every_prompt_tells_the_only_inputs(tmp_path: Path) -> None:
    """Without arguments, their code puts row 0 before all of them, whatever the task."""
    theirs = WrappedGpt2(dims=3, positions=12, width=8, layers=2, heads=2).eval()
    folder = write_state(tmp_path / "theirs", theirs.state_dict(), changed(BHASIN, prompt_type="model_two"))
    imported = icl.load_model(icl.import_checkpoint(folder, results=tmp_path / "results", **FEW))
    asked = prompts(points=11, dims=3)
    with torch.no_grad():
        expected = theirs(asked.xs, asked.ys, one_hot=(1, 0))
    told = dataclasses.replace(asked, function_class="hermite/2/weights=gaussian", input_distribution="gaussian")
    assert torch.allclose(imported.predict(told), expected, rtol=0, atol=1e-5)


def wrapped(prefix: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {f"{prefix}{name}": value for name, value in weights.items()}


def without_buffers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As newer versions of transformers write them."""
    return {name: value for name, value in weights.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}


@pytest.mark.parametrize(
    "change",
    [
        without_buffers,
        wrapped("module."),
        wrapped("_orig_mod."),
        wrapped("_orig_mod.module."),
        lambda weights: {name: value.double() for name, value in weights.items()},
    ],
    ids=["no mask buffers", "parallel", "compiled", "both", "double precision"],
)
def test_other_forms_of_the_same_weights_give_the_same_model(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], tmp_path: Path
) -> None:
    asked = prompts(points=12, dims=3)
    answers = []
    for name, weights in (("as_written", foreign_weights()), ("changed", change(foreign_weights()))):
        folder = write_state(tmp_path / name, weights, GARG)
        run_dir = icl.import_checkpoint(folder, results=tmp_path / "results", **FEW)
        answers.append(icl.load_model(run_dir).predict(asked))
    assert torch.equal(*answers)
