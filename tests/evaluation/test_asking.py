"""How learners are asked: costly ones at few lengths of few prompts; failures are counted, not fatal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import torch
from helpers import bank_of, baseline_of
from resealed import unsealed
from tiny_runs import tiny_run
from torch import Tensor

from icl_curriculum.baselines.per_prompt import answer_each
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import BaselineFailure, ErrorRow, NamedLearner, score
from icl_curriculum.evaluation.asking import CostlyConfig, ask
from icl_curriculum.evaluation.failures import failures_in, for_manifest
from icl_curriculum.runs.execution import Progress
from icl_curriculum.runs.launch import launch


@dataclass
class Fitted:
    """A costly learner that notes what it is asked; ``fail(i, k)`` raises for the i-th prompt of the bank at k."""

    xs: Tensor
    fail: Callable[[int, int], None] = lambda i, k: None
    costly: ClassVar[bool] = True
    asked: set[tuple[int, int]] = field(default_factory=set)

    def predict(self, prompts: Prompts) -> Tensor:
        assert prompts.truth is None
        assert prompts.mask is not None
        for row in range(len(prompts)):
            i = int((self.xs == prompts.xs[row]).all(-1).all(-1).nonzero())
            for k in prompts.mask[row].nonzero().flatten().tolist():
                self.fail(i, k)
                self.asked.add((i, k))
        return answer_each(prompts, lambda xs, ys, query: float(ys.mean()))


@dataclass
class Failing:
    """A vectorised learner that cannot take batches with one of the inputs in ``bad``."""

    bad: Tensor
    costly: ClassVar[bool] = False

    def predict(self, prompts: Prompts) -> Tensor:
        if bool(torch.isin(prompts.xs[:, 0, 0], self.bad).any()):
            raise ArithmeticError("singular")
        return torch.zeros_like(prompts.targets)


def scored(learner: object, n: int = 8, points: int = 9, kind: str = "baseline", **options: object) -> tuple:
    """Rows by (metric, k), what failed, and how progress was told."""
    bank = bank_of("linear", n=n, points=points)
    failures: list[BaselineFailure] = []
    told: list[tuple[float, str]] = []
    rows = score(
        [NamedLearner("learner", kind, learner)], bank, bank.draw(), 0.9, costly=CostlyConfig(**options),
        failed=failures.append, tell=lambda *args: told.append(args),
    )  # fmt: skip
    return {(row.metric, row.n_context): row for row in rows}, failures, told


def lengths(rows: dict[tuple[str, int], ErrorRow]) -> list[int]:
    return [k for metric, k in rows if metric == "squared_error"]


def fitted(n: int = 8, points: int = 9, fail: Callable[[int, int], None] = lambda i, k: None) -> Fitted:
    return Fitted(bank_of("linear", n=n, points=points).draw().xs, fail)


def test_costly_learners_are_asked_at_few_lengths_of_the_first_prompts() -> None:
    learner = fitted(n=40, points=25)
    rows, failures, told = scored(learner, n=40, points=25, n_prompts=35)
    # d = 5: d/2, d, 2 d, 4 d.
    assert lengths(rows) == [2, 5, 10, 20]
    assert {row.n_prompts for row in rows.values()} == {35}
    assert learner.asked == {(i, k) for i in range(35) for k in (2, 5, 10, 20)}
    assert failures == []
    shares = [share for share, _ in told]
    assert [detail for _, detail in told] == [f"learner {share:.0%}" for share in shares]
    assert len(shares) == 8
    assert shares == sorted(shares)
    assert shares[0] == 0


@pytest.mark.parametrize(
    ("points", "asked", "expected"),
    [(9, "all", list(range(9))), (9, [7, 3], [3, 7]), (9, None, [2, 5]), (2, None, [1]), (9, [50], [8])],
    ids=["all", "named", "those that fit", "a prompt shorter than all of them", "a length beyond the prompt"],
)
def test_other_lengths_can_be_asked(points: int, asked: object, expected: list[int]) -> None:
    assert lengths(scored(fitted(points=points), points=points, lengths=asked)[0]) == expected


def test_their_errors_are_those_of_the_same_prompts_asked_in_full() -> None:
    few = scored(fitted(), n_prompts=8)[0]
    every = scored(fitted(), n_prompts=8, lengths="all")[0]
    assert all(every[key] == row for key, row in few.items())


def test_lengths_that_a_shift_leaves_undefined_are_not_asked() -> None:
    bank = bank_of("linear", "orthogonal_queries", n=4, points=11)
    learner = Fitted(bank.draw().xs)
    rows = score([NamedLearner("x", "baseline", learner)], bank, bank.draw(), None, costly=CostlyConfig(lengths="all"))
    assert {row.n_context for row in rows} == set(range(5))


# Failures


def raising_at(*places: tuple[int, int]) -> Callable[[int, int], None]:
    def fail(i: int, k: int) -> None:
        if (i, k) in places:
            raise ValueError("no solution")

    return fail


def test_a_prompt_that_fails_is_left_out_counted_and_named() -> None:
    whole = scored(fitted())[0]
    rows, failures, _ = scored(fitted(fail=raising_at((3, 2), (6, 2), (3, 5))))
    assert [str(failure) for failure in failures] == [
        "learner failed on 2 of 8 prompts at k = 2: ValueError: no solution",
        "learner failed on 1 of 8 prompts at k = 5: ValueError: no solution",
    ]
    assert [rows["squared_error", k].n_prompts for k in (2, 5)] == [6, 7]
    prompts = bank_of("linear", n=8, points=9).draw()
    kept = [i for i in range(8) if i not in (3, 6)]
    errors = (prompts.ys[kept, :2].double().mean(1) - prompts.targets[kept, 2].double()).square()
    assert rows["squared_error", 2].value == pytest.approx(float(errors.mean()), rel=1e-6)
    assert rows["squared_error", 2].ci_low < rows["squared_error", 2].value < rows["squared_error", 2].ci_high
    assert whole["squared_error", 2].n_prompts == 8


def test_lengths_at_which_all_prompts_fail_have_no_rows() -> None:
    rows, failures, _ = scored(fitted(fail=raising_at(*((i, 2) for i in range(8)))))
    assert lengths(rows) == [5]
    assert (failures[0].failed, failures[0].asked, failures[0].n_context) == (8, 8, (2,))


def test_a_costly_learner_that_answers_nothing_is_no_error() -> None:
    rows, failures, _ = scored(fitted(fail=raising_at(*((i, k) for i in range(8) for k in (2, 5)))))
    assert rows == {}
    assert failures[0].n_context == (2, 5)


def test_a_vectorised_baseline_loses_only_the_prompts_it_fails_on() -> None:
    bad = bank_of("linear", n=8, points=9).draw().xs[[1, 4], 0, 0]
    rows, failures, _ = scored(Failing(bad))
    assert {row.n_prompts for row in rows.values()} == {6}
    (failure,) = failures
    assert (failure.failed, failure.n_context, failure.reason) == (2, tuple(range(9)), "ArithmeticError: singular")


def test_one_that_answers_nothing_raises_what_it_raised() -> None:
    with pytest.raises(ArithmeticError, match="singular"):
        scored(Failing(bank_of("linear", n=8, points=9).draw().xs[:, 0, 0]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_prediction_that_is_no_number_is_a_failure_of_a_baseline(value: float) -> None:
    class Undefined:
        def predict(self, prompts: Prompts) -> Tensor:
            found = torch.zeros_like(prompts.targets)
            found[2, 4] = value
            return found

    rows, (failure,), _ = scored(Undefined())
    assert str(failure) == "learner failed on 1 of 8 prompts at k = 4: a prediction that is no finite number"
    assert [rows["squared_error", k].n_prompts for k in (3, 4)] == [8, 7]


def test_a_model_fails_on_no_prompt() -> None:
    """Its errors are then undefined, and what it raises is raised."""

    class Overflown:
        def predict(self, prompts: Prompts) -> Tensor:
            return torch.full_like(prompts.targets, torch.nan)

    rows, failures, _ = scored(Overflown(), kind="model")
    assert not failures
    assert rows["squared_error", 3].n_prompts == 8
    assert rows["squared_error", 3].value != rows["squared_error", 3].value
    with pytest.raises(ArithmeticError):
        scored(Failing(bank_of("linear", n=8, points=9).draw().xs[:1, 0, 0]), kind="model")


def test_mistakes_of_the_user_and_a_lack_of_memory_are_no_failures() -> None:
    class Asking:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def predict(self, prompts: Prompts) -> Tensor:
            if len(prompts) > 1:
                raise self.error
            return torch.zeros_like(prompts.targets)

    for error in (UserError("no pool"), MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory")):
        with pytest.raises(type(error)):
            scored(Asking(error))


def test_rows_come_by_metric_and_length_whatever_failed() -> None:
    rows, _, _ = scored(fitted(fail=raising_at((0, 2))), lengths="all")
    metrics = ["squared_error", "normalized_error", "error_over_reference"]
    assert list(rows) == [(metric, k) for metric in metrics for k in range(9)]
    assert baseline_of("least_squares").costly is False


# In runs


KNN = {"name": "sklearn", "regressor": "KNeighborsRegressor", "parameters": {"n_neighbors": 3}}


def test_a_run_says_in_its_manifest_and_at_its_end_what_failed(
    tmp_path: Path, quick_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(quick_python))
    run = tiny_run({"evaluation.baselines": ["ridge", KNN], "evaluation.shifts": [], "training.steps": 2})
    told: list[Progress] = []
    outcome = launch([run], tmp_path, jobs=1, report=told.append)
    assert not outcome.failures
    name = "sklearn/KNeighborsRegressor/n_neighbors=3"
    banks = ["linear/gaussian/none", "quadratic/gaussian/none"]
    file = tmp_path / "tiny" / run.name / "manifest.json"
    manifest = json.loads(file.read_text())
    assert list(manifest["baseline_failures"]) == list(outcome.baseline_failures) == banks
    for bank in banks:
        records = manifest["baseline_failures"][bank]
        for k, record in zip((1, 2), records, strict=True):
            assert record["reason"].startswith("ValueError: ")
            del record["reason"]
            assert record == {"learner": name, "n_context": [k], "failed": 16, "asked": 16}
    # Version 0.2.0 wrote sentences; what they say is shown all the same.
    sentences = {bank: list(map(str, items)) for bank, items in outcome.baseline_failures.items()}
    assert sentences[banks[0]][0].startswith(f"{name} failed on 16 of 16 prompts at k = 1: ValueError: ")
    unsealed(file, {"baseline_failures": sentences})
    assert launch([run], tmp_path, report=told.append).baseline_failures == outcome.baseline_failures
    table = pd.read_csv(tmp_path / "tiny" / "evaluation.csv")
    assert set(table.loc[table["learner"] == name, "n_context"]) == {4}
    assert any(progress.detail.startswith(f"{name} ") for progress in told)


def test_a_baseline_that_cannot_work_in_these_dimensions_is_found_before_training() -> None:
    with pytest.raises(UserError, match=r"function_classes.0: sparse_posterior: sparsity 3 exceeds .* dimensions 2"):
        tiny_run({"evaluation.baselines": ["sparse_posterior"]})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lengths": "some"}, "expected 'all' or a list of numbers of examples, as in [5, 10], found 'some'"),
        ({"lengths": [-1]}, "expected 'all' or a list of numbers of examples, as in [5, 10], found [-1]"),
        ({"lengths": [9]}, "evaluation.costly.lengths: 9 exceeds the longest prompt, 4 examples"),
        ({"n_promts": 9}, "evaluation.costly.n_promts: unknown key; did you mean 'n_prompts'?"),
    ],
    ids=str,
)
def test_what_is_asked_of_costly_baselines_is_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        tiny_run({"evaluation.shifts": [], **{f"evaluation.costly.{key}": value for key, value in values.items()}})


@pytest.mark.parametrize(
    "recorded",
    [{"bank": [{"learner": "ridge"}]}, {"bank": [{"n_context": 3}]}, {"bank": 3}, ["ridge"], {"bank": [{"new": 1}]}, 7],
)
def test_what_no_version_recorded_is_passed_over(recorded: object) -> None:
    """Failures are shown at the end of every command: an odd manifest must not end it."""
    assert failures_in({"baseline_failures": recorded}) == {}


def test_a_field_that_a_later_version_adds_does_not_hide_a_failure() -> None:
    failure = BaselineFailure("ridge", (3,), 1, 8, "no reason")
    record = {**for_manifest({"bank": [failure]})["bank"][0], "later": True}
    assert failures_in({"baseline_failures": {"bank": [record]}}) == {"bank": [failure]}


class PeepingInEarnest:
    """Honest on few prompts; on many it sees its label, in one entry or all."""

    def __init__(self, entries: slice) -> None:
        self.entries = entries

    def predict(self, prompts: Prompts) -> Tensor:
        answers = torch.zeros_like(prompts.ys)
        if len(prompts) > 40:
            answers[:, self.entries] = prompts.ys[:, self.entries]
        return answers


@pytest.mark.parametrize(("entries", "first"), [(slice(None), 0), (slice(3, 4), 3)])
@pytest.mark.parametrize("shift", [None, "overlapping_queries"])
@pytest.mark.parametrize("kind", ["baseline", "model"])
def test_a_learner_is_held_to_what_it_may_know_on_the_prompts_of_the_bank_itself(
    kind: str, shift: str | None, entries: slice, first: int
) -> None:
    bank = bank_of(shift=shift, n=60)
    first = max(first, 1) if shift is not None else first
    with pytest.raises(
        ComponentFailed, match=rf"'peeping' leaks: entry {first} changes by .* in as many prompts as are"
    ):
        ask(NamedLearner("peeping", kind, PeepingInEarnest(entries)), bank.draw(), CostlyConfig())
    honest = NamedLearner("honest", kind, PeepingInEarnest(slice(0)))
    assert ask(honest, bank.draw(), CostlyConfig()).failures == ()
