"""Frozen banks and the errors measured on them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from helpers import STUDENT_T_10, Spec, assert_mean, baseline_of, errors_of, same, shift_of, task_of
from torch import Tensor

from icl_curriculum.evaluation import (
    Bank,
    Entry,
    Row,
    banks,
    content_hash,
    evaluation_banks,
    learning_banks,
    metric_rows,
    oracle_entry,
    score,
)
from icl_curriculum.experiment import Experiment, Run
from icl_curriculum.function_classes import Linear
from icl_curriculum.inputs import Gaussian
from icl_curriculum.prompts import Learner, Prompts
from icl_curriculum.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.streams import Streams
from icl_curriculum.tasks import Task
from icl_curriculum.training import Trainer

SHIFTS_AND_NONE: list[str | None] = [None, *SHIFTS.names()]

Purpose = Literal["evaluation", "learning"]
PURPOSES: tuple[Purpose, ...] = ("evaluation", "learning")


def bank_of(
    function_class: Spec = "linear",
    shift: Spec | None = None,
    inputs: Spec = "gaussian",
    *,
    n: int = 8,
    points: int = 5,
    seed: int = 0,
    label_noise: float | None = None,
    purpose: Purpose = "evaluation",
) -> Bank:
    task = task_of(function_class, inputs, 5, label_noise)
    return Bank(task, None if shift is None else shift_of(shift), n, points, seed, purpose)


class Asked:
    """A learner that answers with a function of the prompts and remembers what it was asked."""

    def __init__(self, answer: str = "zero") -> None:
        self.answer = answer
        self.seen: list[Prompts] = []

    def predict(self, prompts: Prompts) -> Tensor:
        self.seen.append(prompts)
        return {"zero": torch.zeros_like(prompts.targets), "ys": prompts.ys, "targets": prompts.targets}[self.answer]


def rows_of(learner: Learner, bank: Bank, confidence: float | None = 0.9) -> list[Row]:
    return score([Entry("learner", "baseline", learner)], bank, bank.draw(), confidence)


def values_of(rows: Sequence[Row], metric: str) -> list[float]:
    return [row.value for row in rows if row.metric == metric]


# Banks

IN_ANOTHER_PROCESS = """
from icl_curriculum.evaluation import Bank, content_hash
from icl_curriculum.registry import FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.tasks import Task

for function_class, shift in {cases}:
    task = Task(FUNCTION_CLASSES.build(function_class), INPUTS.build("student_t"), 5)
    print(content_hash(Bank(task, shift and SHIFTS.build(shift), 8, 5, 0).draw()))
"""


def test_banks_are_the_same_in_every_process() -> None:
    cases = [(name, shift) for name in FUNCTION_CLASSES.names() for shift in (None, "random_quadrants", "label_noise")]
    script = IN_ANOTHER_PROCESS.replace("{cases}", repr(cases))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    hashes = [content_hash(bank_of(name, shift, "student_t").draw()) for name, shift in cases]
    assert done.stdout.split() == hashes
    assert len(set(hashes)) == len(cases)


@pytest.mark.parametrize("shift", SHIFTS_AND_NONE)
def test_banks_are_the_same_at_every_call(shift: str | None) -> None:
    bank = bank_of("sparse_linear", shift)
    torch.manual_seed(1)
    first = bank.draw()
    torch.manual_seed(2)
    second = bank.draw()
    assert same(first, second, "xs", "ys", "targets")
    assert content_hash(first) == content_hash(second)


@pytest.mark.parametrize("field", ["xs", "ys", "targets", "queries"])
def test_the_hash_covers_everything_that_is_asked(field: str) -> None:
    prompts = bank_of(shift="random_quadrants").draw()
    changed = getattr(prompts, field).clone()
    changed.view(-1)[-1] += 1e-3
    assert content_hash(replace(prompts, **{field: changed})) != content_hash(prompts)
    assert content_hash(prompts.without_truth()) == content_hash(prompts)


def test_the_hash_changes_with_the_generators_and_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = content_hash(bank_of().draw())
    with monkeypatch.context() as patch:
        sample = Gaussian.sample
        patch.setattr(Gaussian, "sample", lambda *arguments: sample(*arguments) * (1 + 1e-6))
        assert content_hash(bank_of().draw()) != before
    with monkeypatch.context() as patch:
        evaluate = Linear.evaluate
        patch.setattr(Linear, "evaluate", lambda *arguments: evaluate(*arguments) * (1 + 1e-6))
        assert content_hash(bank_of().draw()) != before
    with monkeypatch.context() as patch:
        patch.setattr(banks, "BANK_VERSION", banks.BANK_VERSION + 1)
        assert content_hash(bank_of().draw()) != before
    assert content_hash(bank_of().draw()) == before


def test_training_never_meets_a_prompt_of_a_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal seeds notwithstanding."""
    trained: list[Prompts] = []

    def recording(task: Task, n: int, points: int, streams: Streams, *, active_dims: int | None = None) -> Prompts:
        trained.append(drawn_by(task, n, points, streams, active_dims=active_dims))
        return trained[-1]

    drawn_by = Task.draw
    small = experiment(seeds=(0,), curriculum={"function_classes": "single"}, inputs=("gaussian",))
    with monkeypatch.context() as patch:
        patch.setattr(Task, "draw", recording)
        Trainer(Run(small, "small", 0)).update()
    (batch,) = trained
    for seed in (0, 1):
        for purpose in PURPOSES:
            frozen = bank_of(n=len(batch), points=4, seed=seed, purpose=purpose).draw()
            assert not (frozen.xs == batch.xs).any()
            assert not (frozen.targets == batch.targets).any()


