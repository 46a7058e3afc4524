"""Curricula that read the losses: when they move on, what the bandit prefers, and that runs resume exactly."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from finished_runs import Finished, assert_same_results, executed
from tiny_runs import Killed, killed_at, tiny_run

from icl_curriculum.core.registry import CURRICULA
from icl_curriculum.curricula import Bandit, Curriculum, Mixed, State, WhenConverged
from icl_curriculum.runs.execution import execute

ITEMS = ["a", "b", "c"]


def played(
    curriculum: Curriculum, loss: Callable[[str, int], float], steps: int, items: Sequence[str] = ITEMS, seed: int = 0
) -> list[list[float]]:
    """The shares at each step, when an item's loss is a function of how often it has been drawn."""
    draws, drawn = random.Random(seed), dict.fromkeys(items, 0)
    state, shares = curriculum.start(items, steps), []
    for step in range(steps):
        shares.append(curriculum.shares(step, state, items=items, steps=steps))
        item = draws.choices(items, shares[-1])[0]
        state = curriculum.update(state, {item: loss(item, drawn[item])})
        drawn[item] += 1
    return shares


def told(curriculum: Curriculum, losses: Sequence[Mapping[str, float]], items: Sequence[str] = ITEMS) -> State:
    state = curriculum.start(items, 1000)
    for signals in losses:
        state = curriculum.update(state, signals)
    return state


# Moving on


def test_the_next_item_comes_in_once_the_newest_has_converged() -> None:
    curriculum = WhenConverged(window=5)
    shares = played(curriculum, lambda item, n: max(0.2, 0.8 - 0.05 * n), 900)
    opened = [sum(share > 0 for share in step) for step in shares]
    # Item a is at 0.2 from its update 12 on: two windows on after the last fall, long before block 1 ends at 300.
    assert opened.index(2) < 40
    assert opened == sorted(opened)
    assert opened[-1] == 3
    assert all(share in ([1, 0, 0], [0.5, 0.5, 0], [1 / 3] * 3) for share in shares)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(lambda item, n: 1.0, id="a plateau is not convergence"),
        pytest.param(lambda item, n: 0.8 * 0.97**n, id="nor is a loss that still falls"),
    ],
)
def test_without_convergence_it_is_the_mixed_curriculum(loss: Callable[[str, int], float]) -> None:
    shares = played(WhenConverged(window=5), loss, 90)
    assert shares == [Mixed().shares(step, {}, items=ITEMS, steps=90) for step in range(90)]


def test_what_has_converged_stays_so() -> None:
    curriculum = WhenConverged(window=2)
    state = told(curriculum, [{"a": 0.5}] * 4)
    assert state["converged"] == ["a"]
    later = state
    for loss in (0.4, 0.3, 2.0, 0.1):
        later = curriculum.update(later, {"a": loss})
    assert later == state


@pytest.mark.parametrize(
    ("losses", "converged"),
    [
        ([0.5, 0.5, 0.48, 0.48], True),  # 4% better, of which 5% are asked
        ([0.5, 0.5, 0.47, 0.47], False),  # 6% better
        ([0.9, 0.9, 0.9, 0.9], False),  # not below 0.9
        ([0.4, 0.6, 0.3, 0.7], True),  # means count
        ([0.5, 0.5, 0.5], False),  # two windows are needed
        ([0.1, 0.5, 0.5, 0.5, 0.5], True),  # the last two windows count
    ],
)
def test_convergence_by_hand(losses: list[float], converged: bool) -> None:
    state = told(WhenConverged(window=2), [{"a": loss} for loss in losses])
    assert state["converged"] == ["a"] * converged


def test_an_earlier_item_that_converges_late_opens_nothing_twice() -> None:
    """b was opened by the clock; its own convergence opens c, a's does not."""
    curriculum = WhenConverged(window=1)
    state = told(curriculum, [{"b": 0.5}, {"b": 0.5}])
    assert curriculum.shares(0, state, items=ITEMS, steps=900) == [1, 0, 0]
    assert curriculum.shares(300, state, items=ITEMS, steps=900) == [1 / 3] * 3


# The bandit


def test_the_bandit_prefers_what_it_learns() -> None:
    noise = random.Random(1)

    def loss(item: str, n: int) -> float:
        return (1 - 0.004 * n if item == "b" else 0.5) + 0.001 * noise.gauss(0, 1)

    shares = played(Bandit(), loss, 200)
    late = [sum(step[i] for step in shares[100:]) / 100 for i in range(3)]
    assert late[1] > 0.6
    assert max(late[0], late[2]) < 0.2


def test_the_bandit_moves_on_when_progress_moves() -> None:
    noise = random.Random(1)

    def loss(item: str, n: int) -> float:
        learned = {"a": 0.01 * min(n, 60), "b": 0.002 * n, "c": 0.0}
        return 1 - learned[item] + 0.001 * noise.gauss(0, 1)

    shares = played(Bandit(), loss, 400)
    assert shares[140][0] > 0.6
    assert shares[380][1] > 0.6


def test_every_item_keeps_its_part_of_epsilon() -> None:
    state = told(Bandit(epsilon=0.3), [{"a": 1 - 0.01 * n} for n in range(50)])
    shares = Bandit(epsilon=0.3).shares(50, state, items=ITEMS, steps=1000)
    assert min(shares) >= 0.1
    assert sum(shares) == pytest.approx(1)
    assert Bandit(epsilon=1.0).shares(50, state, items=ITEMS, steps=1000) == pytest.approx([1 / 3] * 3)


