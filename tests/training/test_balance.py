"""Positions that are balanced: each counts by the inverse of its own error of late (``positions = "balanced"``)."""

from __future__ import annotations

import copy
import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import draw, task_of
from tiny_runs import tiny_run
from torch import Tensor, nn

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.training import Trainer
from icl_curriculum.training.balance import EVERY, N_PROMPTS, SHARE, Balance, balanced, errors_by_position
from icl_curriculum.training.counting import Counting

CELL = ("linear", "gaussian")


def balanced_run(**changes: Any) -> Trainer:
    return Trainer(tiny_run({"training.positions": "balanced", "training.steps": 2 * EVERY, **changes}))


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([4.0, 1.0, 2.0], [3 / 7, 12 / 7, 6 / 7]),
        ([1.0, float("nan"), 2.0], [1.5, 0.75, 0.75]),
        ([1.0, float("inf"), 4.0], [2.0, 0.5, 0.5]),
        ([0.0, 0.0], [1.0, 1.0]),
        ([float("nan")] * 2, [1.0, 1.0]),
    ],
)
def test_weights_are_inverse_to_errors_and_1_on_average(errors: list[float], expected: list[float]) -> None:
    assert balanced(torch.tensor(errors)).tolist() == pytest.approx(expected)


def test_a_position_without_an_error_counts_most_and_finitely() -> None:
    weights = balanced(torch.tensor([1.0, 0.0]))
    assert weights.isfinite().all()
    assert weights[1] > 1e6 * weights[0]


class Zero(nn.Module):
    def forward(self, xs: Tensor, ys: Tensor) -> Tensor:
        return torch.zeros_like(ys)


def test_errors_are_means_over_what_counts() -> None:
    prompts: Prompts = draw(task_of("linear", dims=2), 3, 4)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False], [True, True, False, True]])
    masked = replace(prompts, mask=mask)
    found = errors_by_position(Zero(), masked)  # type: ignore[arg-type]
    squares = prompts.targets**2
    assert found[0] == pytest.approx(squares[:, 0].mean())
    assert found[1] == pytest.approx((squares[0, 1] + squares[2, 1]) / 2)
    assert found[2].isnan()
    assert found[3] == pytest.approx(squares[2, 3])
    of_pairs = errors_by_position(Zero(), prompts, each=2)  # type: ignore[arg-type]
    assert of_pairs.tolist() == pytest.approx([float(squares[:, :2].mean()), float(squares[:, 2:].mean())])


def test_an_error_that_is_not_finite_once_is_left_out_of_the_running_mean() -> None:
    prompts: Prompts = draw(task_of("linear", dims=2), 3, 4)
    squares = (prompts.targets**2).mean(dim=0)
    balance, overflowing = Balance(), prompts.targets.clone()
    overflowing[0, 1] = float("inf")
    for step, targets in ((0, overflowing), (EVERY, prompts.targets), (2 * EVERY, overflowing)):
        given = replace(prompts, targets=targets)
        balance.measure(Zero(), [CELL], step, lambda _, given=given: given)  # type: ignore[arg-type, misc]
        assert balance.errors[CELL][[0, 2, 3]].tolist() == pytest.approx(squares[[0, 2, 3]].tolist())
        expected = float("inf") if step == 0 else pytest.approx(float(squares[1]))
        assert float(balance.errors[CELL][1]) == expected
        weights = balance.weights(CELL, 4)
        assert weights is not None
        assert (weights > 0).all()


def test_the_running_mean_is_of_prompts_that_are_not_trained_on() -> None:
    trainer = balanced_run()
    before = copy.deepcopy(trainer.model)
    trainer.update()
    balance = trainer.setting.balance
    assert balance is not None
    first = balance.errors[CELL].clone()

    def measured(model: Any, step: int) -> Tensor:
        streams = Streams(trainer.run.seed, "balance/linear/gaussian", step)
        prompts = trainer.tasks[CELL].draw(N_PROMPTS, trainer.plan.points, streams)
        with torch.no_grad():
            return ((model(prompts.xs, prompts.ys) - prompts.targets) ** 2).mean(dim=0)

    torch.testing.assert_close(first, measured(before, 0))
    while trainer.step < EVERY:
        trainer.update()
        assert torch.equal(balance.errors[CELL], first), "it is not yet time"
    later = copy.deepcopy(trainer.model)
    trainer.update()
    torch.testing.assert_close(balance.errors[CELL], (1 - SHARE) * first + SHARE * measured(later, EVERY))