def test_other_seeds_and_purposes_are_other_banks() -> None:
    bank = bank_of()
    drawn = [each.draw() for each in (bank, replace(bank, seed=1), replace(bank, purpose="learning"))]
    firsts = {float(prompts.xs[0, 0, 0]) for prompts in drawn} | {float(prompts.targets[0, 0]) for prompts in drawn}
    assert len(firsts) == 6


@pytest.mark.parametrize("shift", SHIFTS.names())
@pytest.mark.parametrize("name", FUNCTION_CLASSES.names())
def test_a_shifted_bank_asks_about_the_same_functions(name: str, shift: str) -> None:
    plain, shifted = bank_of(name).draw(), bank_of(name, shift).draw()
    assert plain.truth is not None
    assert shifted.truth is not None
    assert plain.truth.keys() == shifted.truth.keys()
    assert all(value.equal(shifted.truth[key]) for key, value in plain.truth.items())


def test_other_inputs_ask_about_the_same_functions() -> None:
    plain, other = bank_of().draw(), bank_of(inputs="student_t").draw()
    assert plain.truth is not None
    assert other.truth is not None
    assert plain.truth["w"].equal(other.truth["w"])


def experiment(**more: object) -> Experiment:
    values: dict[str, object] = {
        "function_classes": ("linear", "quadratic"),
        "inputs": ("gaussian", "skewed"),
        "evaluation": {
            "shifts": ["skewed", "random_quadrants", "longer_prompts"],
            "n_prompts": 6,
            "learning_prompts": 3,
            "bank_seed": 7,
        },
        "points": 4,
    }
    return Experiment.model_validate({**values, **more})


def test_an_experiment_has_each_bank_once() -> None:
    keys = [bank.key for bank in evaluation_banks(experiment())]
    cells = [(c, i) for c in ("linear", "quadratic") for i in ("gaussian", "skewed")]
    # The skewed shift of either input distribution is the skewed cell, which is there already.
    assert keys == [(*cell, shift) for shift in ("none", "random_quadrants", "longer_prompts/2") for cell in cells]
    assert [bank.key for bank in learning_banks(experiment())] == [(*cell, "none") for cell in cells]


def test_banks_have_the_sizes_and_the_seed_of_the_experiment() -> None:
    sizes = {bank.shift_id: bank.draw().xs.shape[:2] for bank in evaluation_banks(experiment())}
    assert sizes == {"none": (6, 4), "random_quadrants": (6, 4), "longer_prompts/2": (6, 7)}
    assert {bank.draw().xs.shape[:2] for bank in learning_banks(experiment())} == {(3, 4)}
    assert {bank.seed for bank in [*evaluation_banks(experiment()), *learning_banks(experiment())]} == {7}


def test_the_runs_seeds_do_not_touch_the_banks() -> None:
    one, other = (
        [content_hash(bank.draw()) for bank in evaluation_banks(experiment(seeds=seeds))] for seeds in ((0,), (1, 2))
    )
    assert one == other


