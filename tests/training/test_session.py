"""What a training method may ask for: which streams answer, which functions are shared, what is refused."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.prompts import concatenate
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.function_classes import Linear
from icl_curriculum.training import Portion, Session, Trainer, add_gradients

LINEAR, QUADRATIC = ("linear", "gaussian"), ("quadratic", "gaussian")


def session_of(changes: dict[str, Any] | None = None, *, seed: int = 0, step: int = 0) -> Session:
    trainer = Trainer(tiny_run(changes, seed=seed))
    trainer.step = step
    return trainer.session()


def test_a_draw_is_of_the_stream_of_its_role_cell_and_step() -> None:
    session = session_of(seed=3, step=7)
    (task,) = (task for cell, task in Trainer(tiny_run()).tasks.items() if cell == LINEAR)
    for role in ("training", "query"):
        expected = task.draw(4, 5, Streams(3, f"{role}/linear/gaussian", 7))
        found = session.draw(LINEAR, 4, role=role)
        assert torch.equal(found.xs, expected.xs)
        assert torch.equal(found.ys, expected.ys)
    assert (session.step, session.steps, session.batch_size) == (7, 12, 8)


def test_draws_of_one_update_differ_by_role_and_by_their_number() -> None:
    session = session_of()
    drawn = [session.draw(LINEAR, 4, role=role) for role in ("support", "query", "support")]
    drawn += [session.draw(LINEAR, 4, role="support", of_step=5)]
    assert len({tuple(prompts.xs.flatten().tolist()) for prompts in drawn}) == 4
    assert len({tuple(prompts.truth["w"].flatten().tolist()) for prompts in drawn if prompts.truth}) == 4
    again = session_of()
    assert torch.equal(again.draw(LINEAR, 4, role="query").xs, drawn[1].xs), "whatever was drawn before"


def test_a_fixed_set_of_prompts_comes_again() -> None:
    first, second = (session_of(step=step).draw(LINEAR, 4, role="support", of_step=2) for step in (2, 11))
    assert torch.equal(first.xs, second.xs)
    assert torch.equal(first.xs, session_of(step=2).draw(LINEAR, 4, role="support").xs)


@pytest.mark.parametrize("name", ["linear", "linear_dynamics", "noisy_linear/pool_size=3"])
def test_prompts_of_one_function_and_functions_of_another_role(name: str) -> None:
    """Also of a class that makes its own inputs, and of a pool."""
    classes = ["linear", "linear_dynamics", {"name": "noisy_linear", "pool_size": 3}]
    session = session_of({"function_classes": classes})
    support = session.draw((name, "gaussian"), 6, role="support", prompts_per_function=3)
    query = session.draw((name, "gaussian"), 4, role="query", prompts_per_function=2, functions_of="support")
    assert support.truth is not None
    assert query.truth is not None
    for key, value in support.truth.items():
        assert torch.equal(value[::3].repeat_interleave(3, dim=0), value)
        assert torch.equal(query.truth[key], value[::3].repeat_interleave(2, dim=0))
    assert len({tuple(xs.flatten().tolist()) for xs in torch.cat([support.xs, query.xs])}) == 10, "inputs are fresh"


def test_cells_are_chosen_with_the_curriculums_shares_from_streams_of_their_own() -> None:
    session = session_of({"curriculum.function_classes": "random"}, seed=5, step=3)
    chosen = session.choose(2000)
    assert 0.45 < Counter(chosen)[LINEAR] / 2000 < 0.55
    expected = torch.multinomial(
        torch.tensor([0.5, 0.5], dtype=torch.float64), 2000, replacement=True, generator=generator(5, "curriculum", 3)
    )
    assert chosen == [(LINEAR, QUADRATIC)[i] for i in expected.tolist()]
    assert session.choose(2000) != chosen
    assert session.choose(2000, role="query") not in (chosen, session_of(step=3).choose(2000))


def test_batches_follow_the_experiment_and_weights_its_loss() -> None:
    per_batch = session_of().batch()
    assert [(portion.cell, len(portion.prompts)) for portion in per_batch] == [(LINEAR, 8)]
    changes = {"curriculum.function_classes": "random", "curriculum.draw": "prompt", "training.loss": "normalized"}
    session = session_of(changes)
    portions = session.batch(64, role="query")
    assert [portion.cell for portion in portions] == [LINEAR, QUADRATIC] == list(session.cells)
    assert sum(len(portion.prompts) for portion in portions) == 64
    assert {portion.weight for portion in portions} == {session.weight(LINEAR)} == {0.5}


def test_shorter_prompts_are_the_start_of_whole_ones() -> None:
    whole, short = session_of().draw(LINEAR, 4), session_of().draw(LINEAR, 4, points=3)
    assert torch.equal(short.xs, whole.xs[:, :3])


def test_what_was_drawn_is_known() -> None:
    session = session_of()
    session.draw(QUADRATIC, 4, role="query", points=2)
    session.batch()
    found = [(draw.role, draw.cell, draw.n_prompts, draw.points) for draw in session.drawn]
    assert found == [("query", QUADRATIC, 4, 2), ("training", LINEAR, 8, 5)]


def test_random_numbers_of_the_methods_own() -> None:
    first, same, other = (torch.rand(3, generator=session_of(step=step).generator("mask")) for step in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n": 5, "prompts_per_function": 2}, "n = 5 is no multiple of prompts_per_function = 2"),
        ({"n": 0}, "n = 0 is no multiple of prompts_per_function = 1, or less than 1"),
        ({"n": 4, "points": 6}, "points = 6: expected 1 to 5, the experiment's own number"),
        ({"n": 4, "of_step": 12}, "of_step = 12: expected 0 to 11, a step of this run"),
        ({"n": 4, "functions_of": "support"}, "functions_of = 'support': nothing of linear/gaussian was drawn under"),
        ({"n": 4, "functions_of": "known"}, "n / prompts_per_function = 4 functions, and 'known' drew 2"),
        ({"n": 4, "role": "evaluation"}, "role 'evaluation': expected small letters"),
        ({"n": 4, "role": "support/linear"}, "role 'support/linear': expected small letters"),
    ],
)
def test_what_does_not_fit_is_named(asked: dict[str, Any], message: str) -> None:
    session = session_of()
    session.draw(LINEAR, 2, role="known")
    with pytest.raises(ValueError, match=re.escape(message)):
        session.draw(LINEAR, **asked)
    assert len(session.drawn) == 1


def test_an_unknown_cell_is_named_with_the_closest() -> None:
    with pytest.raises(KeyError, match="no cell 'linaer/gaussian'; did you mean 'linear/gaussian'"):
        session_of().draw(("linaer", "gaussian"), 4)


def test_an_id_of_ones_own_changes_no_data_and_twins_differ() -> None:
    """Streams go by what a component is, not by what the tables call it."""
    named = {"function_classes": [{"name": "linear", "id": "mine"}, {"name": "linear", "id": "twin"}]}
    session = session_of(named)
    mine, twin = (session.draw((name, "gaussian"), 4) for name in ("mine", "twin"))
    assert torch.equal(mine.xs, session_of().draw(LINEAR, 4).xs)
    assert not torch.equal(mine.xs, twin.xs)


def test_a_class_that_draws_its_functions_otherwise_cannot_share_them() -> None:
    """It would be taken for one function with many prompts, and a method would adapt to nothing."""

    class Heedless(Linear):
        """Takes fresh functions whatever is asked."""

        def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Streams) -> Any:
            xs = inputs.sample(n, points, dims, streams.generator("inputs"))
            parameters = self.sample(n, dims, streams.generator("functions"))
            return xs, self.evaluate(parameters, xs), parameters

    trainer = Trainer(tiny_run())
    trainer.tasks[LINEAR] = replace(trainer.tasks[LINEAR], function_class=Heedless())
    session = trainer.session()
    session.draw(LINEAR, 4, role="support")
    with pytest.raises(ComponentFailed, match=r"other functions than asked for .*self\.draw_functions"):
        session.draw(LINEAR, 4, role="query", prompts_per_function=2)
    assert [draw.role for draw in session.drawn] == ["support"]


def test_several_portions_of_a_cell_have_one_mean() -> None:
    session = session_of()
    portions = [Portion(LINEAR, session.draw(LINEAR, n), 1.0) for n in (2, 6)]
    whole = Portion(LINEAR, concatenate([portion.prompts for portion in portions]), 1.0)
    found, expected = (add_gradients(session.model, batch)[LINEAR] for batch in (portions, [whole]))
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="only prompts without separate queries"):
        add_gradients(session.model, [Portion(LINEAR, replace(whole.prompts, queries=whole.prompts.xs), 1.0)])
