"""Baselines where labels are classes: against scikit-learn, and what each must do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import baseline_of, class_of, draw, task_of
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from icl_curriculum.core.registry import BASELINES

TASK = task_of({"name": "multiclass_linear", "n_classes": 3, "label_noise": 0.1}, dims=3)


@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_logistic_regression_is_scikit_learns(penalty: float) -> None:
    prompts = draw(TASK, 5, 24)
    found = baseline_of({"name": "logistic_regression", "penalty": penalty}).predict(prompts).numpy()
    xs = np.concatenate([prompts.xs.double().numpy(), np.ones((5, 24, 1))], axis=2)
    labels = prompts.ys.argmax(-1).numpy()
    compared = 0
    for i in range(5):
        for k in (8, 15, 23):
            if len(set(labels[i, :k])) < 3:
                continue  # scikit-learn knows only the classes that were shown.
            fitted = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=10_000)
            expected = fitted.fit(xs[i, :k], labels[i, :k]).predict_log_proba(xs[i, k : k + 1])[0]
            assert np.allclose(found[i, k], expected, atol=1e-4)
            compared += 1
    assert compared > 8


def test_logistic_regression_is_at_a_minimum_whatever_was_shown() -> None:
    """Of one class alone, too, where scikit-learn refuses: the gradient is zero, so any learner would say the same."""
    prompts = draw(TASK, 4, 3)
    found = baseline_of("logistic_regression").predict(prompts)
    assert torch.allclose(found[:, 0], torch.full((4, 3), -math.log(3), dtype=torch.float64))
    own = found[:, 1].gather(1, prompts.ys[:, 0].argmax(-1, keepdim=True)).squeeze()
    cosine = (prompts.xs[:, 0] * prompts.xs[:, 1]).sum(-1) + 1
    # The class that was shown is the likelier one exactly where inputs, with their constant, lie the same way.
    assert torch.equal(own > -math.log(3), cosine > 0)


def test_nearest_neighbours_are_scikit_learns_with_an_example_for_all_classes() -> None:
    prompts = draw(TASK, 4, 12)
    found = baseline_of("knn").predict(prompts).exp().numpy()
    labels = prompts.ys.argmax(-1).numpy()
    for i in range(4):
        for k in range(1, 12):
            fitted = KNeighborsClassifier(min(3, k)).fit(prompts.xs[i, :k].numpy(), labels[i, :k])
            shares = np.zeros(3)
            shares[fitted.classes_] = fitted.predict_proba(prompts.xs[i, k : k + 1].numpy())[0]
            n = min(3, k)
            assert np.allclose(found[i, k], (n * shares + 1 / 3) / (n + 1))


@pytest.mark.parametrize("name", [name for name in BASELINES.names() if name != "sklearn"])
def test_what_cannot_answer_classes_or_vectors_says_why(name: str) -> None:
    learner = baseline_of(name)
    for spec, kind, said in (
        ("multiclass_linear", "classes", "3 classes"),
        ("linear_map", "vectors", "vectors of 2 numbers"),
    ):
        reason = learner.why_not(class_of(spec))
        assert (reason is None) == (kind in learner.answers)
        if reason is not None:
            able = " and ".join(sorted(learner.answers))
            assert reason == f"the baseline {learner.id} answers {able} alone, and the labels are {said}"


def test_a_pool_of_other_labels_cannot_answer() -> None:
    learner = baseline_of({"name": "dmmse", "pool": {"name": "linear", "pool_size": 3}})
    reason = learner.why_not(class_of("linear_map"))
    assert reason is not None
    assert reason.endswith("has numbers, and the labels are vectors of 2 numbers")
