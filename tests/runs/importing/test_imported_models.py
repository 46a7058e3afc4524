"""Imported models answer as Hugging Face's GPT-2 does with the same weights, whatever file they come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_checkpoints import GARG, WrappedGpt2, changed, foreign_weights, write_state
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
