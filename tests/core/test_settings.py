"""The caller's settings of torch and numpy change no bank and no run, and are as they were afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import bank_of
from tiny_runs import tables, tiny_run

from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation.banks import content_hash
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import execute


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def on_another_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def in_rough_arithmetic() -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    try:
        with np.errstate(all="raise"), torch.autocast("cpu", torch.bfloat16):
            yield
            assert np.geterr()["under"] == "raise"
            assert torch.is_autocast_enabled("cpu")
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield
        assert torch.is_inference_mode_enabled()


SETTINGS = {each.__name__: each for each in (in_float64, on_another_device, in_rough_arithmetic, without_gradients)}


@pytest.mark.parametrize("name", SETTINGS)
def test_banks_are_the_same_bytes(name: str) -> None:
    asked = [("linear", None), ("relu_network", None), ("decision_tree", None), ("hermite", "random_quadrants")]
    banks = [bank_of(function_class, shift) for function_class, shift in asked]
    usual = [content_hash(bank.draw()) for bank in banks]
    setting: AbstractContextManager[None] = SETTINGS[name]()
    with setting:
        found = [bank.draw() for bank in banks]
    assert [content_hash(prompts) for prompts in found] == usual
    assert not any(prompts.xs.is_inference() for prompts in found)


def test_a_run_is_the_same_bytes(tmp_path: Path) -> None:
    run = tiny_run({"evaluation.shifts": []})
    execute(run, tmp_path / "usual")
    with in_float64(), without_gradients():
        execute(run, tmp_path / "other")
        model = load_model(tmp_path / "other/tiny/mixed-seed0")
    usual, other = (tmp_path / name / "tiny/mixed-seed0" for name in ("usual", "other"))
    assert tables(other) == tables(usual)
    assert (other / "model.safetensors").read_bytes() == (usual / "model.safetensors").read_bytes()
    prompts = bank_of().draw()
    with torch.no_grad():
        expected = load_model(usual)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert len(list(expected.parameters())) == len(list(model.parameters()))
    assert prompts.xs.dtype == torch.float32


def test_what_the_suite_sets_itself_is_left_within() -> None:
    with own_settings():
        torch.set_float32_matmul_precision("high")
        with own_settings():
            assert torch.get_float32_matmul_precision() == "high"
        torch.set_float32_matmul_precision("highest")


def test_cudnn_does_not_round_what_a_model_answers_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default torch lets it, and a recurrent model would answer otherwise than when its errors were measured."""
    assert torch.backends.cudnn.allow_tf32
    with own_settings():
        assert torch.backends.cudnn.allow_tf32, "nothing is computed there"
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with own_settings():
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
