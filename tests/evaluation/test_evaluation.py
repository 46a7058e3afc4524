"""Errors measured on frozen banks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import (
    STUDENT_T_10,
    Spec,
    assert_mean,
    bank_of,
    baseline_of,
    class_of,
    errors_of,
    rows_of,
    same,
    values_of,
)
from torch import Tensor
from undefined import SHIFT_SPECS, UNDEFINED

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.evaluation import NamedLearner, answers, metric_rows, oracle_entry, score

SHIFTS_AND_NONE: list[str | None] = [None, *SHIFTS.names()]


class Asked:
    """A learner that answers with a function of the prompts and remembers what it was asked."""

    def __init__(self, answer: str = "zero") -> None:
        self.answer = answer
        self.seen: list[Prompts] = []

    def predict(self, prompts: Prompts) -> Tensor:
        self.seen.append(prompts)
        return {"zero": torch.zeros_like(prompts.ys), "ys": prompts.ys}[self.answer]


# Normalisation


@pytest.mark.parametrize("shift", SHIFTS_AND_NONE)
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("linear", "gaussian"),
        ("linear", STUDENT_T_10),
        ("sparse_linear", "skewed"),
        ("quadratic", "gaussian"),
        ("quadratic", "skewed"),
        ({"name": "quadratic", "outputs": "unit"}, STUDENT_T_10),
        ("relu_network", "gaussian"),
        ({"name": "hermite", "degree": 2}, "gaussian"),
        ({"name": "hermite", "degree": 3}, "skewed"),
        ({"name": "hermite", "degree": 2, "weights": "gaussian"}, "gaussian"),
        ("composition", "gaussian"),
    ],
    ids=str,
)
def test_the_zero_predictor_has_normalized_error_one(name: Spec, inputs: Spec, shift: str | None) -> None:
    if (class_of(name).name, shift) in UNDEFINED:
        pytest.skip("undefined")
    bank = bank_of(name, None if shift is None else SHIFT_SPECS[shift], inputs, n=3000, points=4)
    prompts = bank.draw()
    rows = score([NamedLearner("zero", "baseline", baseline_of("zero"))], bank, prompts, None)
    denominator = values_of(rows, "squared_error")[0] / values_of(rows, "normalized_error")[0]
    assert_mean(errors_of(baseline_of("zero"), prompts).mean(axis=1) / denominator, 1)


def test_metrics_and_their_scales() -> None:
    bank = bank_of("quadratic", {"name": "scaled_inputs", "factor": 2.0}, n=50)
    rows = rows_of(baseline_of("averaging"), bank)
    assert [row.metric for row in rows[::5]] == ["squared_error", "normalized_error", "error_over_reference"]
    raw, normalized, over_reference = (
        np.array(values_of(rows, metric)) for metric in ("squared_error", "normalized_error", "error_over_reference")
    )
    np.testing.assert_allclose(raw, errors_of(baseline_of("averaging"), bank.draw()).mean(axis=0))
    np.testing.assert_allclose(normalized, raw / (5 * 2**4))
    np.testing.assert_allclose(over_reference, raw / 5)


def test_rows_say_what_they_are() -> None:
    rows = score([NamedLearner("averaging", "baseline", baseline_of("averaging"))], bank_of(), bank_of().draw(), 0.9)
    assert {(row.learner, row.learner_kind, row.n_prompts) for row in rows} == {("averaging", "baseline", 8)}
    assert [row.n_context for row in rows if row.metric == "squared_error"] == [0, 1, 2, 3, 4]
    assert all(row.ci_low <= row.value <= row.ci_high for row in rows)


def test_intervals_scale_with_the_error_and_widen_with_the_level() -> None:
    bank = bank_of("quadratic", n=50)
    narrow, wide = (rows_of(baseline_of("averaging"), bank, confidence) for confidence in (0.5, 0.95))
    assert all(a.ci_low > b.ci_low and a.ci_high < b.ci_high for a, b in zip(narrow, wide, strict=True))
    by_metric = [[row.ci_high for row in wide if row.metric == m] for m in ("squared_error", "normalized_error")]
    np.testing.assert_allclose(np.array(by_metric[0]) / 5, by_metric[1])


def test_without_a_level_there_are_no_intervals() -> None:
    rows = rows_of(baseline_of("averaging"), bank_of(), None)
    assert all(math.isnan(row.ci_low) and math.isnan(row.ci_high) for row in rows)
    assert values_of(rows, "squared_error") == values_of(rows_of(baseline_of("averaging"), bank_of()), "squared_error")


@pytest.mark.parametrize("shift", [None, "random_quadrants"])
def test_the_target_is_the_clean_value_in_a_noisy_bank(shift: str | None) -> None:
    bank = bank_of(shift=shift, label_noise=2.0, n=2000)
    prompts = bank.draw()
    assert prompts.truth is not None
    clean = bank.task.function_class.evaluate(dict(prompts.truth), prompts.query())
    assert prompts.targets.equal(clean)
    right = metric_rows(NamedLearner("learner", "baseline", Asked()), clean.double().numpy(), bank, prompts, None)
    assert max(values_of(right, "squared_error")) == 0
    if shift is None:
        assert_mean(errors_of(Asked("ys"), prompts), [4.0] * 5)


def test_longer_prompts_are_measured_at_every_length() -> None:
    rows = rows_of(baseline_of("zero"), bank_of(shift="longer_prompts", points=4))
    assert [row.n_context for row in rows if row.metric == "normalized_error"] == list(range(7))


@pytest.mark.parametrize("kind", ["baseline", "model"])
def test_lengths_that_no_prompt_defines_are_absent_and_others_are_of_the_prompts_that_do(kind: str) -> None:
    bank = bank_of()
    mask = torch.ones(8, 5, dtype=torch.bool)
    mask[3, 2], mask[:, 1] = False, False
    prompts = bank.draw()
    targets = prompts.targets.clone()
    targets[~mask] = torch.nan  # What is undefined need not be a number.
    prompts = replace(prompts, mask=mask, targets=targets)
    rows = score([NamedLearner("zero", kind, baseline_of("zero"))], bank, prompts, 0.9)
    found = {row.n_context: row for row in rows if row.metric == "squared_error"}
    assert {k: row.n_prompts for k, row in found.items()} == {0: 8, 2: 7, 3: 8, 4: 8}
    assert found[2].value == pytest.approx(float(targets[mask[:, 2], 2].double().square().mean()))
    assert found[2].ci_low <= found[2].value <= found[2].ci_high


# Heavy tails


@pytest.mark.parametrize(
    "shift",
    [
        None,
        "random_quadrants",
        "scaled_inputs",
        "label_noise",
        "longer_prompts",
        "scaled_outputs",
        "opposite_quadrants",
    ],
)
def test_with_an_infinite_moment_only_the_median_is_given(shift: str | None) -> None:
    bank = bank_of("quadratic", shift, "student_t", n=400)
    prompts = bank.draw()
    rows = rows_of(baseline_of("averaging"), bank)
    assert {row.metric for row in rows} == {"median_error"}
    assert len(rows) == prompts.points
    middle = np.sort(errors_of(baseline_of("averaging"), prompts), axis=0)[199:201].T
    scale = float(prompts.targets.double().square().flatten().sort().values[prompts.targets.numel() // 2])
    for row, (low, high) in zip(rows, middle, strict=True):
        assert 0.99 * low / scale <= row.value <= 1.01 * high / scale
        assert row.ci_low < row.value < row.ci_high


def test_the_median_error_of_zero_is_about_one() -> None:
    rows = rows_of(baseline_of("zero"), bank_of("quadratic", None, "student_t", n=2000))
    assert values_of(rows, "median_error") == pytest.approx([1.0] * 5, rel=0.2)
    assert all(row.ci_low < 1 < row.ci_high for row in rows if row.value != 1)


#: What grows with its inputs.
GROWING = [
    "linear", "noisy_linear", "sparse_linear", "low_rank_linear", "gaussian_mixture", "relu_network", "quadratic",
    {"name": "hermite", "degree": 1}, {"name": "hermite", "degree": 4},
]  # fmt: skip


@pytest.mark.parametrize("name", GROWING, ids=str)
def test_what_grows_has_only_medians_under_cauchy_inputs(name: Spec) -> None:
    for shift in (None, "opposite_quadrants", "overlapping_queries", "scaled_inputs"):
        bank = bank_of(name, shift, "cauchy", n=40)
        assert bank.second_moment == math.inf
        rows = rows_of(baseline_of("zero"), bank)
        assert {row.metric for row in rows} == {"median_error"}
        assert all(0 < row.ci_low <= row.value <= row.ci_high < math.inf for row in rows)
    shifted: Spec = {"name": "other_inputs", "inputs": "cauchy"}
    assert {row.metric for row in rows_of(baseline_of("zero"), bank_of(name, shifted))} == {"median_error"}


@pytest.mark.parametrize("name", ["decision_tree", "sinusoid", "linear_classification"])
def test_what_is_bounded_has_its_means_under_cauchy_inputs(name: str) -> None:
    rows = rows_of(baseline_of("zero"), bank_of(name, None, "cauchy", n=40))
    assert "normalized_error" in {row.metric for row in rows}
    assert "median_error" not in {row.metric for row in rows}
    assert all(math.isfinite(row.ci_low) for row in rows)


@pytest.mark.parametrize(
    ("name", "shift", "medians"),
    [
        ("quadratic", {"name": "other_inputs", "inputs": "student_t"}, True),
        ("quadratic", {"name": "other_inputs", "inputs": {"name": "scaled", "of": "student_t"}}, True),
        ("quadratic", {"name": "other_inputs", "inputs": STUDENT_T_10}, False),
        ("linear", {"name": "other_inputs", "inputs": "student_t"}, False),
        ("linear", {"name": "other_class", "function_class": "quadratic"}, False),
    ],
    ids=str,
)
def test_a_shift_to_heavy_tails_decides_the_metrics(name: str, shift: Spec, medians: bool) -> None:
    assert ({row.metric for row in rows_of(baseline_of("zero"), bank_of(name, shift))} == {"median_error"}) == medians


def test_another_class_under_heavy_tails_has_its_own_metrics() -> None:
    shift: Spec = {"name": "other_class", "function_class": "quadratic"}
    rows = rows_of(baseline_of("zero"), bank_of("linear", shift, "student_t"))
    assert {row.metric for row in rows} == {"median_error"}


def test_with_an_infinite_variance_the_mean_has_no_interval() -> None:
    rows = rows_of(baseline_of("least_squares"), bank_of("linear", None, "student_t", n=50))
    assert {row.metric for row in rows} == {"squared_error", "normalized_error", "error_over_reference"}
    assert all(math.isfinite(row.value) for row in rows)
    assert all(math.isnan(row.ci_low) and math.isnan(row.ci_high) for row in rows)


def test_a_skewed_shift_of_heavy_tails_has_all_its_moments() -> None:
    rows = rows_of(baseline_of("zero"), bank_of("quadratic", "skewed", "student_t", n=50))
    assert "normalized_error" in {row.metric for row in rows}
    assert not any(math.isnan(row.ci_low) for row in rows)


# Who sees the functions


def test_only_lower_bounds_see_the_functions_and_nobody_the_targets() -> None:
    bank = bank_of("sparse_linear")
    learners = {kind: Asked() for kind in ("model", "baseline", "oracle", "bound")}
    entries = [NamedLearner(kind, "oracle" if kind == "bound" else kind, item, sees_truth=kind == "bound")
               for kind, item in learners.items()]  # fmt: skip
    score(entries, bank, bank.draw(), None)
    shown = {kind: learner.seen[0] for kind, learner in learners.items()}
    assert [kind for kind, prompts in shown.items() if prompts.truth is not None] == ["bound"]
    assert all(prompts.targets.isnan().all() for prompts in shown.values())
    assert all(same(prompts, bank.draw(), "xs", "ys") for prompts in shown.values())


@pytest.mark.parametrize(("name", "sees_truth"), [("linear", False), ("noisy_linear", False), ("sparse_linear", True)])
def test_an_optimum_is_not_shown_the_functions(name: str, sees_truth: bool) -> None:
    [entry] = oracle_entry(bank_of(name))
    assert entry.sees_truth == sees_truth


class Erasing:
    """A learner that sets to zero what it is shown."""

    def predict(self, prompts: Prompts) -> Tensor:
        return prompts.ys.zero_()


@pytest.mark.parametrize("kind", ["baseline", "model", "oracle"])
def test_a_learner_that_changes_its_prompts_is_named_and_changes_nobody_elses(kind: str) -> None:
    bank = bank_of()
    prompts = bank.draw()
    with pytest.raises(
        ComponentFailed, match=r"'erasing' changed prompts\.ys in place; expected prompts that are left"
    ):
        score([NamedLearner("erasing", kind, Erasing())], bank, prompts, None)
    assert same(prompts, bank.draw(), "xs", "ys", "targets")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linear", "oracle"), ("sparse_linear", "informed_oracle"), ("quadratic", "oracle"), ("relu_network", None)],
)
def test_oracles_in_the_tables(name: str, expected: str | None) -> None:
    entries = oracle_entry(bank_of(name))
    assert [(entry.id, entry.kind) for entry in entries] == ([] if expected is None else [(expected, "oracle")])


@pytest.mark.parametrize("shift", [shift for shift in SHIFTS_AND_NONE if shift != "other_observation"])
@pytest.mark.parametrize("name", ["linear", "sparse_linear", "quadratic"])
def test_no_baseline_beats_the_oracle(name: str, shift: str | None) -> None:
    """Averaged over the lengths, on the same prompts, beyond the chance of it."""
    if (name, shift) in UNDEFINED:
        pytest.skip("undefined")
    bank = bank_of(name, shift, n=400, points=9, label_noise=0.5)
    prompts = bank.draw()
    (oracle,) = oracle_entry(bank)
    best = errors_of(oracle.learner, prompts).mean(axis=1)
    for baseline in bank.task.function_class.baselines:
        excess = errors_of(baseline_of(baseline), prompts.without_truth()).mean(axis=1) - best
        assert excess.mean() >= -5 * excess.std() / math.sqrt(len(excess))


def test_rows_are_those_of_one_learner_after_another() -> None:
    bank = bank_of()
    entries = [NamedLearner(name, "baseline", baseline_of(name)) for name in ("zero", "averaging")]
    together = score(entries, bank, bank.draw(), 0.9)
    apart = [row for entry in entries for row in score([entry], bank, bank.draw(), 0.9)]
    assert together == apart
    predictions = answers(entries[0].learner, bank.draw())
    assert together[: len(together) // 2] == metric_rows(entries[0], predictions, bank, bank.draw(), 0.9)


def test_answers_are_predictions_in_double_precision_of_the_shape_of_the_targets() -> None:
    prompts = bank_of().draw()
    found = answers(Asked("ys"), prompts)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, prompts.ys.double().numpy())
    with pytest.raises(ValueError, match=r"predictions have shape \(8, 4\), expected \(8, 5\) \(prompts, points\)"):
        answers(Short(), prompts)


class Short:
    """A learner that leaves out the last query."""

    def predict(self, prompts: Prompts) -> Tensor:
        return prompts.ys[:, :-1]