def test_an_update_counts_positions_by_these_weights() -> None:
    trainer = balanced_run()
    again = balanced_run()
    again.session().balance_positions()
    assert again.setting.balance is not None
    weights = again.setting.balance.weights(CELL, again.plan.points)
    assert weights is not None
    assert weights.std() > 0
    by_hand = Trainer(tiny_run({"training.positions": weights.tolist(), "training.steps": 2 * EVERY}))
    trainer.update()
    by_hand.update()
    for own, wanted in zip(trainer.model.parameters(), by_hand.model.parameters(), strict=True):
        torch.testing.assert_close(own, wanted, atol=1e-6, rtol=1e-5)


def test_a_resumed_run_balances_as_if_it_had_not_stopped() -> None:
    whole, begun = balanced_run(), balanced_run()
    for _ in range(EVERY + 3):
        whole.update()
    for _ in range(EVERY - 2):
        begun.update()
    resumed = balanced_run()
    kept = io.BytesIO()
    torch.save(begun.state_dict(), kept)
    kept.seek(0)
    resumed.load_state_dict(torch.load(kept, weights_only=True))
    while resumed.step < whole.step:
        resumed.update()
    assert all(map(torch.equal, whole.model.parameters(), resumed.model.parameters()))
    assert (resumed.prompts_seen, resumed.flops) == (whole.prompts_seen, whole.flops)


def test_a_cell_is_measured_once_it_is_offered() -> None:
    trainer = balanced_run(**{"curriculum.function_classes": "sequential", "training.steps": 20})
    balance = trainer.setting.balance
    assert balance is not None
    trainer.update()
    assert [*balance.errors] == [CELL]
    while trainer.step < 19:
        trainer.update()
    assert {cell[0] for cell in balance.errors} == {cell[0] for cell in trainer.tasks}


def test_what_is_measured_counts_as_seen_and_as_spent() -> None:
    measuring, plain = balanced_run(), Trainer(tiny_run({"training.steps": 2 * EVERY}))
    for trainer in (measuring, plain):
        while trainer.step <= EVERY:
            trainer.update()
    assert measuring.prompts_seen[CELL] - plain.prompts_seen[CELL] == 2 * N_PROMPTS
    forward = plain.forward_operations(plain.plan.points)
    assert measuring.flops[CELL] - plain.flops[CELL] == 2 * N_PROMPTS * forward


def test_limited_data_stay_limited() -> None:
    """Where prompts are fixed, errors are measured on some of them."""
    trainer = balanced_run(**{"training.fixed_prompts": 8})
    trainer.session().balance_positions()
    assert trainer.setting.fixed is not None
    assert trainer.setting.balance is not None
    known = trainer.setting.fixed.all_of(CELL)
    rows = trainer.setting.fixed.taken(CELL, N_PROMPTS, 0, 0, 0)
    assert {*rows.ys[:, 0].tolist()} <= {*known.ys[:, 0].tolist()}
    torch.testing.assert_close(
        trainer.setting.balance.errors[CELL], errors_by_position(trainer.model, rows), atol=1e-6, rtol=1e-5
    )


def test_positions_that_are_cut_off_or_do_not_count_have_no_weight() -> None:
    prompts: Prompts = draw(task_of("linear", dims=2), 2, 3)
    masked = replace(prompts, mask=torch.tensor([[True, True, True], [False, True, True]]))
    weighed, counting = Counting("balanced").weighed(masked, None, torch.tensor([0.5, 1.0, 1.5]))
    assert counting == 2
    assert weighed.entry_weights().flatten().tolist() == pytest.approx([1 / 6, 1 / 3, 1 / 2, 0, 0.4, 0.6])


def test_nothing_is_weighed_before_anything_is_measured() -> None:
    assert Balance().weights(CELL, 3) is None
    prompts: Prompts = draw(task_of("linear", dims=2), 2, 3)
    assert Counting("balanced").weighed(prompts, None)[0] is prompts
