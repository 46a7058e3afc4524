"""Randomness as a pure function of (seed, stream, index)."""

from __future__ import annotations

import hashlib
import importlib
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import assert_mean, baseline_of, inputs_of, reference_task, same, shift_of

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.shifts import why_undefined


def first(made: torch.Generator, n: int = 8) -> list[float]:
    return torch.rand(n, generator=made, dtype=torch.float64).tolist()


def test_a_key_always_gives_the_same_draws() -> None:
    streams = Streams(3, "training", 12)
    before = first(streams.generator("inputs"))
    first(streams.generator("functions"), 1000)
    assert first(Streams(3, "training", 12).generator("inputs")) == before
    assert first(generator(3, "training/inputs", 12)) == before


@pytest.mark.parametrize(
    "other",
    [
        Streams(1, "training", 12).generator("inputs"),
        Streams(0, "evaluation", 12).generator("inputs"),
        Streams(0, "training", 13).generator("inputs"),
        Streams(0, "training", 12).generator("functions"),
        Streams(0, "training/linear", 12).generator("inputs"),
        Streams(0, "training", 12 + 2**32).generator("inputs"),
        Streams(2**32, "training", 12).generator("inputs"),
        Streams(12, "training", 0).generator("inputs"),
    ],
    ids=["seed", "name", "index", "part", "longer name", "index + 2^32", "seed + 2^32", "seed and index swapped"],
)
def test_any_other_key_gives_other_draws(other: torch.Generator) -> None:
    assert not set(first(other)) & set(first(Streams(0, "training", 12).generator("inputs")))


def test_names_and_parts_do_not_run_into_one_another() -> None:
    assert first(generator(1, "a", 11)) != first(generator(11, "a", 1))
    assert first(generator(0, "a1", 2)) != first(generator(0, "a", 12))


def test_neighbouring_indices_are_independent() -> None:
    draws = torch.stack([torch.randn(2, generator=generator(0, "training/inputs", i)) for i in range(4000)])
    assert_mean(draws, [0, 0])
    assert_mean(draws.square(), [1, 1])
    assert_mean(draws[1:, 0] * draws[:-1, 0], 0)


def test_uniform_draws_have_the_moments_of_uniform_draws() -> None:
    draws = torch.rand(200_000, generator=generator(0, "uniform"), dtype=torch.float64)
    assert_mean(draws, 1 / 2)
    assert_mean(draws.square(), 1 / 3)
    assert_mean(draws[1:] * draws[:-1], 1 / 4)


def test_the_whole_state_of_the_twister_comes_from_the_key() -> None:
    """torch draws what numpy's Mersenne Twister draws from the same 624 words, i.e. all of them were put in place."""
    words = np.frombuffer(hashlib.shake_128(b"3/training/inputs/7").digest(4 * 624), dtype="<u4")
    reference = np.random.MT19937()
    state = dict(reference.state)
    state["state"] = {"key": words.astype(np.uint32), "pos": 624}
    reference.state = state
    drawn = torch.empty(1000, dtype=torch.int64).random_(-(2**63), None, generator=generator(3, "training/inputs", 7))
    # A 64-bit integer is two outputs, the first one on top.
    outputs = np.stack([drawn.numpy() >> 32, drawn.numpy()], axis=1).ravel() & 0xFFFFFFFF
    assert outputs.tolist() == reference.random_raw(2000).tolist()


def draw_everything() -> list[Prompts]:
    """Every class, input distribution and shift."""
    linear = reference_task("linear", label_noise=0.5)
    tasks = [reference_task(name, label_noise=0.5) for name in FUNCTION_CLASSES.names()]
    tasks += [replace(linear, inputs=inputs_of(name)) for name in INPUTS.names()]
    batches = []
    for task in tasks:
        batches.append(task.draw(4, 6, Streams(0, "everything")))
        for name in SHIFTS.names():
            if why_undefined(shift_of(name), task) is None:
                batches.append(shift_of(name).draw(task, 4, 6, Streams(0, "everything")))
    return batches


def answer_by_everything() -> None:
    """By every baseline."""
    numbers = reference_task("linear", label_noise=0.5).draw(4, 6, Streams(0, "everything"))
    classes = reference_task("multiclass_linear").draw(4, 6, Streams(0, "everything"))
    for name in BASELINES.names():
        pool = {"pool": {"name": "linear", "pool_size": 3}} if name == "dmmse" else {}
        learner = baseline_of({"name": name, **pool})
        learner.predict(numbers if "numbers" in learner.answers else classes)


def seed_everything(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def global_states() -> list[str]:
    return [str(torch.get_rng_state().tolist()), str(np.random.get_state(legacy=False)), str(random.getstate())]


def test_global_generators_are_neither_read_nor_changed() -> None:
    importlib.import_module("sklearn.ensemble")  # which reads one of them when it is first imported
    seed_everything(1)
    states = global_states()
    once = draw_everything()
    answer_by_everything()
    assert global_states() == states
    seed_everything(2)
    for one, other in zip(once, draw_everything(), strict=True):
        assert same(one, other, "xs", "ys", "targets")
