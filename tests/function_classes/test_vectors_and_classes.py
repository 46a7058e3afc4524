"""Classes whose labels are vectors or classes: values, noise, oracles by other ways, and the posterior over a pool."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import assert_mean, baseline_of, class_of, draw, reference_task, shift_of, task_of

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Oracle
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.learners import oracle_entry
from icl_curriculum.shifts import why_undefined
from icl_curriculum.tasks import Task

CLOUDS = {"name": "gaussian_classes", "n_classes": 3, "sigma": 0.7}


def test_a_linear_map_is_a_linear_function_for_each_number() -> None:
    prompts = draw(task_of({"name": "linear_map", "label_dims": 3}, dims=4), 6, 9)
    assert prompts.truth is not None
    assert prompts.ys.shape == (6, 9, 3)
    for number in range(3):
        single = {"w": prompts.truth["W"][:, number]}
        assert torch.allclose(prompts.ys[..., number], class_of("linear").evaluate(single, prompts.xs), atol=1e-5)
    alone = draw(task_of({"name": "linear_map", "label_dims": 1}, dims=4), 6, 9)
    assert alone.ys.shape == (6, 9)


def test_unit_outputs_and_noise_of_vectors_are_each_numbers_own() -> None:
    task = task_of({"name": "linear_map", "label_dims": 3, "outputs": "unit", "label_noise": 0.5}, dims=4)
    prompts = draw(task, 2000, 3)
    assert_mean(prompts.targets.double().square().sum(-1).mean(1), 1.0)
    off = (prompts.ys - prompts.targets).double()
    assert_mean(off.square().mean(1), [0.25 / 12] * 3)
    assert_mean((off[..., 0] * off[..., 1]).mean(1), 0.0)


def test_every_number_of_a_vector_is_answered_as_alone() -> None:
    prompts = draw(task_of({"name": "linear_map", "label_dims": 3, "label_noise": 0.4}, dims=4), 5, 9)
    asked = replace(prompts, queries=draw(task_of("linear", dims=4), 5, 9, seed=1).xs)
    names = ["zero", "averaging", "least_squares", "ridge", "knn", "kernel_ridge", "lasso", "quadratic_features"]
    for name in (*names, {"name": "knn", "weights": "distance"}):
        learner = baseline_of(name)
        whole = learner.predict(asked)
        for number in range(3):
            alone = replace(asked, ys=asked.ys[..., number], targets=asked.targets[..., number])
            assert torch.allclose(whole[..., number], learner.predict(alone), rtol=1e-9, atol=1e-9), name


def test_the_class_of_a_multiclass_linear_function_is_the_largest_number() -> None:
    prompts = draw(task_of({"name": "multiclass_linear", "n_classes": 4}, dims=3), 6, 9)
    assert prompts.truth is not None
    scores = np.einsum("npd,ncd->npc", prompts.xs.numpy(), prompts.truth["W"].numpy())
    assert np.array_equal(prompts.ys.numpy(), np.eye(4)[scores.argmax(-1)])
    assert prompts.classes
    assert prompts.label_dims == 4


def test_noise_makes_another_class_of_a_label_each_as_likely() -> None:
    task = task_of({"name": "multiclass_linear", "n_classes": 4, "label_noise": 0.3}, dims=3)
    prompts = draw(task, 4000, 2)
    shown, clean = prompts.ys.argmax(-1), prompts.targets.argmax(-1)
    assert torch.equal(prompts.ys.sum(-1), torch.ones(4000, 2))
    assert_mean((shown != clean).double().mean(1), 0.3)
    for turn in (1, 2, 3):
        assert_mean(((shown - clean) % 4 == turn).double().mean(1), 0.1)
    assert prompts.label_noise == 0.3


def clouds(n: int, points: int, **more: float) -> tuple[Task, Prompts]:
    task = reference_task({**CLOUDS, **more}, dims=2)
    return task, draw(task, n, points)


def test_clouds_are_what_they_are_said_to_be() -> None:
    task, prompts = clouds(3000, 4)
    assert prompts.truth is not None
    means = prompts.truth["means"]
    own = means.gather(1, prompts.ys.argmax(-1).unsqueeze(-1).expand(-1, -1, 2))
    away = (prompts.xs - own).double()
    assert_mean(away.square().mean((1, 2)), 0.49)
    assert_mean((away[:, 0] * own[:, 0]).mean(1), 0.0)
    for number in range(3):
        assert_mean(prompts.ys[..., number].double().mean(1), 1 / 3)
    assert_mean(prompts.xs.double().square().sum(-1).mean(1), 2 * 1.49)
    # The most probable class is that of the nearest mean.
    nearest = torch.cdist(prompts.xs, means).argmin(-1)
    assert torch.equal(task.function_class.evaluate(dict(prompts.truth), prompts.xs).argmax(-1), nearest)


def test_the_oracle_of_clouds_is_the_posterior_predictive() -> None:
    """By conditioning one normal vector for each class and coordinate on the points that were shown of it."""
    _, prompts = clouds(6, 7)
    found = class_of(CLOUDS).oracle(prompts).numpy()
    xs, labels = prompts.xs.double().numpy(), prompts.ys.argmax(-1).numpy()
    for i in range(len(prompts)):
        for k in range(7):
            logs = []
            for number in range(3):
                shown = xs[i, :k][labels[i, :k] == number]
                n = len(shown)
                covariance = np.ones((n + 1, n + 1)) + 0.49 * np.eye(n + 1)
                weights = np.linalg.solve(covariance[:n, :n], covariance[:n, n]) if n else np.zeros(0)
                variance = covariance[n, n] - weights @ covariance[:n, n]
                logs.append(sum(-((xs[i, k, j] - weights @ shown[:, j]) ** 2) / variance / 2 for j in range(2))
                            - math.log(variance))  # fmt: skip
            expected = np.array(logs) - np.logaddexp.reduce(logs)
            assert np.allclose(found[i, k], expected, atol=1e-9), (i, k)


def test_clouds_have_no_oracle_under_noise_and_no_other_queries() -> None:
    task, _ = clouds(1, 2)
    assert oracle_entry(Bank(task, None, 4, 3, 0))
    assert not oracle_entry(Bank(replace(task, label_noise=0.1), None, 4, 3, 0))
    for name in ("overlapping_queries", "orthogonal_queries", "random_quadrants"):
        assert why_undefined(shift_of(name), task) == "labels are drawn with their inputs, so other queries have none"
    assert why_undefined(shift_of("scaled_outputs"), task) == "its values are classes"


def test_a_pool_of_clouds_has_no_oracle_that_would_take_drawn_labels_for_values() -> None:
    pool = {**CLOUDS, "pool_size": 4}
    assert oracle_entry(Bank(reference_task(pool, dims=2), None, 4, 3, 0)) == []
    reason = baseline_of({"name": "dmmse", "pool": pool}).why_not(class_of(CLOUDS))
    assert reason is not None
    assert "are drawn with their inputs" in reason


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_posterior_over_a_pool_of_classes_is_that_of_a_sum(noise: float) -> None:
    pool = class_of({"name": "multiclass_linear", "n_classes": 3, "pool_size": 7, "label_noise": noise})
    prompts = draw(task_of({"name": "multiclass_linear", "n_classes": 3, "label_noise": noise}, dims=3), 4, 6)
    if not noise:  # Without noise, only functions of the pool are consistent with anything.
        prompts = Task(pool, task_of("linear", dims=3).inputs, 3).draw(4, 6, Streams(0, "pooled"))
    found = Oracle(pool).predict(prompts).numpy()
    members = pool.pool(3)["W"].double().numpy()
    for i in range(4):
        answers = np.einsum("mcd,pd->mpc", members, prompts.xs[i].double().numpy()).argmax(-1)
        for k in range(6):
            right = answers[:, :k] == prompts.ys[i, :k].argmax(-1).numpy()
            weights = np.where(right, 1 - noise, noise / 2).prod(axis=1)
            expected = np.array([weights[answers[:, k] == c].sum() for c in range(3)]) / weights.sum()
            assert np.allclose(np.exp(found[i, k]), expected, atol=1e-6), (i, k)


def test_the_posterior_over_a_pool_of_maps_weighs_by_all_numbers() -> None:
    spec = {"name": "linear_map", "label_dims": 2, "label_noise": 0.5}
    pool = class_of({**spec, "pool_size": 5})
    prompts = draw(task_of(spec, dims=3), 3, 5)
    found = Oracle(pool).predict(prompts).numpy()
    members = pool.pool(3)["W"].double().numpy()
    values = np.einsum("mcd,npd->mnpc", members, prompts.xs.double().numpy())
    for i in range(3):
        for k in range(5):
            squares = ((values[:, i, :k] - prompts.ys[i, :k].double().numpy()) ** 2).sum((1, 2))
            weights = np.exp(-(squares - squares.min()) / 2 / 0.25)
            assert np.allclose(found[i, k], (weights[:, None] * values[:, i, k]).sum(0) / weights.sum(), atol=1e-6)
