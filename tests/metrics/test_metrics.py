"""Metrics against numpy and scikit-learn, on what they are of, and over the prompts that count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Spec, bank_of, baseline_of, draw, task_of
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, mean_squared_error
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import METRICS
from icl_curriculum.evaluation import NamedLearner, score
from icl_curriculum.function_classes import Linear
from icl_curriculum.metrics import Metric, usual_metrics
from icl_curriculum.tasks import Task

CLASSES: Spec = {"name": "multiclass_linear", "n_classes": 3}
SIGNS = "linear_classification"
VECTORS: Spec = {"name": "linear_map", "label_dims": 2}


def metric_of(name: str) -> Metric:
    built = METRICS.build(name)
    assert isinstance(built, Metric)
    return built


def answered(spec: Spec) -> tuple[Task, Tensor, Tensor]:
    """A task, answers that are neither right nor hopeless, and the targets."""
    task = task_of(spec, dims=3)
    targets = draw(task, 50, 4).targets.double()
    noise = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if task.function_class.class_valued:
        return task, (1.5 * targets + noise).log_softmax(-1), targets
    return task, targets + noise, targets


def named(targets: Tensor) -> Any:
    return targets.argmax(-1).numpy()


VALUES: list[tuple[str, Spec, Callable[[Tensor, Tensor], float]]] = [
    ("squared_error", "linear", lambda found, wanted: mean_squared_error(wanted, found)),
    ("squared_error", VECTORS, lambda found, wanted: 2 * mean_squared_error(wanted.flatten(), found.flatten())),
    ("absolute_error", "linear", lambda found, wanted: mean_absolute_error(wanted, found)),
    ("absolute_error", VECTORS, lambda found, wanted: 2 * mean_absolute_error(wanted.flatten(), found.flatten())),
    ("normalized_error", "linear", lambda found, wanted: mean_squared_error(wanted, found) / 3),
    ("normalized_error", VECTORS, lambda found, wanted: float(((found - wanted) ** 2).sum(-1).mean()) / 6),
    ("error_over_reference", VECTORS, lambda found, wanted: float(((found - wanted) ** 2).sum(-1).mean()) / 6),
    ("accuracy", CLASSES, lambda found, wanted: accuracy_score(named(wanted), named(found))),
    ("accuracy", SIGNS, lambda found, wanted: accuracy_score(wanted > 0, found > 0)),
    ("normalized_error", CLASSES, lambda found, wanted: 1.5 * (1 - accuracy_score(named(wanted), named(found)))),
    ("normalized_error", SIGNS, lambda found, wanted: 2 * (1 - accuracy_score(wanted > 0, found > 0))),
    ("negative_log_likelihood", CLASSES, lambda found, wanted: log_loss(named(wanted), found.exp(), labels=[0, 1, 2])),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spec", "expected"), VALUES, ids=[f"{item[0]} of {item[1]}" for item in VALUES])
def test_values_are_those_of_scikit_learn(name: str, spec: Spec, expected: Callable[[Tensor, Tensor], float]) -> None:
    task, found, targets = answered(spec)
    metric = metric_of(name)
    errors = metric.errors(found, targets, task) / metric.scale(targets, task)
    assert errors.shape == (50, 4)
    for k in range(4):
        assert float(errors[:, k].mean()) == pytest.approx(expected(found[:, k], targets[:, k]))


def test_the_median_error_is_a_share_of_the_median_square() -> None:
    task, found, targets = answered(VECTORS)
    metric = metric_of("median_error")
    errors = metric.errors(found, targets, task).numpy() / metric.scale(targets, task)
    squares = (targets**2).sum(-1).numpy()
    expected = np.median(((found - targets) ** 2).sum(-1).numpy()[:, 1]) / np.median(squares)
    assert np.median(errors[:, 1]) == pytest.approx(expected)


def test_answers_between_classes_are_shared_and_certain_ones_may_be_infinitely_wrong() -> None:
    task = task_of(CLASSES, dims=3)
    targets = torch.eye(3, dtype=torch.float64)[None, [0, 1]]
    chance = torch.full((1, 2, 3), 1 / 3, dtype=torch.float64).log()
    assert metric_of("accuracy").errors(chance, targets, task).tolist() == [[pytest.approx(1 / 3)] * 2]
    certain = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0]]], dtype=torch.float64).log()
    assert metric_of("negative_log_likelihood").errors(certain, targets, task).tolist() == [[0.0, float("inf")]]
    assert metric_of("accuracy").errors(certain, targets, task).tolist() == [[1.0, 0.0]]


USUAL = [
    ("linear", "gaussian", ["squared_error", "normalized_error", "error_over_reference"]),
    (VECTORS, "gaussian", ["squared_error", "normalized_error", "error_over_reference"]),
    ("parity", "rademacher", ["squared_error", "normalized_error", "error_over_reference", "accuracy"]),
    (CLASSES, "gaussian", ["normalized_error", "accuracy", "negative_log_likelihood"]),
    ("linear", {"name": "student_t", "df": 1.5}, ["median_error"]),
    # What is bounded has a mean under any inputs.
    (CLASSES, {"name": "student_t", "df": 1.5}, ["normalized_error", "accuracy", "negative_log_likelihood"]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "inputs", "expected"), USUAL, ids=str)
def test_every_label_has_its_metrics(spec: Spec, inputs: Spec, expected: list[str]) -> None:
    assert [metric.id for metric in usual_metrics(task_of(spec, inputs))] == expected


def test_what_was_asked_for_is_beside_them_where_it_means_something() -> None:
    more = [metric_of(name) for name in ("absolute_error", "accuracy", "median_error")]
    inputs: list[Spec] = ["gaussian", {"name": "student_t", "df": 1.5}, {"name": "student_t", "df": 0.9}]
    found = [[metric.id for metric in usual_metrics(task_of("linear", item), more)] for item in inputs]
    assert found[0] == [*USUAL[0][2], "absolute_error", "median_error"]
    assert found[1] == ["median_error", "absolute_error"]
    assert found[2] == ["median_error"]


class Half(Linear):
    """Linear functions that are asked about where x_1 is positive."""

    def counts(self, parameters: Any, xs: Tensor) -> Tensor:
        return xs[..., 0] > 0


def test_each_length_is_over_the_prompts_that_count_there_and_says_how_many() -> None:
    bank = bank_of("linear", n=40, points=4)
    bank = replace(bank, task=replace(bank.task, function_class=Half()))
    prompts = bank.draw()
    counting = prompts.xs[..., 0] > 0
    assert prompts.mask is not None
    assert torch.equal(prompts.mask, counting)
    rows = score([NamedLearner("zero", "baseline", baseline_of("zero"))], bank, prompts, 0.9)
    squared = {row.n_context: row for row in rows if row.metric == "squared_error"}
    plain = bank_of("linear", n=40, points=4).draw()
    assert torch.equal(plain.ys, prompts.ys), "what does not count is shown all the same"
    for k, row in squared.items():
        assert row.n_prompts == int(counting[:, k].sum())
        assert row.value == pytest.approx(float(plain.targets[counting[:, k], k].double().square().mean()))


class Far(Linear):
    """Linear functions that are asked about far out."""

    def counts(self, parameters: Any, xs: Tensor) -> Tensor:
        return xs.square().sum(-1) > 4


def test_errors_are_divided_by_the_second_moment_of_what_counts() -> None:
    """Of x ~ N(0, I) in two dimensions |x|^2 is exponential with mean 2, so its mean above 4 is 6."""
    bank = bank_of("linear", n=4096, points=3)
    bank = replace(bank, task=replace(bank.task, function_class=Far(), dims=2))
    assert bank.second_moment == pytest.approx(6, rel=0.02)
    rows = score([NamedLearner("zero", "baseline", baseline_of("zero"))], bank, bank.draw(), 0.9)
    assert all(row.ci_low < 1.05 and row.ci_high > 0.95 for row in rows if row.metric == "normalized_error")


class Wrong:
    """Predicts one number too many of each label."""

    def predict(self, prompts: Prompts) -> Tensor:
        return prompts.ys.new_zeros(*prompts.ys.shape[:2], 3)


def test_predictions_of_the_wrong_last_axis_are_an_error() -> None:
    for spec, wanted in (("linear", r"\(8, 5\)"), (VECTORS, r"\(8, 5, 2\)")):
        bank = bank_of(spec)
        with pytest.raises(Exception, match=rf"\(8, 5, 3\).*expected.*{wanted}"):
            score([NamedLearner("wrong", "baseline", Wrong())], bank, bank.draw(), 0.9)
