"""Reasoning steps of prompts: who may see them, and how they become positions of plain prompts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import draw, task_of
from torch import Tensor

from icl_curriculum.core.prompts import Prompts, concatenate
from icl_curriculum.core.steps import through_steps, unrolled


def small(**more: object) -> Prompts:
    """One prompt of two points in two dimensions, with two steps each."""
    values: dict[str, object] = {
        "xs": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]),
        "ys": torch.tensor([[10.0, 20.0]]),
        "targets": torch.tensor([[11.0, 21.0]]),
        "steps": torch.tensor([[[5.0, 6.0], [7.0, 8.0]]]),
    }
    return Prompts(**{**values, **more})  # type: ignore[arg-type]


def test_every_step_is_a_position_of_its_own() -> None:
    plain = unrolled(small(steps_given=True))
    assert plain.xs.tolist() == [[[1, 2], [0, 0], [0, 0], [3, 4], [0, 0], [0, 0]]]
    assert plain.ys.tolist() == [[5, 6, 10, 7, 8, 20]]
    assert plain.targets.tolist() == [[5, 6, 11, 7, 8, 21]]
    assert plain.steps is None
    assert not plain.steps_given
    assert plain.mask is None
    assert plain.loss_weights is None
    same = small(steps=None)
    assert unrolled(same) is same


def test_steps_share_the_weight_and_the_mask_of_their_pair() -> None:
    plain = unrolled(small(mask=torch.tensor([[True, False]]), loss_weights=torch.tensor([[0.75, 0.25]])))
    assert plain.mask is not None
    assert plain.mask.tolist() == [[True] * 3 + [False] * 3]
    assert plain.loss_weights is not None
    torch.testing.assert_close(plain.loss_weights, torch.tensor([[0.25] * 3 + [0.25 / 3] * 3]))
    torch.testing.assert_close(plain.entry_weights(), torch.tensor([[1 / 3] * 3 + [0.0] * 3]))


def test_what_has_no_plain_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="steps of separate queries are unknown"):
        unrolled(small(queries=torch.zeros(1, 2, 2)))
    with pytest.raises(ValueError, match="labels beside reasoning steps must be one number each"):
        unrolled(small(ys=torch.zeros(1, 2, 2), targets=torch.zeros(1, 2, 2)))
    with pytest.raises(ValueError, match="the prompts have no steps"):
        small(steps=None, steps_given=True)
    with pytest.raises(ValueError, match="separate queries have none to be given"):
        small(steps_given=True, queries=torch.zeros(1, 2, 2))


def test_steps_go_with_their_prompts() -> None:
    prompts = draw(task_of("composition", dims=3), 4, 5)
    assert prompts.steps is not None
    assert prompts.steps.shape == (4, 5, 2)
    assert prompts.n_steps == 2
    rows = prompts[torch.tensor([2, 0])]
    assert rows.steps is not None
    assert rows.steps.equal(prompts.steps[[2, 0]])
    cut = prompts.first_points(3)
    assert cut.steps is not None
    assert cut.steps.equal(prompts.steps[:, :3])
    alone = replace(prompts, steps_given=True).at_prefix(2)
    assert alone.steps is not None
    assert alone.steps.equal(prompts.steps[:, :3])
    assert alone.steps_given
    both = concatenate([prompts, prompts])
    assert both.steps is not None
    assert both.steps.equal(torch.cat([prompts.steps] * 2))
    changed = prompts.copy()
    assert changed.steps is not None
    changed.steps[0, 0, 0] += 1
    assert prompts.unlike(changed) == "steps"
    assert prompts.without_answers().steps is prompts.steps
    with pytest.raises(ValueError, match="only with prompts of as many"):
        concatenate([prompts, replace(prompts, steps=None)])


class Listening:
    """Predicts 100 times the number of the position, plus the sum of the labels before it; remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Prompts] = []

    def __call__(self, prompts: Prompts) -> Tensor:
        self.seen.append(prompts)
        before = prompts.ys.cumsum(dim=1) - prompts.ys
        return before + 100 * torch.arange(prompts.points)


def test_given_steps_are_one_pass() -> None:
    ask = Listening()
    found = through_steps(ask, small(steps_given=True))
    assert found.tolist() == [[200 + 5 + 6, 500 + 5 + 6 + 10 + 7 + 8]]
    assert len(ask.seen) == 1


@pytest.mark.parametrize("separate", [False, True])
def test_steps_that_are_not_given_are_predicted_one_after_another(separate: bool) -> None:
    queries = torch.tensor([[[9.0, 9.0], [8.0, 8.0]]]) if separate else None
    ask = Listening()
    found = through_steps(ask, small(queries=queries))
    first, second = 0.0, 100.0 + 0.0
    at_zero = 200 + first + second
    context = 5 + 6 + 10
    first = 300 + context
    second = 400 + context + first
    assert found.tolist() == [[at_zero, 500 + context + first + second]]
    # No pass but the first, whose answers at each x are taken, is shown the query's own steps or label.
    own = ask.seen[0 if separate else 1 :]
    assert len(own) == (6 if separate else 4)
    for prompts in own:
        k, place = divmod(prompts.points - 1, 3)
        assert not {5.0, 6.0, 7.0, 8.0, 20.0} & {*prompts.ys[0, 3 * k :].tolist()}
        assert prompts.xs[0, 3 * k].tolist() == ([[9, 9], [8, 8]] if separate else [[1, 2], [3, 4]])[k]
        assert prompts.xs[0, 3 * k + 1 :].abs().sum() == 0
        assert bool(prompts.targets.isnan().all())
        assert place == prompts.points - 1 - 3 * k


def test_entries_that_nobody_asks_for_cost_nothing() -> None:
    ask = Listening()
    prompts = replace(concatenate([small(), small()]), mask=torch.tensor([[False, False], [False, True]]))
    found = through_steps(ask, prompts)
    assert [len(seen) for seen in ask.seen] == [2, 1, 1]
    assert found[:, 0].tolist() == [0, 0]
    assert found[0, 1] == 0
    assert found[1, 1] == through_steps(Listening(), small())[0, 1]
