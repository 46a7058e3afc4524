"""Pools of fixed functions: what decides them, and how they are drawn from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, class_of, draw, task_of
from pydantic import ValidationError
from scipy.stats import chisquare
from test_function_classes import EVERY_CLASS, task_for

from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, oracle_entry
from icl_curriculum.function_classes import Linear


def rows(parameters: dict[str, torch.Tensor]) -> np.ndarray:
    """The parameters of each function in one row."""
    return torch.cat([value.reshape(len(value), -1).double() for value in parameters.values()], dim=1).numpy()


def pooled(spec: Spec, size: int, **more: Any) -> dict[str, Any]:
    return {**({"name": spec} if isinstance(spec, str) else spec), "pool_size": size, **more}


def drawn(spec: Spec, n: int = 40, dims: int = 8, seed: int = 0, index: int = 0) -> np.ndarray:
    return rows(class_of(spec).draw_functions(n, dims, Streams(seed, "test", index)))


@EVERY_CLASS
def test_a_pool_of_one_is_one_function_and_a_larger_pool_than_the_batch_is_sampled(spec: Spec) -> None:
    dims = task_for(spec).dims
    assert len(np.unique(drawn(pooled(spec, 1), dims=dims), axis=0)) == 1
    pool = rows(class_of(pooled(spec, 5000)).pool(dims))
    different = len(np.unique(pool, axis=0))
    # The ordered pairs, or triples, of eight coordinates are all that make a parity.
    # Of the 10! / 2! orders of features, about 7 are drawn twice.
    name, most = class_of(spec).name, 8 * 7 * (6 if "size" in str(spec) else 1)
    assert 0 <= (most if name == "parity" else 5000) - different <= (20 if name == "table" else 0)
    assert len(pool) == 5000
    some = drawn(pooled(spec, 5000), dims=dims)
    assert len(np.unique(some, axis=0)) > (20 if name == "parity" else 35)
    assert len(np.unique(np.concatenate([pool, some]), axis=0)) == different


@EVERY_CLASS
def test_prompts_of_a_pool_hold_its_functions_values(spec: Spec) -> None:
    prompts = draw(task_for(pooled(spec, 3)), 64, 4)
    assert prompts.truth is not None
    assert len(np.unique(rows(dict(prompts.truth)), axis=0)) == 3
    torch.testing.assert_close(class_of(spec).evaluate(dict(prompts.truth), prompts.xs), prompts.targets)


@EVERY_CLASS
def test_a_pool_knows_nothing_of_the_id_the_outputs_and_the_noise(spec: Spec) -> None:
    dims = task_for(spec).dims
    own = pooled(spec, 7)
    plain = rows(class_of(own).pool(dims))
    for changes in ({"id": "another name"}, {"outputs": "unit"}, {"label_noise": 0.5}):
        assert np.array_equal(rows(class_of({**own, **changes}).pool(dims)), plain)
    for changes in ({"pool_seed": 1}, {"pool_size": 8}):
        other = rows(class_of({**own, **changes}).pool(dims))
        assert not np.array_equal(other[:7], plain)
    drawn_at_all = {row.tobytes() for index in range(3) for row in drawn(own, n=64, dims=dims, index=index)}
    assert drawn_at_all == {row.tobytes() for row in plain}


def test_a_pool_is_drawn_from_evenly_and_with_replacement() -> None:
    _, counts = np.unique(drawn(pooled("sparse_linear", 10), n=5000), axis=0, return_counts=True)
    assert len(counts) == 10
    assert chisquare(counts).pvalue > 6e-7


def test_a_pool_is_the_same_for_every_run_and_step_and_rows_are_not() -> None:
    spec = pooled("linear", 6)
    one, other = drawn(spec, seed=1, index=4), drawn(spec, seed=2, index=9)
    assert np.array_equal(np.unique(one, axis=0), np.unique(other, axis=0))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, drawn(spec, seed=1, index=4))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"id": "another name"}, True),
        ({"outputs": "unit"}, True),
        ({"label_noise": 0.5}, True),
        ({"pool_seed": 1}, False),
        ({"pool_size": 7}, False),
        ({"sparsity": 4}, False),
    ],
)
def test_what_decides_a_pool(changes: dict[str, Any], same: bool) -> None:
    pool = rows(class_of(pooled("sparse_linear", 6)).pool(8))
    other = rows(class_of({**pooled("sparse_linear", 6), **changes}).pool(8))
    shared = {row.tobytes() for row in pool[:, :8]} & {row.tobytes() for row in other[:, :8]}
    assert len(shared) == (6 if same else 0)


def test_pools_of_other_classes_and_dimensions_differ() -> None:
    linear, quadratic = (class_of(pooled(name, 6)).pool(8)["w"] for name in ("linear", "quadratic"))
    assert not linear.equal(quadratic)
    assert not class_of(pooled("linear", 6)).pool(7)["w"].equal(linear[:, :7])


def test_a_pool_is_drawn_once_however_the_class_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    sample = Linear.sample
    monkeypatch.setattr(Linear, "sample", lambda *given: calls.append(given[1]) or sample(*given))
    for index in range(3):
        drawn(pooled("linear", 11, pool_seed=7), index=index)
    assert calls == [11]


def test_a_pool_is_drawn_on_the_cpu_whatever_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that training on an accelerator and evaluation on the CPU mean the same functions."""
    devices = []
    sample = Linear.sample
    monkeypatch.setattr(Linear, "sample", lambda *given: devices.append(given[3].device.type) or sample(*given))
    pool = class_of(pooled("linear", 12)).pool(3, "meta")
    assert devices == ["cpu"]
    assert pool["w"].device.type == "meta"


