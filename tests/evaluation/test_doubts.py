"""What cannot be true of a bank, or of the answers to it, is said; what is right beside it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, bank_of
from torch import Tensor

from icl_curriculum.baselines import LeastSquares, Ridge
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import (
    Bank,
    LearnerAnswers,
    NamedLearner,
    answers,
    doubts_on_answers,
    doubts_on_bank,
    oracle_entry,
)
from icl_curriculum.function_classes import Linear
from icl_curriculum.results.doubts import Doubt, doubts_for_manifest, doubts_in, worded
from icl_curriculum.shifts import OppositeQuadrants, RandomQuadrants, Shift
from icl_curriculum.tasks import Task

pytestmark = pytest.mark.usefixtures("misleading")

STRETCHED = {"name": "stretched", "stated": 4.0}


def said_of(bank: Bank) -> list[tuple[str, str]]:
    return [(doubt.about, str(doubt)) for doubt in doubts_on_bank(bank, bank.draw())]


# Denominators


@pytest.mark.parametrize("stated", [3.0, 5.0])
@pytest.mark.parametrize("shift", [None, "random_quadrants", {"name": "scaled_inputs", "factor": 2.0}])
def test_a_wrong_squared_norm_is_found_on_every_bank(stated: float, shift: Spec | None) -> None:
    bank = bank_of(shift=shift, inputs={**STRETCHED, "stated": stated}, n=1280)
    [(about, text)] = said_of(bank)
    assert about == "denominator"
    assert f"is too {'small' if stated < 4 else 'large'}" in text
    assert f"so the zero predictor has error {4 / stated:.1f}" in text
    assert "the formula of 'stretched/stated=" in text


@pytest.mark.parametrize(
    ("function_class", "shift", "inputs"),
    [
        ("linear", None, STRETCHED),
        ("linear", "random_quadrants", STRETCHED),
        ("linear", "doubled", "gaussian"),
        ("quadratic", "skewed", "laplace"),
        ("relu_network", "opposite_quadrants", "gaussian"),
        ("linear_classification", "orthogonal_queries", "gaussian"),
        ({"name": "hermite", "degree": 3, "weights": "gaussian"}, None, "gaussian"),
        ({"name": "linear", "outputs": "unit", "pool_size": 2}, "half_subspace", "gaussian"),
    ],
    ids=str,
)
def test_right_denominators_are_not_doubted(function_class: Spec, shift: Spec | None, inputs: Spec) -> None:
    for seed in range(5):
        assert said_of(bank_of(function_class, shift, inputs, n=1280, seed=seed)) == []


def test_nothing_is_said_where_the_variance_is_infinite() -> None:
    assert not bank_of(inputs={"name": "student_t", "df": 4.0}).drawn_task.has_error_variance()
    heavy = bank_of("quadratic", inputs={"name": "student_t", "df": 6.0}, n=1280)
    heavy.__dict__["second_moment"] = 1e-3  # As if it were stated wrongly.
    assert said_of(heavy) == []


def test_a_shift_that_changes_prompts_but_not_the_denominator_is_found() -> None:
    said = dict(said_of(bank_of(shift={"name": "claiming", "way": "targets"}, n=1280)))
    assert list(said) == ["denominator"]
    assert "so the zero predictor has error 9" in said["denominator"] or "error 8." in said["denominator"]
    assert "'claiming/way=targets' is wrong, or the prompts are not those of the shifted task" in said["denominator"]


def test_the_functions_of_a_pool_are_not_taken_for_a_wrong_formula() -> None:
    bank = bank_of({"name": "linear", "pool_size": 1}, inputs={**STRETCHED, "stated": 3.0}, n=1280)
    [(about, text)] = said_of(bank)
    assert (about, "is too small" in text) == ("denominator", True)


# Shifts


@pytest.mark.parametrize(
    ("shift", "why"),
    [
        ("mistyped", " (it defines 'aply'; did you mean 'apply'?)"),
        ({"name": "scaled_outputs", "factor": 1.0}, ""),
        ({"name": "claiming"}, ""),
    ],
)
def test_a_shift_that_changes_nothing_is_named(shift: Spec, why: str) -> None:
    bank = bank_of(shift=shift)
    assert bank.shift is not None
    expected = f"the shift {bank.shift.id!r} changes nothing: its prompts are those without a shift{why}"
    assert ("shift", expected) in said_of(bank)


@pytest.mark.parametrize("shift", ["doubled", "label_noise", "longer_prompts", "overlapping_queries"])
def test_a_shift_that_changes_something_is_not(shift: Spec) -> None:
    assert said_of(bank_of(shift=shift, n=128)) == []


def test_a_shift_that_leaves_nothing_to_answer_is_named() -> None:
    [(about, text)] = said_of(bank_of(shift={"name": "changed", "way": "mask of nothing"}))
    assert about == "shift"
    assert text.endswith("leaves no entry of any prompt defined: there are no errors")


# Oracles


class Elsewhere(RandomQuadrants):
    """Inherits a claim and changes what it is about."""

    def change(self, xs: Tensor, task: Task, streams: Streams) -> Any:
        return xs, 2 * xs, None


class Renamed(OppositeQuadrants):
    """Changes nothing but a name."""

    def columns(self, task: Task) -> tuple[str, str]:
        return task.inputs.id, "renamed"


class Disguised(Task):
    """A task that draws otherwise."""

    def draw(self, *args: Any, **more: Any) -> Prompts:
        prompts = super().draw(*args, **more)
        return replace(prompts, ys=prompts.ys + 1)


class Disguising(Shift):
    """Overrides nothing but the task."""

    def apply(self, task: Task) -> Task:
        return Disguised(task.function_class, task.inputs, task.dims)


def test_no_oracle_is_claimed_on_prompts_that_a_shift_makes_in_a_way_of_its_own() -> None:
    bank = bank_of(shift={"name": "changed", "way": "outliers"})
    assert oracle_entry(bank) == []
    [(about, text)] = said_of(bank)
    assert about == "oracle"
    assert text.startswith("no oracle: the shift 'changed/way=outliers' makes prompts in a way of its own")
    for shift in (Elsewhere(), Disguising()):
        assert oracle_entry(replace(bank, shift=shift)) == []


@pytest.mark.parametrize(
    "shift", ["doubled", "random_quadrants", "scaled_inputs", {"name": "claiming", "way": "last inputs as queries"}]
)
def test_an_oracle_is_kept_where_it_holds(shift: Spec) -> None:
    assert [entry.id for entry in oracle_entry(bank_of(shift=shift))] == ["oracle"]
    assert [entry.id for entry in oracle_entry(replace(bank_of(), shift=Renamed()))] == ["oracle"]


def answered(entry: NamedLearner, prompts: Prompts) -> LearnerAnswers:
    found = answers(entry.learner, replace(prompts, targets=prompts.targets * np.nan)).astype(np.float32)
    return LearnerAnswers(entry.id, entry.kind, found)


class Bent(Linear):
    """Inherits the optimum of linear functions, and is none of them."""

    def evaluate(self, parameters: dict[str, Tensor], xs: Tensor) -> Tensor:
        return super().evaluate(parameters, xs).sin()


class Spoken(Bent):
    """The same, and says whose optimum it is."""

    oracle_kind = Linear.oracle_kind


class Described(Linear):
    """Linear functions, with fewer baselines."""

    baselines = ("zero",)


def test_a_class_that_changes_its_functions_does_not_inherit_their_optimum() -> None:
    said = {}
    for function_class in (Bent(), Spoken(), Described()):
        bank = replace(bank_of(), task=replace(bank_of().task, function_class=function_class))
        said[type(function_class)] = [entry.id for entry in oracle_entry(bank)], [about for about, _ in said_of(bank)]
    assert said == {Bent: ([], ["oracle"]), Spoken: (["oracle"], []), Described: (["oracle"], [])}


def test_a_claim_that_does_not_hold_is_found_by_a_baseline_that_is_better() -> None:
    bank = bank_of(shift={"name": "claiming", "way": "outliers"}, n=640, points=12)
    prompts = bank.draw()
    [oracle] = oracle_entry(bank)
    zero = LearnerAnswers("zero", "baseline", np.zeros(prompts.ys.shape, dtype=np.float32))
    [doubt] = doubts_on_answers(bank, prompts, [zero, answered(oracle, prompts)])
    assert (doubt.about, doubt.learner) == ("oracle", "zero")
    assert "so oracle is not the best there is" in str(doubt)


def test_an_optimum_with_a_wrong_formula_is_found_by_the_baselines_of_its_class() -> None:
    bank = bank_of({"name": "slopes", "way": "an optimum that says zero"}, n=640)
    prompts = bank.draw()
    [oracle] = oracle_entry(bank)
    squares = LeastSquares()
    [doubt] = doubts_on_answers(
        bank, prompts, [answered(NamedLearner("squares", "baseline", squares), prompts), answered(oracle, prompts)]
    )
    assert (doubt.learner, doubt.n_context) == ("squares", (1, 2, 3, 4))


def test_the_right_optimum_is_beaten_by_nobody() -> None:
    bank = bank_of("noisy_linear", n=1280, points=9)
    prompts = bank.draw()
    [oracle] = oracle_entry(bank)
    others = [NamedLearner("ridge", "baseline", Ridge()), NamedLearner("squares", "baseline", LeastSquares())]
    assert list(doubts_on_answers(bank, prompts, [answered(entry, prompts) for entry in (*others, oracle)])) == []


def test_a_model_that_is_better_than_the_optimum_is_a_sign_of_a_leak() -> None:
    bank = bank_of(n=640)
    prompts = bank.draw()
    [oracle] = oracle_entry(bank)
    best, targets = answered(oracle, prompts), prompts.targets.numpy()
    for share, expected in ((0.0, ()), (0.3, (0, 1, 2, 3, 4))):
        # Part of the way from the optimum to the answer, as a leak would lead.
        model = LearnerAnswers("model", "model", best.predictions + share * (targets - best.predictions))
        found = list(doubts_on_answers(bank, prompts, [model, best]))
        assert [doubt.n_context for doubt in found] == ([expected] if expected else [])
    [doubt] = found
    assert doubt.about == "leak"
    assert "model has a smaller error than oracle at k = 0, 1, 2, 3, 4 (" in str(doubt)
    assert str(doubt).endswith("though nothing can be known without an example: a sign that it sees the answer")
    later = best.predictions.copy()
    later[:, 3] += 0.3 * (targets - later)[:, 3]
    [doubt] = doubts_on_answers(bank, prompts, [LearnerAnswers("model", "model", later), best])
    assert doubt.n_context == (3,)
    assert str(doubt).endswith("that sees no more than the prompt: a sign of a leak, or the oracle is none")


# Records


def test_doubts_are_written_read_and_worded() -> None:
    doubt, other = Doubt("leak", "too good", "model", (0, 3)), Doubt("shift", "nothing changes")
    written = {"warnings": doubts_for_manifest({"a/b/none": [doubt], "a/b/c": [other], "d": []})}
    assert doubts_in(written) == {"a/b/none": [doubt], "a/b/c": [other]}
    assert doubts_in({"warnings": {"a": [{"about": 1}, None, "x"]}}) == {}
    assert doubts_in({"warnings": 3}) == {}
    by_run = {"one": {"a/b/none": [doubt], "a/b/c": [other]}, "two": {"a/b/c": [other], "e/f/c": [other]}}
    assert worded(by_run) == [
        "a/b/none: too good (one)",
        "a/b/c: nothing changes",
        "e/f/c: nothing changes (two)",
    ]
    many = {"one": {str(number): [other] for number in range(5)}}
    assert worded(many) == ["0, 1, 2 and 2 more: nothing changes"]


# Lengths by themselves, and shifts that change little


class Late(Shift):
    """Makes the last value half as large again, and no others."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        prompts = super().draw(task, n, points, streams)
        last = torch.arange(points) == points - 1
        return replace(prompts, targets=torch.where(last, 1.5 * prompts.targets, prompts.targets))


class Rare(Shift):
    """Changes one prompt in some hundreds."""

    def draw(self, task: Task, n: int, points: int, streams: Streams) -> Prompts:
        prompts = super().draw(task, n, points, streams)
        return replace(prompts, ys=torch.where(torch.arange(n).unsqueeze(1) == 200, 0.0, prompts.ys))


def test_a_denominator_that_is_wrong_at_one_length_alone_is_found() -> None:
    said = dict(said_of(replace(bank_of(n=640, points=41), shift=Late())))
    assert "at k = 40 f(q)^2 has the mean" in said["denominator"]


def test_a_shift_that_changes_few_prompts_is_not_said_to_change_nothing() -> None:
    assert [about for about, _ in said_of(replace(bank_of(n=256), shift=Rare()))] == ["oracle"]
    assert "shift" in dict(said_of(replace(bank_of(n=128), shift=Rare())))


def test_nothing_is_concluded_from_few_prompts() -> None:
    for n in (2, 3, 4, 16):
        for seed in range(20):
            assert said_of(bank_of("relu_network", n=n, seed=seed)) == []
    wrong = bank_of(inputs={**STRETCHED, "stated": 1.0}, n=63)
    assert said_of(wrong) == []
