"""Curricula: blocks to the step, shares, growth, and the two choices independent of one another."""

from __future__ import annotations

import doctest
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_curriculum import curricula
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import CURRICULA
from icl_curriculum.curricula import Curriculum, CurriculumPlan, Growth, State, block_of
from icl_curriculum.runs import launch
from icl_curriculum.training import optimizers

ITEMS = ["a", "b", "c"]
ADAPTIVE = ("bandit", "when_converged")
FIXED = tuple(name for name in CURRICULA.names() if name not in ADAPTIVE)


def curriculum_of(spec: str | dict[str, Any]) -> Curriculum:
    built = CURRICULA.build(spec)
    assert isinstance(built, Curriculum)
    return built


def all_shares(spec: str | dict[str, Any], items: Sequence[str], steps: int) -> list[list[float]]:
    chosen = curriculum_of(spec)
    state = chosen.start(items, steps)
    return [chosen.shares(step, state, items=items, steps=steps) for step in range(steps)]


# Blocks


@st.composite
def blocks_and_steps(draw: st.DrawFn) -> tuple[int, int]:
    blocks = draw(st.integers(1, 9))
    return blocks, draw(st.integers(blocks, 100))


@settings(max_examples=40, deadline=None)
@given(blocks_and_steps())
def test_blocks_are_as_equal_as_integers_allow(case: tuple[int, int]) -> None:
    blocks, steps = case
    block = [block_of(step, steps, blocks) for step in range(steps)]
    sizes = [block.count(b) for b in range(blocks)]
    assert block == sorted(block)
    assert sum(sizes) == steps
    assert max(sizes) - min(sizes) <= 1
    assert [block.index(b) for b in range(blocks)] == [b * steps // blocks for b in range(blocks)]


@settings(max_examples=40, deadline=None)
@given(blocks_and_steps())
@pytest.mark.parametrize("spec", ["mixed", "sequential"])
def test_shares_change_where_the_blocks_begin(spec: str, case: tuple[int, int]) -> None:
    blocks, steps = case
    items = [str(i) for i in range(blocks)]
    shares = all_shares(spec, items, steps)
    changes = [step for step, (before, after) in enumerate(pairwise(shares), start=1) if before != after]
    assert changes == [block * steps // blocks for block in range(1, blocks)]


@pytest.mark.parametrize("spec", ["mixed", "sequential", "when_converged"])
def test_too_few_steps_for_the_blocks_are_an_error(spec: str) -> None:
    curriculum_of(spec).check(ITEMS, 3)
    with pytest.raises(UserError, match=f"{spec}.*3 blocks, found 2 steps"):
        curriculum_of(spec).check(ITEMS, 2)


# Shares


@pytest.mark.parametrize("spec", [*CURRICULA.names(), {"name": "single", "only": "c"}], ids=str)
@pytest.mark.parametrize("steps", [3, 10, 100])
def test_shares_are_probabilities(spec: str | dict[str, Any], steps: int) -> None:
    for shares in all_shares(spec, ITEMS, steps):
        assert len(shares) == 3
        assert min(shares) >= 0
        assert sum(shares) == pytest.approx(1)


def test_mixed_spends_the_published_part_on_each_of_three_items() -> None:
    shares = all_shares("mixed", ITEMS, 18)
    spent = [sum(step[i] for step in shares) / 18 for i in range(3)]
    assert spent == pytest.approx([float(Fraction(n, 18)) for n in (11, 5, 2)])
    assert [f"{100 * part:.1f}" for part in spent] == ["61.1", "27.8", "11.1"]


def test_mixed_is_uniform_over_the_open_items() -> None:
    first, second, third = [1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3
    assert all_shares("mixed", ITEMS, 7) == [first] * 2 + [second] * 2 + [third] * 3


def test_sequential_trains_on_one_item_after_another() -> None:
    assert all_shares("sequential", ITEMS, 7) == [[1, 0, 0]] * 2 + [[0, 1, 0]] * 2 + [[0, 0, 1]] * 3


def test_random_is_uniform_from_the_first_step() -> None:
    assert all_shares("random", ITEMS, 4) == [[1 / 3] * 3] * 4


@pytest.mark.parametrize(("spec", "expected"), [("single", [1, 0, 0]), ({"name": "single", "only": "b"}, [0, 1, 0])])
def test_single_trains_on_one_item(spec: str | dict[str, Any], expected: list[float]) -> None:
    assert all_shares(spec, ITEMS, 4) == [expected] * 4


def test_single_with_an_unknown_item_is_an_error() -> None:
    single = curriculum_of({"name": "single", "only": "liner"})
    with pytest.raises(UserError, match=r"'liner' is not in the experiment; did you mean 'linear'\?"):
        single.check(["linear", "quadratic"], 10)
    curriculum_of({"name": "single", "only": "linear"}).check(["linear"], 10)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("single", "single"), ({"name": "single", "only": "b"}, "single/b"), ({"name": "single", "id": "one"}, "one")],
)
def test_id_of_single(spec: str | dict[str, Any], expected: str) -> None:
    assert curriculum_of(spec).id == expected


# Growth


def test_growth_of_dimensions_as_published() -> None:
    """Garg et al.: from 5 to 20 dimensions, one more every 2,000 steps."""
    growth = Growth(start=5, add=1, every=2000)
    at = {0: 5, 1999: 5, 2000: 6, 3999: 6, 4000: 7, 29_999: 19, 30_000: 20, 500_000: 20}
    assert {step: growth.at(step, 20, 500_000) for step in at} == at


def test_growth_of_points_as_published() -> None:
    """From 11 to 41 points, two more every 2,000 steps."""
    growth = Growth(start=11, add=2, every=2000)
    assert [growth.at(step, 41, 500_000) for step in (0, 2000, 28_000, 30_000, 40_000)] == [11, 13, 39, 41, 41]


@pytest.mark.parametrize("steps", [7, 100, 1_500, 18_000])
def test_growth_over_a_share_of_training_ends_there_however_long_it_is(steps: int) -> None:
    """Evenly, dimensions and points together as in Garg et al., whose 41 points are 2 x 20 dimensions and one."""
    dims, points = Growth(start=5, over=0.4), Growth(start=11, add=2, over=0.4)
    grown = [(dims.at(step, 20, steps), points.at(step, 41, steps)) for step in range(steps)]
    assert grown[0] == (5, 11)
    assert all(of_points == 2 * of_dims + 1 for of_dims, of_points in grown)
    assert [step for step in range(steps) if grown[step][0] < 20] == [*range(math.ceil(0.4 * steps))]
    times = {of_dims: sum(each == of_dims for each, _ in grown) for of_dims in range(5, 20)}
    assert max(times.values()) - min(times.values()) <= 1


@pytest.mark.parametrize(
    "growth", [Growth(start=11, add=2, every=40), Growth(start=12, add=5, every=7), Growth(start=11, add=3, over=0.6)]
)
@pytest.mark.parametrize("steps", [5, 64, 1_000])
def test_the_spans_of_a_growth_are_the_steps_of_each_number(growth: Growth, steps: int) -> None:
    spans = growth.spans(41, steps)
    assert {step: size for size, span in spans.items() for step in span} == {
        step: growth.at(step, 41, steps) for step in range(steps)
    }
    assert [*spans] == sorted(spans)
    assert all(spans.values())


def test_growth_has_one_of_two_paces() -> None:
    expected = "expected one of every, steps between increments such as 2000, and over, a share of training such as 0.4"
    with pytest.raises(UserError, match=f"found neither; {expected}"):
        Growth(start=5)
    with pytest.raises(UserError, match=f"found both; {expected}"):
        Growth(start=5, every=3, over=0.4)


@pytest.mark.parametrize("bad", [{"start": 0}, {"every": 0}, {"add": 0}, {"stop": 3}])
def test_growth_is_checked(bad: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))):
        Growth(**{"start": 1, "every": 1, **bad})


