"""Classes whose values are signs: accuracy, misclassification, flipped labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import (
    Spec,
    assert_mean,
    bank_of,
    baseline_of,
    draw,
    errors_of,
    reference_task,
    rows_of,
    shift_of,
    task_of,
    values_of,
)
from torch import Tensor
from undefined import UNDEFINED

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.evaluation import NamedLearner, metric_rows, oracle_entry, score

CLASSES = ["linear_classification", "parity"]
METRICS = ["squared_error", "normalized_error", "error_over_reference", "accuracy"]
DEFINED: list[tuple[str, str | None]] = [
    (name, shift) for name in CLASSES for shift in (None, *SHIFTS.names()) if (name, shift) not in UNDEFINED
]


class Answers:
    """A learner with fixed answers."""

    def __init__(self, answers: Tensor) -> None:
        self.answers = answers

    def predict(self, prompts: Prompts) -> Tensor:
        return self.answers


@pytest.mark.parametrize(("name", "shift"), DEFINED)
def test_zero_has_error_one_and_accuracy_one_half_exactly(name: str, shift: str | None) -> None:
    if shift == "other_class":
        spec: Spec | None = {"name": "other_class", "function_class": name}
    else:
        spec = shift
    rows = rows_of(baseline_of("zero"), bank_of(name, spec, None, n=30))
    assert {row.metric for row in rows} == set(METRICS)
    for metric in ("squared_error", "normalized_error", "error_over_reference"):
        assert set(values_of(rows, metric)) == {1.0}
    assert set(values_of(rows, "accuracy")) == {0.5}


@pytest.mark.parametrize("name", CLASSES)
def test_normalized_error_is_misclassification_over_one_half(name: str) -> None:
    bank = bank_of(name, None, None, n=40)
    prompts = bank.draw()
    answers = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    answers[:10, 2] = 0.0
    rows = rows_of(Answers(answers), bank)
    wrong = (answers.sign() * prompts.targets < 0).double() + 0.5 * (answers == 0).double()
    np.testing.assert_allclose(values_of(rows, "normalized_error"), 2 * wrong.mean(0).numpy(), atol=1e-12)
    np.testing.assert_allclose(values_of(rows, "accuracy"), 1 - wrong.mean(0).numpy(), atol=1e-12)
    squared = (answers.double() - prompts.targets.double()).square().mean(0).numpy()
    np.testing.assert_allclose(values_of(rows, "squared_error"), squared)
    np.testing.assert_allclose(values_of(rows, "error_over_reference"), squared)


@pytest.mark.parametrize(("factor", "error", "accuracy"), [(1.0, 0.0, 1.0), (1e-9, 0.0, 1.0), (-3.0, 2.0, 0.0)])
def test_only_the_sign_of_an_answer_counts(factor: float, error: float, accuracy: float) -> None:
    bank = bank_of("parity", None, None)
    rows = rows_of(Answers(bank.draw().targets * factor), bank)
    assert set(values_of(rows, "normalized_error")) == {error}
    assert set(values_of(rows, "accuracy")) == {accuracy}
    # Intervals of what does not vary.
    assert all(row.ci_low == row.value == row.ci_high for row in rows if row.metric == "accuracy")


def test_intervals_of_accuracy_and_error_are_two_views_of_one() -> None:
    rows = rows_of(baseline_of("least_squares"), bank_of("linear_classification", n=200))
    for error, accuracy in zip(
        (row for row in rows if row.metric == "normalized_error"),
        (row for row in rows if row.metric == "accuracy"),
        strict=True,
    ):
        assert error.value == pytest.approx(2 * (1 - accuracy.value))
        if accuracy.n_context:
            assert accuracy.ci_low < accuracy.value < accuracy.ci_high
            assert error.ci_low == pytest.approx(2 * (1 - accuracy.ci_high), abs=0.02)


def test_an_answer_that_is_no_number_is_neither_right_nor_wrong() -> None:
    bank = bank_of("parity", None, None, n=4)
    answers = bank.draw().targets.double().numpy().copy()
    answers[1, 3] = np.nan
    rows = metric_rows(NamedLearner("x", "model", baseline_of("zero")), answers, bank, bank.draw(), None)
    for metric in METRICS:
        found = values_of(rows, metric)
        assert math.isnan(found[3])
        assert not any(math.isnan(value) for k, value in enumerate(found) if k != 3)


@pytest.mark.parametrize("inputs", ["cauchy", "student_t"])
def test_signs_have_all_their_metrics_under_heavy_tails(inputs: str) -> None:
    rows = rows_of(baseline_of("averaging"), bank_of("linear_classification", None, inputs, n=50))
    assert {row.metric for row in rows} == set(METRICS)
    assert all(math.isfinite(row.ci_low) for row in rows)


def test_other_classes_have_no_accuracy() -> None:
    for name in ("linear", "decision_tree"):
        assert {row.metric for row in rows_of(baseline_of("zero"), bank_of(name))} == set(METRICS) - {"accuracy"}
    asked = bank_of("linear", {"name": "other_class", "function_class": "linear_classification"})
    assert {row.metric for row in rows_of(baseline_of("zero"), asked)} == set(METRICS)


def test_the_oracle_of_parity_is_right_once_it_knows() -> None:
    """d = 5 has ten pairs of coordinates; under flips of 10% it knows them less, and never less than any baseline."""
    clean, noisy = (bank_of("parity", shift, None, n=300, points=12) for shift in (None, "label_noise"))
    (oracle,) = oracle_entry(clean)
    accuracy = values_of(score([oracle], clean, clean.draw(), None), "accuracy")
    assert accuracy[0] < 0.8
    assert accuracy[-1] > 0.99
    prompts = noisy.draw()
    best = errors_of(oracle.learner, prompts).mean(axis=1)
    assert best.mean() > errors_of(oracle.learner, clean.draw()).mean() + 0.05
    for name in ("zero", "averaging", "least_squares", "knn"):
        excess = errors_of(baseline_of(name), prompts).mean(axis=1) - best
        assert excess.mean() > -5 * excess.std() / math.sqrt(len(excess))


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_s_own_flips(name: str) -> None:
    """``label_noise`` of a sign-valued class is a probability; the target stays clean."""
    task = reference_task({"name": name, "label_noise": 0.2})
    prompts = draw(task, 4000, 3)
    assert_mean((prompts.ys != prompts.targets).double(), [0.2] * 3)
    assert prompts.label_noise == pytest.approx(0.8)
    assert prompts.targets.equal(draw(reference_task(name), 4000, 3).targets)
    assert shift_of("label_noise").apply(task).raw_noise == 0.1


@pytest.mark.parametrize("name", CLASSES)
def test_a_unit_changes_nothing(name: str) -> None:
    raw, unit = (draw(reference_task({"name": name, "outputs": outputs}), 5, 4) for outputs in ("raw", "unit"))
    assert raw.ys.equal(unit.ys)
    assert unit.scale == 1


def test_the_id_of_label_noise_says_what_the_class_reads() -> None:
    shift = shift_of({"name": "label_noise", "level": 0.25, "flips": 0.2})
    assert shift.columns(task_of("linear"))[1] == "label_noise/0.25"
    assert shift.columns(task_of("linear_classification"))[1] == "label_noise/flips=0.2"
