"""Compositions: values and steps by hand, pools of functions, pairs that are held out, and what cannot be composed."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from helpers import Spec, assert_mean, bank_of, class_of, draw, shift_of, task_of
from pydantic import Field, ValidationError

from icl_curriculum.config.identifiers import component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.core.streams import generator
from icl_curriculum.evaluation import oracle_entry
from icl_curriculum.function_classes import Composition, trained_pairs
from icl_curriculum.function_classes.estimates import estimated_trivial_error
from icl_curriculum.inputs import Gaussian
from icl_curriculum.shifts import why_undefined
from icl_curriculum.tasks import Task

POOLED: dict[str, Any] = {"name": "composition", "first_functions": 4, "second_functions": 6, "held_out": 0.25}


def test_values_and_steps_are_those_of_the_two_functions() -> None:
    prompts = draw(task_of("composition", dims=3), 6, 9)
    assert prompts.truth is not None
    inner = torch.einsum("npd,nmd->npm", prompts.xs, prompts.truth["first_W"]) / math.sqrt(3)
    torch.testing.assert_close(prompts.steps, inner)
    torch.testing.assert_close(prompts.ys, torch.einsum("npm,nm->np", inner, prompts.truth["second_w"]))


def test_steps_have_the_size_of_the_reference_inputs_of_the_second_class() -> None:
    prompts = draw(task_of({"name": "composition", "first": "quadratic", "second": "quadratic"}, dims=4), 20_000, 1)
    assert prompts.steps is not None
    assert prompts.steps.shape == (20_000, 1, 1)
    assert_mean(prompts.steps.square().sum(dim=-1), 1.0)


@pytest.mark.parametrize(
    ("spec", "stated"),
    [
        ("composition", 2.0),
        ({"name": "composition", "first": {"name": "linear_map", "label_dims": 4}, "second": "sparse_linear"}, 3.0),
        ({"name": "composition", "first": "relu_network", "second": "sinusoid"}, (5**3 - 0.1**3) / 4.9 / 6),
        ({"name": "composition", "second": "quadratic"}, None),
        ({"name": "composition", "first_functions": 3}, None),
    ],
    ids=str,
)
def test_the_trivial_error_is_what_is_drawn(spec: Spec, stated: float | None) -> None:
    task = task_of(spec, dims=5)
    assert task.function_class.states_trivial_error == (stated is not None)
    if stated is not None:
        assert task.function_class.trivial_error(5) == pytest.approx(stated)
    drawn = draw(task, 40_000, 1).targets
    assert_mean(drawn.square(), task.trivial_error(), rounding=0.02 * task.trivial_error())


def test_other_inputs_have_their_own_second_moment() -> None:
    task = task_of("composition", {"name": "scaled", "factor": 3.0}, dims=5)
    assert task.second_moment() == pytest.approx(9 * 2.0)


def test_the_unit_of_labels_leaves_steps_alone() -> None:
    raw, unit = (draw(task_of({"name": "composition", "outputs": outputs}), 5, 4) for outputs in ("raw", "unit"))
    assert raw.steps is not None
    assert unit.steps is not None
    assert raw.steps.equal(unit.steps)
    torch.testing.assert_close(unit.ys, raw.ys / math.sqrt(2))
    noisy = draw(task_of("composition", label_noise=0.5), 5, 4)
    assert noisy.steps is not None
    assert noisy.steps.equal(raw.steps)
    assert not noisy.ys.equal(raw.ys)


def test_without_steps_the_functions_are_the_same() -> None:
    shown, hidden = (bank_of({"name": "composition", "show_steps": show}).draw() for show in (True, False))
    assert hidden.steps is None
    assert shown.steps is not None
    assert hidden.ys.equal(shown.ys)
    assert hidden.xs.equal(shown.xs)


def test_a_composition_within_another_shows_its_steps_too() -> None:
    inner = {"name": "composition", "first": "linear_map", "second": "linear"}
    for first, second, n_steps in ((inner, "relu_network", 3), ("linear", inner, 3)):
        task = task_of({"name": "composition", "first": first, "second": second}, dims=3)
        assert task.function_class.shown_steps == n_steps
        prompts = draw(task, 3, 4)
        assert prompts.steps is not None
        assert prompts.steps.shape == (3, 4, n_steps)


def test_pooled_functions_are_few_and_fixed() -> None:
    task = task_of(POOLED, dims=3)
    for seed in (0, 1):
        truth = draw(task, 400, 2, seed=seed).truth
        assert truth is not None
        assert len(truth["first_W"].unique(dim=0)) == 4
        assert len(truth["second_w"].unique(dim=0)) == 6
    half = draw(task_of({"name": "composition", "first_functions": 4}, dims=3), 400, 2).truth
    assert half is not None
    assert len(half["first_W"].unique(dim=0)) == 4
    assert len(half["second_w"].unique(dim=0)) == 400
    assert {*map(tuple, half["first_W"][:, 0].tolist())} == {*map(tuple, truth["first_W"][:, 0].tolist())}
    other = draw(task_of({**POOLED, "pool_seed": 1}, dims=3), 400, 2).truth
    assert other is not None
    assert not {*map(tuple, other["first_W"][:, 0].tolist())} & {*map(tuple, truth["first_W"][:, 0].tolist())}


def pairs_of(spec: dict[str, Any]) -> set[tuple[int, int]]:
    truth = class_of(spec).sample(3000, 3, generator(0, "pairs"))
    return {*zip(truth["number_of_first"].tolist(), truth["number_of_second"].tolist(), strict=True)}


def test_held_out_pairs_are_never_trained_and_each_function_is() -> None:
    trained, held = pairs_of(POOLED), pairs_of({**POOLED, "pairs": "held_out"})
    assert len(held) == 6
    assert trained | held == {(i, j) for i in range(4) for j in range(6)}
    assert not trained & held
    assert {i for i, _ in trained} == set(range(4))
    assert {j for _, j in trained} == set(range(6))
    assert pairs_of({**POOLED, "pairs": "all"}) == trained | held
    assert pairs_of({**POOLED, "pool_seed": 5, "pairs": "held_out"}) != held


@pytest.mark.parametrize(("first", "second"), [(1, 5), (3, 3), (7, 2), (8, 8)])
def test_as_many_pairs_as_possible_can_be_held_out(first: int, second: int) -> None:
    for held_out in range(first * second - max(first, second) + 1):
        left = trained_pairs(first, second, held_out, 3)
        assert int((~left).sum()) == held_out
        assert bool(left.any(dim=0).all())
        assert bool(left.any(dim=1).all())


def test_held_out_pairs_are_asked_by_other_functions() -> None:
    task = task_of({**POOLED, "id": "mine"}, dims=3)
    shift = shift_of({"name": "other_functions", "function_class": {**POOLED, "pairs": "held_out"}})
    assert why_undefined(shift, task) is None
    shifted = shift.apply(task)
    assert shifted.function_class.id == "mine"
    drawn = shift.draw(task, 500, 3, bank_streams()).truth
    assert drawn is not None
    assert {*zip(drawn["number_of_first"].tolist(), drawn["number_of_second"].tolist(), strict=True)} == pairs_of(
        {**POOLED, "pairs": "held_out"}
    )
    usual = draw(task, 500, 3).truth
    assert usual is not None
    known = dict(zip(usual["number_of_first"].tolist(), usual["first_W"], strict=True))
    assert all(w.equal(known[i]) for i, w in zip(drawn["number_of_first"].tolist(), drawn["first_W"], strict=True))


def bank_streams() -> Any:
    from icl_curriculum.core.streams import Streams

    return Streams(0, "held out")


def test_a_pool_of_compositions_has_no_oracle_that_overlooks_steps() -> None:
    assert oracle_entry(bank_of({"name": "composition", "pool_size": 4})) == []
    assert [entry.id for entry in oracle_entry(bank_of({"name": "composition", "pool_size": 4, "show_steps": False}))]


ERRORS = {
    "classes in the middle": (
        {"first": "multiclass_linear"}, "first: the labels of multiclass_linear/3 are 3 classes; expected numbers",
    ),
    "classes at the end": (
        {"second": "multiclass_linear"}, "second: the labels of multiclass_linear/3 are 3 classes; expected one number",
    ),
    "vectors at the end": (
        {"second": "linear_map"}, "second: the labels of linear_map/2 are vectors of 2 numbers; expected one number",
    ),
    "signs at the end": ({"second": "linear_classification"}, "the labels of linear_classification are signs"),
    "a parity at the end": ({"second": "parity"}, "the labels of parity are signs"),
    "a bounded domain": ({"second": "chebyshev"}, "second: chebyshev expects inputs within ±1"),
    "inputs of its own": ({"first": "linear_dynamics"}, "first: linear_dynamics makes its own inputs"),
    "a pool within": (
        {"first": {"name": "linear_map", "pool_size": 3}}, "has pool_size = 3; set first_functions instead",
    ),
    "noise within": ({"second": "noisy_linear"}, "second: noisy_linear has label_noise = 1.0; set it for the composit"),
    "a unit within": ({"first": {"name": "linear", "outputs": "unit"}}, "has outputs = unit; set it for the composit"),
    "nothing to hold out": ({"held_out": 0.5}, "held_out: 0.5 holds out no pair; expected first_functions and second"),
    "too much held out": (
        {"first_functions": 2, "second_functions": 3, "held_out": 0.7},
        "held_out: 4 of the 2 × 3 pairs would leave a function without any pair in training; expected at most 3, "
        "held_out = 0.5",
    ),
    "none held out": ({"first_functions": 2, "pairs": "held_out"}, 'pairs = "held_out": expected held_out, the share'),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_what_cannot_be_composed_is_said(case: str) -> None:
    fields, message = ERRORS[case]
    with pytest.raises(ValidationError) as caught:
        class_of({"name": "composition", **fields})
    assert message in str(caught.value)


def test_dimensions_are_those_of_both() -> None:
    task = Task(class_of({"name": "composition", "second": "sparse_linear"}), task_of("linear").inputs, 5)
    with pytest.raises(UserError, match=r"second: sparsity 3 exceeds .* dimensions 2, as it is asked of the 2 numbers"):
        task.check()
    with pytest.raises(UserError, match="sparsity 3 exceeds the number of dimensions 2"):
        class_of({"name": "composition", "first": "sparse_linear"}).check_dims(2)


def test_no_steps_to_leave_out() -> None:
    with pytest.raises(ValidationError, match="show_steps: linear has no reasoning steps to leave out"):
        class_of({"name": "linear", "show_steps": False})


def test_the_defaults_are_the_short_id() -> None:
    assert class_of("composition").id == "composition"
    assert class_of({"name": "composition", "second": "quadratic"}).id == "composition/second=quadratic"
    assert isinstance(class_of("composition"), Composition)


def test_a_subclass_with_a_field_of_its_own_has_functions_and_moments_of_its_own() -> None:
    class Gained(Composition):
        """g(c h(x)) times a gain."""

        gain: float = Field(1.0, description="what values are multiplied by")

        def evaluate(self, parameters: Any, xs: Any) -> Any:
            return self.gain * super().evaluate(parameters, xs)

        def trivial_error(self, dims: int) -> float:
            return estimated_trivial_error(self, dims).mean

    assert Gained(gain=3.0).family != Gained().family
    assert Gained(gain=3.0).trivial_error(2) == pytest.approx(9 * Gained().trivial_error(2), rel=0.05)


@pytest.mark.parametrize(
    "spec",
    [
        {"first": {"name": "linear_map", "label_dims": 3}, "first_functions": 8, "second_functions": 8},
        {"first": "linear_map", "second": {"name": "composition", "first": {"name": "linear_map", "label_dims": 4}}},
    ],
    ids=["pools", "nested"],
)
def test_an_id_is_given_back(spec: Any) -> None:
    built = FUNCTION_CLASSES.build({"name": "composition", **spec})
    assert component(built.id, FUNCTION_CLASSES, "--function-class") == built


def test_functions_of_two_compositions_are_alike_where_their_parts_are() -> None:
    task = Task(Composition(), Gaussian(), 3)
    for second, reason in (("power_law_linear", None), ("quadratic", "the functions of .* have another form")):
        shift: Any = SHIFTS.build(
            {"name": "other_functions", "function_class": {"name": "composition", "second": second}}
        )
        found = why_undefined(shift, task)
        assert (found is None) if reason is None else re.match(reason, str(found))