def test_an_undefined_shift_has_no_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    quadrants = type(shift_of("random_quadrants"))

    def undefined(self: object, task: Task) -> str | None:
        return "even classes do not notice" if task.function_class.name == "quadratic" else None

    monkeypatch.setattr(quadrants, "undefined", undefined)
    keys = [bank.key for bank in evaluation_banks(experiment())]
    assert ("linear", "gaussian", "random_quadrants") in keys
    assert not any(c == "quadratic" and shift == "random_quadrants" for c, _, shift in keys)


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
    ],
    ids=str,
)
def test_the_zero_predictor_has_normalized_error_one(name: Spec, inputs: Spec, shift: str | None) -> None:
    bank = bank_of(name, shift, inputs, n=3000, points=4)
    prompts = bank.draw()
    rows = score([Entry("zero", "baseline", baseline_of("zero"))], bank, prompts, None)
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
    rows = score([Entry("averaging", "baseline", baseline_of("averaging"))], bank_of(), bank_of().draw(), 0.9)
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
    assert max(values_of(rows_of(Asked("targets"), bank), "squared_error")) == 0
    prompts = bank.draw()
    assert prompts.truth is not None
    clean = bank.task.function_class.evaluate(dict(prompts.truth), prompts.query())
    assert prompts.targets.equal(clean)
    if shift is None:
        assert_mean(errors_of(Asked("ys"), prompts), [4.0] * 5)


def test_longer_prompts_are_measured_at_every_length() -> None:
    rows = rows_of(baseline_of("zero"), bank_of(shift="longer_prompts", points=4))
    assert [row.n_context for row in rows if row.metric == "normalized_error"] == list(range(7))


def test_undefined_lengths_are_absent() -> None:
    bank = bank_of()
    prompts = bank.draw()
    mask = torch.ones(8, 5, dtype=torch.bool)
    mask[3, 2] = False
    rows = score([Entry("zero", "baseline", baseline_of("zero"))], bank, replace(prompts, mask=mask), 0.9)
    assert [row.n_context for row in rows if row.metric == "squared_error"] == [0, 1, 3, 4]


# Heavy tails


@pytest.mark.parametrize("shift", [None, "random_quadrants", "scaled_inputs", "label_noise", "longer_prompts"])
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


def test_only_oracles_see_the_functions() -> None:
    bank = bank_of("sparse_linear")
    learners = {kind: Asked() for kind in ("model", "baseline", "oracle")}
    score([Entry(kind, kind, learner) for kind, learner in learners.items()], bank, bank.draw(), None)
    assert {kind: learner.seen[0].truth is not None for kind, learner in learners.items()} == {
        "model": False,
        "baseline": False,
        "oracle": True,
    }
    assert same(learners["model"].seen[0], learners["oracle"].seen[0], "xs", "ys", "targets")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("linear", "oracle"), ("sparse_linear", "informed_oracle"), ("quadratic", "oracle"), ("relu_network", None)],
)
def test_oracles_in_the_tables(name: str, expected: str | None) -> None:
    entries = oracle_entry(bank_of(name))
    assert [(entry.id, entry.kind) for entry in entries] == ([] if expected is None else [(expected, "oracle")])


@pytest.mark.parametrize("shift", SHIFTS_AND_NONE)
@pytest.mark.parametrize("name", ["linear", "sparse_linear", "quadratic"])
def test_no_baseline_beats_the_oracle(name: str, shift: str | None) -> None:
    """Averaged over the lengths, on the same prompts, beyond the chance of it."""
    bank = bank_of(name, shift, n=400, points=9, label_noise=0.5)
    prompts = bank.draw()
    (oracle,) = oracle_entry(bank)
    best = errors_of(oracle.learner, prompts).mean(axis=1)
    for baseline in bank.task.function_class.baselines:
        excess = errors_of(baseline_of(baseline), prompts.without_truth()).mean(axis=1) - best
        assert excess.mean() >= -5 * excess.std() / math.sqrt(len(excess))


def test_rows_are_those_of_one_learner_after_another() -> None:
    bank = bank_of()
    entries = [Entry(name, "baseline", baseline_of(name)) for name in ("zero", "averaging")]
    together = score(entries, bank, bank.draw(), 0.9)
    apart = [row for entry in entries for row in score([entry], bank, bank.draw(), 0.9)]
    assert together == apart
    assert (
        together[0] == metric_rows(entries[0], errors_of(baseline_of("zero"), bank.draw()), bank, bank.draw(), 0.9)[0]
    )