def test_an_update_of_the_bandit_by_hand() -> None:
    """Graves et al. 2017, equations 5 to 7, with two items and rewards that reach both percentiles."""
    curriculum = Bandit(rate=0.1, epsilon=0.2, smoothing=0.5)
    state = told(curriculum, [{"a": 1.0}, {"a": 0.8}, {"b": 1.0}], ["a", "b"])
    # One reward: its percentiles coincide, so it is 0, and the weights stay equal.
    assert state["weights"] == {"a": 0.0, "b": 0.0}
    assert state["means"] == {"a": 0.9, "b": 1.0}
    state = curriculum.update(state, {"b": 1.1})
    # Progress -0.1 after 0.2: the lower percentile, reward -1, at probability 1/2 and t = 4.
    u = {"a": 0.0, "b": 0.1 * -1 / 0.5}
    expected = {
        "a": math.log(0.75 * math.exp(u["a"]) + 0.25 * math.exp(u["b"])),
        "b": math.log(0.75 * math.exp(u["b"]) + 0.25 * math.exp(u["a"])),
    }
    assert state["weights"] == pytest.approx(expected)
    total = sum(math.exp(weight) for weight in expected.values())
    policy = [0.8 * math.exp(expected[item]) / total + 0.1 for item in "ab"]
    assert curriculum.shares(4, state, items=["a", "b"], steps=10) == pytest.approx(policy)


def test_items_of_one_batch_are_all_observed() -> None:
    """Drawing per prompt, no reward is divided by a probability: the order of the items does not matter."""
    rounds = [{"a": 1.0 - 0.01 * n, "b": 0.5 + 0.001 * n, "c": 0.7} for n in range(20)]
    turned = [dict(reversed(signals.items())) for signals in rounds]
    assert told(Bandit(), rounds)["weights"].keys() == told(Bandit(), turned)["weights"].keys()
    assert max(told(Bandit(), rounds)["weights"].items(), key=lambda each: each[1])[0] == "a"


@pytest.mark.parametrize("losses", [[1e300, 0.0], [0.0, 1e300], [1e-300] * 9, [5.0] * 500])
def test_extreme_losses_leave_probabilities(losses: list[float]) -> None:
    curriculum = Bandit(rate=100.0)
    state = told(curriculum, [{"a": loss} for loss in losses])
    shares = curriculum.shares(1, state, items=ITEMS, steps=1000)
    assert sum(shares) == pytest.approx(1)
    assert min(shares) > 0


def test_one_item_is_all_there_is() -> None:
    for curriculum in (Bandit(), WhenConverged()):
        assert played(curriculum, lambda item, n: 1 / (1 + n), 30, ["a"]) == [[1.0]] * 30


# As parts of a run


@pytest.mark.parametrize("name", ["bandit", "when_converged"])
def test_states_are_plain_values_and_histories_bounded(name: str) -> None:
    curriculum = CURRICULA.build(name)
    assert isinstance(curriculum, Curriculum)
    assert curriculum.adaptive
    sizes = []
    for updates in (1000, 2000):
        state = told(curriculum, [{ITEMS[n % 3]: 1.0 + n % 7} for n in range(updates)])
        assert json.loads(json.dumps(state)) == state
        sizes.append(len(json.dumps(state)))
    assert sizes[1] < 1.1 * sizes[0]


@pytest.mark.parametrize("name", ["bandit", "when_converged"])
def test_updates_leave_the_state_before_them_alone(name: str) -> None:
    curriculum = CURRICULA.build(name)
    assert isinstance(curriculum, Curriculum)
    states = [told(curriculum, [{"a": 1.0, "b": 0.5}] * n) for n in range(4)]
    kept = json.dumps(states)
    for before, after in pairwise(states):
        assert curriculum.update(before, {"a": 1.0, "b": 0.5}) == after
    assert json.dumps(states) == kept


EAGER = {"name": "when_converged", "window": 1, "improvement": 0.9, "below": 99.0}


@pytest.mark.parametrize("draw", ["batch", "prompt"])
@pytest.mark.parametrize("spec", ["bandit", EAGER], ids=["bandit", "when_converged"])
def test_a_resumed_run_equals_one_that_was_never_interrupted(spec: Any, draw: str, tmp_path: Path) -> None:
    changes = {
        "inputs": ["gaussian", "skewed"], "evaluation.shifts": [],
        "curriculum.function_classes": spec, "curriculum.inputs": spec, "curriculum.draw": draw,
    }  # fmt: skip
    whole = executed(tmp_path / "whole", changes)
    run = tiny_run(changes)
    for step in (6, 8):
        with pytest.raises(Killed):
            execute(run, tmp_path / "resumed", report=killed_at("training", step))
    execute(run, tmp_path / "resumed")
    assert_same_results(Finished(run, tmp_path / "resumed", []), whole)
    keys = ["function_class", "input_distribution"]
    planned = whole.table("curriculum").pivot_table(index="step", columns=keys, values="planned_share")
    assert len(planned.drop_duplicates()) > 1, "the curriculum moved"
    assert planned.loc[4].min() > 0, "and not by the clock"