# Both curricula together


def plan(over_classes: str, over_inputs: str, steps: int = 12, **more: Any) -> CurriculumPlan:
    return CurriculumPlan(
        over_function_classes=curriculum_of(over_classes),
        over_inputs=curriculum_of(over_inputs),
        function_classes=("linear", "quadratic", "relu_network"),
        inputs=("gaussian", "student_t"),
        steps=steps,
        dims=5,
        points=11,
        **more,
    )


def test_each_curriculum_has_its_own_blocks() -> None:
    """Input blocks are not counted from the end of a class's block: each covers all classes' steps alike."""
    chosen = plan("sequential", "sequential")
    shares = [chosen.shares(step, chosen.initial_state()) for step in range(12)]
    cells = [
        next((c, i) for c, p in each.function_classes.items() for i, q in each.inputs.items() if p * q == 1)
        for each in shares
    ]
    assert [c for c, _ in cells] == ["linear"] * 4 + ["quadratic"] * 4 + ["relu_network"] * 4
    assert [i for _, i in cells] == ["gaussian"] * 6 + ["student_t"] * 6


@pytest.mark.parametrize("over_classes", CURRICULA.names())
@pytest.mark.parametrize("over_inputs", CURRICULA.names())
def test_neither_curriculum_depends_on_the_other(over_classes: str, over_inputs: str) -> None:
    chosen = plan(over_classes, over_inputs)
    for step in range(12):
        shares = chosen.shares(step, chosen.initial_state())
        assert list(shares.function_classes.values()) == all_shares(over_classes, chosen.function_classes, 12)[step]
        assert list(shares.inputs.values()) == all_shares(over_inputs, chosen.inputs, 12)[step]
        assert sum(p * q for p in shares.function_classes.values() for q in shares.inputs.values()) == pytest.approx(1)


