"""Baselines see what the model sees: reasoning steps given, predicted one after another, or left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import bank_of, baseline_of, draw, task_of
from torch import Tensor

import icl_curriculum as icl
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.evaluation import NamedLearner, answers, content_hash
from icl_curriculum.evaluation.asking import CostlyConfig, ask
from icl_curriculum.evaluation.causality import Leak, first_leak
from icl_curriculum.evaluation.stepwise import predicted

QUADRATIC: dict[str, Any] = {"name": "composition", "second": "quadratic"}


def chained_by_numpy(prompts: Prompts, k: int, i: int) -> float:
    """Minimum-norm least squares for each step, from x and the steps before it, and then for y."""
    assert prompts.steps is not None
    x, s, y = (value[i, :k].double().numpy() for value in (prompts.xs, prompts.steps, prompts.ys))
    asked = prompts.query()[i, k].double().numpy()
    for j in range(s.shape[1] + 1):
        inputs, labels = np.concatenate([x, s[:, :j]], axis=1), s[:, j] if j < s.shape[1] else y
        # Beyond d examples, x and linear steps lie in one plane, but for what float32 rounds.
        weights = np.linalg.lstsq(inputs, labels, rcond=1e-4)[0]
        asked = np.concatenate([asked, [asked @ weights]])
    return float(asked[-1])


@pytest.mark.parametrize("shift", [None, "random_quadrants"])
def test_least_squares_is_asked_for_one_step_after_another(shift: str | None) -> None:
    prompts = bank_of(QUADRATIC, shift, points=9).draw().without_answers()
    found = answers(baseline_of("least_squares"), prompts)
    for k in (1, 3, 5, 6, 8):
        for i in range(3):
            assert found[i, k] == pytest.approx(chained_by_numpy(prompts, k, i), rel=1e-3, abs=1e-4)


def test_given_steps_are_further_inputs() -> None:
    prompts = replace(bank_of(QUADRATIC, points=12).draw(), steps_given=True)
    assert prompts.steps is not None
    found = answers(baseline_of("ridge"), prompts.without_answers())
    wide = replace(prompts, xs=torch.cat([prompts.xs, prompts.steps], dim=-1), steps=None, steps_given=False)
    wide = replace(wide, input_rounding=1e-4)
    np.testing.assert_array_equal(found, baseline_of("ridge").predict(wide).double().numpy())


def test_chained_least_squares_solves_compositions_of_linear_functions() -> None:
    """With steps, m numbers at the end need m examples where the steps are given, and x tells these after d."""
    table = icl.score(
        ["least_squares"], task_of("composition", dims=4), shifts=[SHIFTS.build("steps_given")],  # type: ignore[list-item]
        points=7, n_prompts=256,
    )  # fmt: skip
    table = table[table.metric == "normalized_error"].set_index(["shift", "n_context"]).value
    assert (table["none"].loc[4:] < 1e-5).all()
    assert table["none"].loc[3] > 0.05
    assert (table["steps_given"].loc[4:] < 1e-5).all()
    assert table["none"].loc[2] > table["steps_given"].loc[2]


def test_left_out_steps_are_nowhere() -> None:
    plain, left_out, given = (bank_of(QUADRATIC, shift) for shift in (None, "steps_left_out", "steps_given"))
    prompts = left_out.draw()
    assert prompts.steps is None
    assert prompts.ys.equal(plain.draw().ys)
    assert left_out.key == ("composition/second=quadratic", "gaussian", "steps_left_out")
    assert len({content_hash(bank.draw()) for bank in (plain, left_out, given)}) == 3
    changed = plain.draw()
    assert changed.steps is not None
    assert content_hash(replace(changed, steps=changed.steps + 1)) != content_hash(changed)


class Watching:
    """Remembers what it was asked; answers the sum of the labels before."""

    reads_steps: ClassVar[bool] = False

    def __init__(self) -> None:
        self.seen: list[Prompts] = []

    def predict(self, prompts: Prompts) -> Tensor:
        self.seen.append(prompts)
        return prompts.ys.cumsum(dim=1) - prompts.ys


def test_no_question_holds_the_querys_own_steps() -> None:
    prompts = draw(task_of("composition", dims=3, label_noise=0.5), 4, 6).without_answers()
    learner = Watching()
    predicted(learner, prompts)
    assert [(asked.dims, asked.queries is not None, asked.n_steps) for asked in learner.seen] == [
        (3, False, 0), (4, True, 0), (5, True, 0),
    ]  # fmt: skip
    assert [asked.label_noise for asked in learner.seen] == [0, 0, 0.5]
    assert all(bool(asked.targets.isnan().all()) for asked in learner.seen)
    steps = prompts.steps
    assert steps is not None
    first = steps[..., 0].cumsum(dim=1) - steps[..., 0]
    queries = learner.seen[1].queries
    assert queries is not None
    torch.testing.assert_close(queries[..., 3], first)
    assert learner.seen[1].ys.equal(steps[..., 1])
    assert learner.seen[2].ys.equal(prompts.ys)


def test_a_step_that_has_no_answer_has_no_label() -> None:
    class Failing(Watching):
        def predict(self, prompts: Prompts) -> Tensor:
            found = super().predict(prompts)
            return torch.where(prompts.ys == prompts.ys[1, 2], torch.nan, found) if prompts.dims == 3 else found

    prompts = draw(task_of("composition", dims=3), 3, 4).without_answers()
    unknown = predicted(Failing(), prompts).isnan()
    assert unknown.nonzero().tolist() == [[1, 2]]


def test_who_reads_steps_gets_them() -> None:
    class Reading(Watching):
        reads_steps: ClassVar[bool] = True

    prompts = draw(task_of("composition", dims=3), 3, 4)
    learner = Reading()
    predicted(learner, prompts)
    assert learner.seen == [prompts]


class Sneaking(Watching):
    """Answers with a step of its own query."""

    reads_steps: ClassVar[bool] = True

    def predict(self, prompts: Prompts) -> Tensor:
        return torch.zeros_like(prompts.ys) if prompts.steps is None else prompts.steps[..., 1]


def leak(learner: Any, **changes: object) -> Leak | None:
    prompts, others = (
        replace(draw(task_of("composition", dims=3), 3, 5, seed=seed).without_answers(), **changes) for seed in (0, 1)
    )
    return first_leak(lambda asked: predicted(learner, asked), prompts, others)


def test_a_learner_that_reads_the_steps_of_its_query_leaks() -> None:
    found = leak(Sneaking())
    assert found is not None
    assert found.entry == 0
    assert "when its own label or its own steps change" in str(found)
    assert leak(Sneaking(), steps_given=True) is None
    with pytest.raises(ComponentFailed, match=r"'sneaking' leaks: entry 0 changes by .* own label or steps"):
        ask(NamedLearner("sneaking", "baseline", Sneaking()), bank_of("composition", n=64).draw(), CostlyConfig())


def test_chained_questions_do_not_leak() -> None:
    for name in ("least_squares", "knn", "ridge"):
        assert leak(baseline_of(name)) is None
        assert leak(baseline_of(name), steps_given=True) is None


def test_a_later_step_is_a_leak_where_steps_are_given() -> None:
    class Ahead(Sneaking):
        def predict(self, prompts: Prompts) -> Tensor:
            return super().predict(prompts).roll(-1, dims=1)

    found = leak(Ahead(), steps_given=True)
    assert found is not None
    assert "when later pairs change" in str(found)


def test_baselines_of_a_pool_are_left_out() -> None:
    spec = {"name": "composition", "pool_size": 4}
    function_class = task_of(spec).function_class
    why = baseline_of("dmmse").why_not(function_class)
    assert why == "the baseline dmmse goes by inputs and labels alone, and composition/pool_size=4 shows steps, too"