def test_without_a_pool_functions_are_fresh_from_the_stream_of_their_name() -> None:
    streams = Streams(3, "test", 5)
    expected = class_of("relu_network").sample(7, 4, streams.generator("functions"))
    found = class_of("relu_network").draw_functions(7, 4, streams)
    prompts = task_of("relu_network", dims=4).draw(7, 2, streams)
    assert prompts.truth is not None
    for parameters in (found, prompts.truth):
        assert all(value.equal(parameters[name]) for name, value in expected.items())
    # What evaluation banks hold rests on these numbers.
    w = class_of("linear").draw_functions(4, 3, Streams(0, "test"))["w"]
    torch.testing.assert_close(w[0], torch.tensor([-0.9681, -1.6848, -0.0769]), rtol=0, atol=1e-4)


def test_a_class_without_a_pool_says_so() -> None:
    with pytest.raises(ValueError, match="linear has no pool: its pool_size is not set"):
        class_of("linear").pool(3)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        class_of(pooled("linear", 0))


def test_a_pool_shows_in_the_id() -> None:
    assert class_of(pooled("linear", 4)).id == "linear/pool_size=4"
    assert class_of(pooled("linear", 4, pool_seed=2)).id == "linear/pool_size=4/pool_seed=2"


@pytest.mark.parametrize("name", ["linear", "sparse_linear", "relu_network"])
def test_the_oracle_of_a_pool_knows_the_pool_and_the_class_s_does_not(name: str) -> None:
    """Least squares is not the best guess among seven known functions, nor a bound on it: two examples tell."""
    task = task_of(pooled(name, 7))
    (entry,) = oracle_entry(Bank(task, None, 8, 4, 0))
    assert (entry.id, entry.kind) == ("oracle", "oracle")
    prompts = draw(task, 50, 4)
    predicted = entry.learner.predict(prompts)
    first = prompts.xs[:, 0].expand(7, -1, -1)
    mean_of_the_pool = task.function_class.evaluate(task.function_class.pool(5), first).double().mean(0)
    torch.testing.assert_close(predicted[:, 0], mean_of_the_pool, rtol=1e-4, atol=1e-5)
    # After one example two functions may still agree, where they meet at that very input.
    told = ((predicted - prompts.targets).abs() < 1e-3).sum(dim=0).tolist()
    assert told[1] >= 48
    assert told[2:] == [50, 50]