def test_sizes_grow_where_they_should() -> None:
    fixed, growing = (
        plan("mixed", "random"),
        plan("mixed", "random", dims_growth=Growth(start=2, every=3), points_growth=Growth(start=3, add=2, every=3)),
    )
    assert {(s.dims, s.points) for s in (fixed.shares(step, fixed.initial_state()) for step in range(12))} == {(5, 11)}
    grown = [growing.shares(step, growing.initial_state()) for step in (0, 2, 3, 6, 9, 11)]
    assert [(s.dims, s.points) for s in grown] == [(2, 3), (2, 3), (3, 5), (4, 7), (5, 9), (5, 9)]


class Worst(Curriculum):
    """Train on the item whose loss was highest."""

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        return [1.0 if item == state.get("worst", items[0]) else 0.0 for item in items]

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        return {"worst": max(signals, key=lambda item: signals[item])}


def test_an_adaptive_curriculum_sees_the_mean_loss_of_its_items() -> None:
    chosen = CurriculumPlan(Worst(), curriculum_of("random"), ("linear", "quadratic"), ("gaussian", "t"), 9, 5, 11)
    losses = {("linear", "gaussian"): 0.9, ("linear", "t"): 0.1, ("quadratic", "gaussian"): 0.6}
    state = chosen.update(chosen.initial_state(), losses)
    assert chosen.adaptive
    assert chosen.shares(1, chosen.initial_state()).function_classes == {"linear": 1, "quadratic": 0}
    assert chosen.shares(1, state).function_classes == {"linear": 0, "quadratic": 1}
    assert chosen.shares(1, state).inputs == {"gaussian": 0.5, "t": 0.5}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_curricula_keep_an_empty_state(name: str) -> None:
    fixed = curriculum_of(name)
    assert fixed.initial_state() == fixed.update({}, {"a": 1.0}) == {}
    assert not fixed.adaptive


# Docstrings


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *((curricula, name) for name in ("block_of", "Single", "Sequential", "Mixed", "Random", "Growth")),
        *((curricula, name) for name in ("Bandit", "WhenConverged")),
        (launch, "default_jobs"),
        (optimizers, "schedule_factor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_examples_in_docstrings_hold(module: Any, name: str) -> None:
    examples = doctest.DocTestParser().get_doctest(getattr(module, name).__doc__, vars(module), name, None, None)
    result = doctest.DocTestRunner().run(examples)
    assert result.attempted > 0
    assert result.failed == 0
