"""How far the predictions of two learners are apart, against the same computed by hand and against errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from helpers import Spec, bank_of, baseline_of

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import (
    Bank,
    LearnerAnswers,
    LearnerDifference,
    NamedLearner,
    Oracle,
    Reply,
    ask,
    metric_rows,
    prediction_differences,
)
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.results.statistics.prompts import mean_interval

Array = npt.NDArray[np.float64]


def answers(name: str, prompts: Prompts, predictions: Array, kind: str = "baseline") -> LearnerAnswers:
    return LearnerAnswers.of(NamedLearner(name, kind, baseline_of("zero")), Reply(prompts, predictions))


def of_baseline(spec: Spec, prompts: Prompts, costly: CostlyConfig | None = None) -> LearnerAnswers:
    learner = baseline_of(spec)
    entry = NamedLearner(learner.id, "baseline", learner, learner)
    return LearnerAnswers.of(entry, ask(entry, prompts, costly or CostlyConfig()))


def found(rows: Sequence[LearnerDifference], metric: str) -> dict[int, LearnerDifference]:
    return {row.n_context: row for row in rows if row.metric == metric}


@pytest.fixture
def bank() -> Bank:
    return bank_of(n=16, points=5)


@pytest.fixture
def prompts(bank: Bank) -> Prompts:
    return bank.draw()


def single(predictions: Array) -> Array:
    return predictions.astype(np.float32).astype(np.float64)


def test_it_is_the_mean_square_over_the_second_moment(bank: Bank, prompts: Prompts) -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 16, 5))
    rows = prediction_differences([(answers("a", prompts, a), answers("b", prompts, b))], bank, prompts, 0.8)
    assert [(row.metric, row.n_context) for row in rows] == [("normalized_difference", k) for k in range(5)]
    squared = np.square(single(a) - single(b))
    low, high = mean_interval(squared, 0.8)
    for k, row in found(rows, "normalized_difference").items():
        expected = np.array([squared[:, k].mean(), low[k], high[k]]) / 5
        assert [row.value, row.ci_low, row.ci_high] == pytest.approx(expected.tolist())
        assert (row.one.learner, row.other.learner, row.n_prompts) == ("a", "b", 16)


@pytest.mark.parametrize("inputs", ["gaussian", "student_t", "cauchy"])
@pytest.mark.parametrize("function_class", ["linear", "quadratic"])
def test_from_the_truth_it_is_the_error(function_class: Spec, inputs: Spec) -> None:
    """With its denominator, its intervals, and its median where there is no mean."""
    bank = bank_of(function_class, inputs=inputs, n=16)
    prompts = bank.draw()
    targets = prompts.targets.double().numpy()
    predictions = single(baseline_of("knn").predict(prompts).numpy())
    entry = NamedLearner("knn", "baseline", baseline_of("knn"))
    errors = {
        (row.metric.replace("error", "difference"), row.n_context): [row.value, row.ci_low, row.ci_high]
        for row in metric_rows(entry, predictions, bank, prompts, 0.9)
        if row.metric in ("normalized_error", "median_error")
    }
    truth = answers("truth", prompts, targets, "oracle")
    rows = prediction_differences([(answers("knn", prompts, predictions), truth)], bank, prompts, 0.9)
    differences = {(row.metric, row.n_context): [row.value, row.ci_low, row.ci_high] for row in rows}
    assert differences.keys() == errors.keys()
    for key, expected in errors.items():
        assert differences[key] == pytest.approx(expected, nan_ok=True), key


def test_the_difference_from_the_posterior_mean_is_the_excess_error() -> None:
    bank = bank_of("noisy_linear", n=4096, points=6)
    prompts = bank.draw()
    oracle = NamedLearner("oracle", "oracle", Oracle(bank.task.function_class))
    best, other = LearnerAnswers.of(oracle, ask(oracle, prompts, CostlyConfig())), of_baseline("averaging", prompts)
    targets = prompts.targets.double().numpy()
    errors = [np.square(each.predictions - targets)[:, 5].mean() / 5 for each in (other, best)]
    row = found(prediction_differences([(other, best)], bank, prompts, None), "normalized_difference")[5]
    assert row.value == pytest.approx(errors[0] - errors[1], rel=0.1)
    assert math.isnan(row.ci_low)


def test_of_sign_valued_classes_numbers_are_compared_and_beside_them_signs() -> None:
    bank = bank_of("linear_classification", n=4)
    prompts = bank.draw()
    a, b = np.array([[1.0], [1.0], [-2.0], [0.0]]), np.array([[3.0], [-1.0], [-2.0], [5.0]])
    both = [answers(name, prompts, np.broadcast_to(values, (4, 5))) for name, values in (("a", a), ("b", b))]
    rows = prediction_differences([(both[0], both[1])], bank, prompts, 0.9)
    assert {row.value for row in rows if row.metric == "normalized_difference"} == {(4 + 4 + 0 + 25) / 4}
    assert {row.value for row in rows if row.metric == "disagreement"} == {(0 + 1 + 0 + 0.5) / 4}


def test_of_classes_probabilities_are_compared_and_beside_them_the_most_probable_ones() -> None:
    bank = bank_of({"name": "multiclass_linear", "n_classes": 2}, n=4)
    prompts = bank.draw()
    a, b = np.array([[0.5], [0.9], [0.1], [0.8]]), np.array([[0.5], [0.6], [0.7], [0.8]])
    both = [
        answers(name, prompts, np.log(np.stack([np.broadcast_to(p, (4, 5)), np.broadcast_to(1 - p, (4, 5))], axis=-1)))
        for name, p in (("a", a), ("b", b))
    ]
    rows = prediction_differences([(both[0], both[1])], bank, prompts, 0.9)
    squares = [row.value for row in rows if row.metric == "normalized_difference"]
    assert squares == pytest.approx([2 * (0.3**2 + 0.6**2) / 4] * 5, abs=1e-6)
    assert {row.value for row in rows if row.metric == "disagreement"} == {0.25}


def test_what_only_one_was_asked_or_answered_is_left_out(bank: Bank, prompts: Prompts) -> None:
    costly = CostlyConfig(n_prompts=4, lengths=(2, 3))
    few = of_baseline({"name": "greedy_tree"}, prompts, costly)
    failing = np.ones((16, 5))
    failing[0, 2] = failing[:, 3] = math.nan
    all_but_some = answers("failing", prompts, failing)
    everywhere = of_baseline("least_squares", prompts)
    rows = prediction_differences(
        [(few, everywhere), (all_but_some, everywhere), (all_but_some, few)], bank, prompts, 0.9
    )
    asked = {
        (row.one.learner, row.other.learner, row.n_context): row.n_prompts
        for row in rows
        if row.metric == "normalized_difference"
    }
    assert asked == {
        ("greedy_tree", "least_squares", 2): 4, ("greedy_tree", "least_squares", 3): 4,
        ("failing", "least_squares", 0): 16, ("failing", "least_squares", 1): 16,
        ("failing", "least_squares", 2): 15, ("failing", "least_squares", 4): 16, ("failing", "greedy_tree", 2): 3,
    }  # fmt: skip


def test_undefined_lengths_are_absent() -> None:
    bank = bank_of("linear", "orthogonal_queries", n=8, points=8)
    prompts = bank.draw()
    both = of_baseline("ridge", prompts), of_baseline("zero", prompts)
    assert {row.n_context for row in prediction_differences([both], bank, prompts, 0.9)} == set(range(5))


def test_a_model_that_overflows_has_no_number_and_no_interval(bank: Bank, prompts: Prompts) -> None:
    predictions = np.zeros((16, 5))
    predictions[3, 1], predictions[4, 2], predictions[5, 3] = math.nan, math.inf, 1e300
    model = answers("model", prompts, predictions, "model")
    rows = found(
        prediction_differences([(model, of_baseline("zero", prompts))], bank, prompts, 0.9), "normalized_difference"
    )
    assert [rows[k].value for k in range(5)] == pytest.approx([0, math.nan, math.inf, math.inf, 0], nan_ok=True)
    assert [math.isnan(rows[k].ci_high) for k in range(5)] == [False, True, True, True, False]
    assert {row.n_prompts for row in rows.values()} == {16}


def test_where_the_error_has_no_variance_there_is_no_interval() -> None:
    bank = bank_of("linear", inputs={"name": "student_t", "df": 3.0}, n=8)
    prompts = bank.draw()
    pair = of_baseline("least_squares", prompts), of_baseline("zero", prompts)
    rows = prediction_differences([pair], bank, prompts, 0.9)
    assert all(math.isfinite(row.value) and math.isnan(row.ci_low) for row in rows)


def test_its_row_says_where_it_holds(bank: Bank, prompts: Prompts) -> None:
    model, zero = answers("model", prompts, np.ones((16, 5)), "model"), of_baseline("zero", prompts)
    rows = prediction_differences([(model, zero)], replace(bank, n_prompts=16), prompts, 0.9)
    row = rows[-1].row(bank, step=7, trained_points=5)
    assert row[:9] == (7, "model", "model", "zero", "baseline", None, "linear", "gaussian", "none")
    assert (row.in_distribution, row.n_context, row.metric) == (True, 4, "normalized_difference")
    assert not rows[-1].row(bank, step=7, trained_points=4).in_distribution
