"""Training on reasoning steps: what is drawn, what counts, what it costs, and by which methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run

from icl_curriculum.core.steps import unrolled
from icl_curriculum.core.streams import Streams
from icl_curriculum.models.flops import count
from icl_curriculum.training import Trainer

#: Five points of three positions each.
STEPS: dict[str, Any] = {"function_classes": ["composition"], "training.loss": "squared"}
CELL = ("composition", "gaussian")


def trainer(changes: Mapping[str, Any] | None = None) -> Trainer:
    return Trainer(tiny_run({**STEPS, **(changes or {})}))


def test_the_model_reads_a_position_for_every_step() -> None:
    made = trainer()
    (portion,) = made.session().batch()
    assert portion.prompts.xs.shape == (8, 15, 2)
    drawn = made.tasks[CELL].draw(8, 5, Streams(0, "training/composition/gaussian", 0))
    assert portion.prompts.unlike(unrolled(drawn)) is None
    assert portion.prompts.steps is None
    assert made.model.max_points == 2 * 15 - 1


def test_without_steps_nothing_is_unrolled() -> None:
    made = trainer({"function_classes": [{"name": "composition", "show_steps": False}]})
    (portion,) = made.session().batch()
    assert portion.prompts.xs.shape == (8, 5, 2)
    assert made.model.max_points == 9


@pytest.mark.parametrize("tokens", ["joint", "alternate"])
def test_an_update_descends_the_errors_of_steps_and_answers_alike(tokens: str) -> None:
    """By the hand-written pass, against autograd through what is written out here."""
    made = trainer({"model.tokens": tokens})
    task = made.tasks[CELL].draw(8, 5, Streams(0, "training/composition/gaussian", 0))
    assert task.steps is not None
    xs, ys = torch.zeros(8, 15, 2), torch.zeros(8, 15)
    xs[:, ::3], ys[:, ::3], ys[:, 1::3], ys[:, 2::3] = task.xs, task.steps[..., 0], task.steps[..., 1], task.ys
    errors = (made.model(xs, ys) - ys).square().mean(dim=1)
    expected = torch.autograd.grad(errors.mean(), made.model.parameters())
    found: list[torch.Tensor] = []

    def keep(factor: float) -> None:
        found.extend(value.grad.clone() for value in made.model.parameters() if value.grad is not None)
        made.model.zero_grad(set_to_none=True)

    made.optimizers.step = keep  # type: ignore[method-assign]
    update = made.update()
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-6, rtol=2e-4)
    (loss,) = update.losses
    assert float(loss.value) == pytest.approx(errors.mean().item(), rel=1e-4)


def test_points_are_pairs_whatever_steps_they_have() -> None:
    growth = {"start": 2, "add": 1, "every": 4}
    made = trainer({"curriculum.points": growth})
    assert made.session().batch()[0].prompts.points == 2 * 3
    for _ in range(4):
        made.update()
    assert made.trained_points == 2
    assert made.session().batch()[0].prompts.points == 3 * 3
    made.update()
    assert made.trained_points == 3


def test_costs_are_those_of_all_positions() -> None:
    made = trainer()
    assert made.forward_operations(5) == count(lambda: made.model.forward(torch.zeros(1, 15, 2), torch.zeros(1, 15)))
    made.update()
    assert made.flops[CELL] == 8 * 3 * made.forward_operations(5)


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        ({"training.positions": "last"}, [0.0] * 12 + [1 / 3] * 3),
        ({"training.positions": 3}, [0.0] * 9 + [1 / 6] * 6),
        ({"training.positions": [0, 0, 1, 0, 3]}, [0.0] * 6 + [1 / 12] * 3 + [0.0] * 3 + [1 / 4] * 3),
    ],
)
def test_what_counts_is_said_of_pairs(changes: dict[str, Any], weights: list[float]) -> None:
    (portion,) = trainer(changes).session().batch()
    torch.testing.assert_close(portion.prompts.entry_weights(), torch.tensor([weights] * 8))


def test_meta_icl_trains_the_steps_of_the_last_pair_with_its_answer() -> None:
    made = trainer({"training.method": "meta_icl"})
    (portion,) = made.session().batch()
    prompts = portion.prompts
    errors = (made.model(prompts.xs, prompts.ys) - prompts.targets).square()
    expected = torch.autograd.grad(errors[:, -3:].mean(), made.model.parameters())
    found: list[torch.Tensor] = []

    def keep(factor: float) -> None:
        found.extend(value.grad.clone() for value in made.model.parameters() if value.grad is not None)
        made.model.zero_grad(set_to_none=True)

    made.optimizers.step = keep  # type: ignore[method-assign]
    made.update()
    for own, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-6, rtol=2e-4)


@pytest.mark.parametrize("method", ["in_context", "meta_icl", "meta_ict", "reptile", "fomaml", "maml"])
def test_every_method_trains_on_steps(method: str) -> None:
    meta = {"name": method, "n_tasks": 2, **({"inner_steps": 2} if method != "maml" else {})}
    made = trainer({
        "training.method": meta if method in ("reptile", "fomaml", "maml") else method, "model.attention": "plain",
        "instruction.kind": "learned" if method == "meta_ict" else "none",
        "function_classes": ["composition", {"name": "composition", "second": "quadratic"}],
    })  # fmt: skip
    before = [value.clone() for value in made.model.parameters()]
    for _ in range(3):
        assert all(bool(loss.value.isfinite()) for loss in made.update().losses)
    assert any(not value.equal(old) for value, old in zip(made.model.parameters(), before, strict=True))


def test_fixed_prompts_have_their_steps() -> None:
    made = trainer({"training.fixed_prompts": 8})
    assert made.setting.fixed is not None
    kept = made.setting.fixed.all_of(CELL)
    assert kept.steps is not None
    (portion,) = made.session().batch()
    rows = unrolled(replace(kept, truth=None))
    assert {*map(tuple, portion.prompts.ys.tolist())} == {*map(tuple, rows.ys.tolist())}
