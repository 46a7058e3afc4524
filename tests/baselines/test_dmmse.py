"""The posterior mean over a pool: against brute force, as a baseline and as the oracle of pools."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Spec, baseline_of, class_of, draw, errors_of, shift_of, task_of
from tiny_runs import tiny_run

from icl_curriculum.baselines import Baseline, PoolPosteriorMean, pool
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, Oracle, oracle_entry
from icl_curriculum.tasks import Task

NOISY: dict[str, object] = {"name": "noisy_linear", "label_noise": 0.5}


def pooled(size: int, spec: dict[str, object] = NOISY) -> dict[str, object]:
    return {**spec, "pool_size": size}


def dmmse(spec: Spec) -> Baseline:
    return baseline_of({"name": "dmmse", "pool": spec})


def by_hand(task: Task, prompts: Prompts, deviation: float) -> np.ndarray:
    """A loop over prompts and prefixes with Gaussian likelihoods, in numpy."""
    members = task.function_class.pool(prompts.dims)
    size = len(next(iter(members.values())))
    answers = np.zeros(prompts.ys.shape)
    for i in range(len(prompts)):
        xs, asked = (value[i : i + 1].expand(size, -1, -1) for value in (prompts.xs, prompts.query()))
        values = task.function_class.evaluate(members, xs).double().numpy() * prompts.scale
        at_query = task.function_class.evaluate(members, asked).double().numpy() * prompts.scale
        for k in range(prompts.points):
            logs = -((prompts.ys[i, :k].double().numpy() - values[:, :k]) ** 2).sum(1) / (2 * deviation**2)
            weights = np.exp(logs - logs.max())
            answers[i, k] = weights @ at_query[:, k] / weights.sum()
    return answers


@pytest.mark.parametrize("shift", [None, "random_quadrants"])
@pytest.mark.parametrize("name", ["noisy_linear", "decision_tree"])
def test_dmmse_weighs_the_pool_by_its_likelihood(name: str, shift: str | None) -> None:
    task = task_of(pooled(9, {"name": name, "label_noise": 0.7, "outputs": "unit"}), dims=4)
    streams = Streams(0, "test")
    prompts = task.draw(6, 5, streams) if shift is None else shift_of(shift).draw(task, 6, 5, streams)
    found = dmmse(pooled(9, {"name": name, "label_noise": 0.7, "outputs": "unit"})).predict(prompts)
    np.testing.assert_allclose(found.numpy(), by_hand(task, prompts, prompts.label_noise), rtol=1e-5, atol=1e-6)


def test_dmmse_adds_up_a_large_pool_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(pooled(50), dims=3)
    prompts = draw(task, 8, 6)
    whole = dmmse(pooled(50)).predict(prompts)
    monkeypatch.setattr(pool, "_CHUNK", 7 * prompts.xs.numel())
    torch.testing.assert_close(dmmse(pooled(50)).predict(prompts), whole)


def test_without_noise_it_is_the_mean_of_the_members_that_agree() -> None:
    """One example tells linear functions apart; parities of one coordinate need several."""
    task = task_of(pooled(5, {"name": "linear"}), dims=3)
    prompts = draw(task, 16, 4)
    answers = dmmse(pooled(5, {"name": "linear"})).predict(prompts)
    torch.testing.assert_close(answers[:, 1:], prompts.targets[:, 1:].double(), rtol=0, atol=1e-4)
    members = task.function_class.pool(3)["w"]
    torch.testing.assert_close(answers[:, 0].float(), (prompts.xs[:, 0] @ members.T).mean(dim=1))

    spec = pooled(6, {"name": "parity", "size": 1})
    signs = draw(task_of(spec, "rademacher", dims=4), 32, 6)
    subsets = class_of(spec).pool(4)["subset"].squeeze(1)
    values = signs.xs[:, :, subsets]
    agree = (values == signs.ys.unsqueeze(-1)).double().cumprod(dim=1)
    agree = torch.cat([torch.ones_like(agree[:, :1]), agree[:, :-1]], dim=1)
    expected = (agree * values).sum(-1) / agree.sum(-1)
    torch.testing.assert_close(dmmse(spec).predict(signs), expected)


def test_flipped_labels_count_by_their_probability() -> None:
    spec = pooled(4, {"name": "linear_classification", "label_noise": 0.2})
    prompts = draw(task_of(spec, dims=3), 16, 6)
    members = class_of(spec).pool(3)["w"]
    values = torch.where(prompts.xs @ members.T < 0, -1.0, 1.0).double()
    wrong = (values != prompts.ys.unsqueeze(-1)).double()
    before = wrong.cumsum(dim=1) - wrong
    weights = 0.25**before  # p / (1 - p)
    torch.testing.assert_close(dmmse(spec).predict(prompts), (weights * values).sum(-1) / weights.sum(-1))


def test_it_does_not_look_ahead_nor_at_the_truth() -> None:
    task = task_of(pooled(8), dims=3)
    prompts, other = draw(task, 8, 7), draw(task, 8, 7, seed=1)
    before = dmmse(pooled(8)).predict(prompts.without_truth())
    ys = torch.cat([prompts.ys[:, :3], other.ys[:, 3:]], dim=1)
    after = dmmse(pooled(8)).predict(replace(prompts, ys=ys))
    assert after[:, :4].equal(before[:, :4])
    assert not after[:, 4].equal(before[:, 4])


def test_the_oracle_knows_of_a_factor_and_the_baseline_does_not() -> None:
    """No learner in training has seen the functions times two."""
    task = task_of(pooled(8, {"name": "linear"}), dims=3)
    doubled = draw(replace(task, factor=2.0), 64, 5)
    oracle, baseline = Oracle(task.function_class), dmmse(pooled(8, {"name": "linear"}))
    torch.testing.assert_close(oracle.predict(doubled), 2 * oracle.predict(draw(task, 64, 5)))
    assert errors_of(oracle, doubled)[:, 1:].max() < 1e-6
    assert errors_of(baseline, doubled)[:, 4].mean() > 0.1


def test_the_unit_of_its_pool_is_its_own() -> None:
    unit = dmmse(pooled(8, {"name": "linear", "outputs": "unit"}))
    assert errors_of(unit, draw(task_of(pooled(8, {"name": "linear"}), dims=4), 64, 5))[:, 4].mean() > 0.1


def test_pools_without_an_oracle() -> None:
    """Where the inputs tell of the function, and where there are too many functions to weigh each time."""
    own: dict[str, object] = {"name": "linear_dynamics", "label_noise": 0.5}
    assert oracle_entry(Bank(task_of(pooled(8, own)), None, 8, 5, 0)) == []
    assert oracle_entry(Bank(task_of(pooled(8, {"name": "linear_dynamics"})), None, 8, 5, 0))
    assert oracle_entry(Bank(task_of(pooled(8193, {"name": "linear"})), None, 8, 5, 0)) == []


def test_a_small_pool_makes_it_better_there_and_worse_on_fresh_functions() -> None:
    on_pool, fresh = draw(task_of(pooled(8), dims=4), 400, 9), draw(task_of(NOISY, dims=4), 400, 9)  # type: ignore[arg-type]
    ridge, posterior = baseline_of("ridge"), dmmse(pooled(8))
    assert errors_of(posterior, on_pool)[:, 4].mean() < 0.3 * errors_of(ridge, on_pool)[:, 4].mean()
    assert errors_of(posterior, fresh)[:, 8].mean() > 5 * errors_of(ridge, fresh)[:, 8].mean()


def test_it_is_the_oracle_of_a_pool() -> None:
    bank = Bank(task_of(pooled(8), dims=3), None, 8, 5, 0)
    (entry,) = oracle_entry(bank)
    assert (entry.id, entry.kind) == ("oracle", "oracle")
    prompts = bank.draw()
    assert entry.learner.predict(prompts).equal(dmmse(pooled(8)).predict(prompts))
    # Also for a class without an oracle of its own.
    assert oracle_entry(Bank(task_of(pooled(8, {"name": "relu_network"})), None, 8, 5, 0))


def test_its_pool_is_that_of_the_experiment() -> None:
    experiment = tiny_run(
        {"function_classes": ["linear", pooled(8)], "evaluation.baselines": ["dmmse", "zero"]}
    ).experiment
    chosen, _ = experiment.baselines_for(experiment.function_classes[0])
    assert isinstance(chosen, PoolPosteriorMean)
    assert chosen.id == "dmmse"
    assert chosen.pool == experiment.function_classes[1]
    assert chosen.spec()["pool"]["pool_size"] == 8


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("dmmse", "dmmse: expected a function class with a pool_size to take the pool from, found none"),
        ({"name": "dmmse", "pool": "linear"}, "dmmse: pool: expected a function class with a pool_size, found linear"),
        ({"name": "dmmse", "pool": "liner"}, "pool: unknown function class 'liner'; did you mean 'linear'?"),
    ],
    ids=["none", "no pool", "unknown"],
)
def test_an_experiment_without_a_pool_is_an_error(baseline: Spec, message: str) -> None:
    with pytest.raises(UserError) as error:
        tiny_run({"evaluation.baselines": [baseline]})
    assert message in str(error.value)


def test_a_pool_of_no_functions_is_an_error() -> None:
    with pytest.raises(UserError, match="pool_size: expected greater than or equal to 1, found 0"):
        tiny_run({"function_classes": [{"name": "linear", "pool_size": 0}]})
