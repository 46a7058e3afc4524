"""Precision of training's matrix products, and compiled models."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.machine import Precision, arithmetic
from icl_curriculum.core.streams import Streams
from icl_curriculum.models import Transformer
from icl_curriculum.training import Trainer, optimizers
from icl_curriculum.training.compiling import sizes_of


def gradients_seen(monkeypatch: pytest.MonkeyPatch, precision: str) -> dict[str, Tensor]:
    """Those of the first update, of plain attention, so that both precisions take one path."""
    trainer = Trainer(tiny_run({"training.precision": precision, "model.attention": "plain"}))
    seen: dict[str, Tensor] = {}

    def note(factor: float) -> None:
        seen.update((name, value.grad) for name, value in trainer.model.named_parameters() if value.grad is not None)
        trainer.model.zero_grad()

    monkeypatch.setattr(trainer.optimizers, "step", note)
    trainer.update()
    return seen


def test_bfloat16_rounds_products_and_leaves_weights_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    exact, rounded = (gradients_seen(monkeypatch, precision) for precision in ("float32", "bfloat16"))
    differences = {name: float((rounded[name] - exact[name]).norm() / exact[name].norm()) for name in ("qkv", "mlp_in")}
    assert all(1e-4 < difference < 0.1 for difference in differences.values()), differences
    assert all(value.dtype == torch.float32 for value in rounded.values())


def test_bfloat16_asks_the_fused_attention_too() -> None:
    trainer = Trainer(tiny_run({"training.precision": "bfloat16"}))
    trainer.update()
    assert all(value.isfinite().all() for value in trainer.model.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_optimizer_stays_in_float32(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def noted(matrices: Tensor) -> Tensor:
        levelled = orthogonalize(matrices)
        exact = orthogonalize(matrices.double())
        asked.append(bool((levelled - exact).abs().max() < 1e-3))
        return levelled

    orthogonalize = optimizers.orthogonalize
    monkeypatch.setattr(optimizers, "orthogonalize", noted)
    Trainer(tiny_run({"training.precision": precision})).update()
    assert asked
    assert all(asked)


def test_reading_in_and_out_stays_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """They bound from below the error that can be reached."""
    trainer = Trainer(tiny_run({"model.layers": 1, "training.precision": "bfloat16"}))
    model = trainer.model
    with torch.no_grad():
        for name in ("attention_out", "mlp_out"):
            model.get_parameter(name).zero_()
    xs, ys = torch.randn(2, 5, 2), torch.randn(2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        rounded = model(xs, ys)
    with torch.no_grad():
        assert torch.equal(rounded, model(xs, ys))


def test_tf32_is_of_cuda_alone() -> None:
    with pytest.raises(UserError, match=r"training\.precision: tf32 is of CUDA devices, found cpu; expected float32"):
        Trainer(tiny_run({"training.precision": "tf32"}))


def test_tf32_holds_during_an_update_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    with arithmetic("tf32", "cuda:0"):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before


def test_within_a_block_weights_are_rounded_as_they_are_and_not_as_they_were() -> None:
    """Inner loops move them between two calls; torch would keep the first rounding until the block ends."""
    weight = nn.Parameter(torch.eye(3))
    with arithmetic("bfloat16", "cpu"):
        before = nn.functional.linear(torch.ones(1, 3), weight)
        with torch.no_grad():
            weight.mul_(2)
        after = nn.functional.linear(torch.ones(1, 3), weight)
    assert before.dtype == torch.bfloat16
    assert torch.equal(after, 2 * before)


@pytest.mark.parametrize(("precision", "rounds"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_cudnn_rounds_what_recurrent_layers_compute_for_tf32_alone(precision: Precision, rounds: bool) -> None:
    """By default torch lets it round, whatever is said of other products."""
    before = torch.backends.cudnn.allow_tf32
    assert before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # There is no CUDA here for autocast.
        with arithmetic(precision, "cuda:0"):
            assert torch.backends.cudnn.allow_tf32 == rounds
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_compiled_model_is_what_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` itself is not called: it takes longer than all other tests of this file."""
    calls: list[Any] = []

    def compiled(self: nn.Module, *, mode: str, dynamic: bool) -> None:
        assert not dynamic

        def forward(*arguments: Any) -> Tensor:
            calls.append(mode)
            answer: Tensor = self.forward(*arguments)
            return answer

        self._compiled_call_impl = forward

    monkeypatch.setattr(Transformer, "compile", compiled)
    plain, made = (Trainer(tiny_run({"training.compile": value})) for value in (False, True))
    assert not calls
    plain_losses, losses = ([trainer.update().losses_of("training") for _ in range(3)] for trainer in (plain, made))
    assert calls == ["default"] * 3
    # Training alone: what is asked of the model between updates does not depend on it, nor is it compiled for that.
    prompts = made.tasks["linear", "gaussian"].draw(4, 5, Streams(0, "asked"))
    made.model.predict(prompts)
    made.model(prompts.xs, prompts.ys)
    made.model.backward(prompts.xs, prompts.ys, prompts.targets, torch.ones(4))
    with made._compiled.in_place(made.model) if made._compiled else contextlib.nullcontext():
        made.model.predict(prompts)
    assert calls == ["default"] * 3
    for plain_loss, loss in zip(plain_losses, losses, strict=True):
        torch.testing.assert_close(loss, plain_loss, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("changes", "sizes"),
    [
        ({}, 1),
        ({"points": 15, "curriculum.points": {"start": 3, "every": 1}, "training.steps": 20}, 13),
        # The run ends before prompts are whole.
        ({"points": 15, "curriculum.points": {"start": 3, "every": 4}, "training.steps": 20}, 5),
        ({"points": 41, "curriculum.points": {"start": 11, "add": 2, "every": 2000}, "training.steps": 500_000}, 16),
    ],
)
def test_every_size_of_prompts_has_room_among_what_is_compiled(changes: dict[str, Any], sizes: int) -> None:
    assert sizes_of(tiny_run(changes).experiment.plan()) == sizes


def test_more_sizes_than_torch_compiles_by_default_are_compiled_and_none_is_left_out_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond its limit, of 8, torch goes on without what it compiled."""
    from torch._dynamo import config

    before = config.recompile_limit, config.accumulated_recompile_limit, config.fail_on_recompile_limit_hit
    seen: list[tuple[int, int, bool]] = []

    def compiled(self: nn.Module, *, mode: str, dynamic: bool) -> None:
        def forward(*arguments: Any) -> Tensor:
            seen.append(
                (config.recompile_limit, config.accumulated_recompile_limit, config.fail_on_recompile_limit_hit)
            )
            answer: Tensor = self.forward(*arguments)
            return answer

        self._compiled_call_impl = forward

    monkeypatch.setattr(Transformer, "compile", compiled)
    changes = {"points": 15, "curriculum.points": {"start": 3, "every": 1}, "training.steps": 20}
    trainer = Trainer(tiny_run({**changes, "training.compile": True, "model.attention": "plain"}))
    trainer.update()
    assert seen == [(8 * 13, 256, True)]
    after = config.recompile_limit, config.accumulated_recompile_limit, config.fail_on_recompile_limit_hit
    assert after == before
