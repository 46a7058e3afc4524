"""``icl verify``: golden errors of oracles and baselines hold on few prompts, and wrong ones are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import class_of
from tiny_runs import Icl
from torch import Tensor
from verifying import outcomes_of

from icl_curriculum import verify
from icl_curriculum.baselines import Averaging, LeastSquares, NearestNeighbours, Ridge
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES
from icl_curriculum.function_classes import Quadratic
from icl_curriculum.inputs import Gaussian, HalfSubspace
from icl_curriculum.shifts import OverlappingQueries
from icl_curriculum.verify import CheckOutcome, baselines, cases, learners, oracles
from icl_curriculum.verify.checks import ERRORS_Z, Figure
from icl_curriculum.verify.learners import Case, Golden

ALL = [*oracles.CASES, *baselines.CASES]

#: Cells with a formula in the inputs of the same prompts.
FORMULAS = {
    ("noisy_linear, d = 20", "oracle"), ("noisy_linear, d = 20", "ridge"), ("quadratic, d = 20", "oracle"),
    ("noisy_linear/label_noise=0.5, d = 8", "ridge"), ("chebyshev, d = 1", "oracle"),
    ("linear/pool_size=4, d = 20", "dmmse"), ("power_law_linear/1, d = 20", "oracle"),
}  # fmt: skip


FEW = 512


def few(cases: Sequence[Case], prompts: int = FEW) -> list[Case]:
    return [replace(case, prompts=min(case.prompts // 16, prompts)) for case in cases]


@pytest.fixture(scope="module")
def found() -> dict[str, CheckOutcome]:
    return outcomes_of(learners.checks(few(ALL)))


def test_every_golden_number_holds_on_few_prompts(found: dict[str, CheckOutcome]) -> None:
    assert [name for name, outcome in found.items() if not outcome.holds] == []
    assert len(found) > 100


def test_every_golden_number_says_where_it_comes_from_and_stands_once() -> None:
    cells = [(str(case), golden, k) for case in ALL for golden in case.golden for k in golden.figures]
    assert all(golden.source for _, golden, _ in cells)
    numbers = [(case, golden.name, k) for case, golden, k in cells]
    assert len(set(numbers)) == len(numbers)
    formulas = {(case, golden.id) for case, golden, k in cells if not isinstance(golden.figures[k], Figure)}
    assert formulas == FORMULAS


def test_every_oracle_has_golden_numbers_and_every_baseline_but_those_that_are_compared_with_scikit_learn() -> None:
    names = {Identifier.parse(golden.id).name for case in ALL for golden in case.golden}
    assert names - {"oracle"} == set(BASELINES.names()) - {
        "kernel_ridge", "logistic_regression", "quadratic_features", "sklearn",
    }  # fmt: skip
    with_oracle = {name for name in cases.built_in(FUNCTION_CLASSES) if class_of(name).oracle_kind}
    asked = {class_of(case.spec).name for case in ALL for golden in case.golden if golden.learner == learners.ORACLE}
    assert asked == with_oracle


#: Errors that few prompts make: their mean is less certain.
RARE = {
    "quadratic, d = 20: oracle, k = 15", "chebyshev, d = 1: oracle, k = 8", "parity, d = 10: oracle, k = 8",
    "parity, d = 10: oracle, k = 10", "parity/pool_size=2, d = 10: dmmse, k = 4",
    *(
        f"gaussian_classes/3, d = 5: oracle{metric}, k = {k}"
        for metric in ("", ", negative_log_likelihood") for k in (10, 20)
    ),
}  # fmt: skip


def test_a_figure_that_is_off_by_some_five_percent_would_show(found: dict[str, CheckOutcome]) -> None:
    """By the prompts that the command draws; the standard errors are those of few prompts, scaled."""
    shares = {}
    for case in ALL:
        if case.prompts < learners.PROMPTS:  # costly learners, and errors of zero
            continue
        for golden in case.golden:
            for k, figure in golden.figures.items():
                name = f"{case}: {golden.name}, k = {k}"
                error, expected = found[name].error, float(found[name].expected)
                assert error is not None
                error *= math.sqrt(FEW / case.prompts)
                margin = figure.margin if isinstance(figure, Figure) else 0.0
                if expected:
                    shares[name] = (ERRORS_Z * error + margin) / expected
    assert {name for name, share in shares.items() if share > 0.075} - RARE == set()
    assert float(np.median(list(shares.values()))) < 0.05


BREAKS: list[tuple[type, Callable[[Tensor], Tensor], str]] = [
    (LeastSquares, lambda answers: 0.9 * answers, "linear, d = 20, half_subspace: least_squares, k = 10"),
    (LeastSquares, lambda answers: answers.roll(1, dims=1), "noisy_linear, d = 20: least_squares, k = 40"),
    (Averaging, lambda answers: 1.2 * answers, "linear, d = 20: averaging, k = 10"),
    (Ridge, lambda answers: 0.8 * answers, "noisy_linear, d = 20: ridge, k = 40"),
    (NearestNeighbours, lambda answers: 1e-1 + answers, "linear, d = 20, overlapping_queries: knn/neighbors=1, k = 1"),
]


@pytest.mark.parametrize(("cls", "change", "name"), BREAKS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_wrong_baseline_fails(
    monkeypatch: pytest.MonkeyPatch, cls: type, change: Callable[[Tensor], Tensor], name: str
) -> None:
    predict: Any = cls.predict  # type: ignore[attr-defined]
    monkeypatch.setattr(cls, "predict", lambda self, prompts: change(predict(self, prompts)))
    cases = [case for case in few(baselines.CASES, 1024) if name.startswith(f"{case}: ")]
    (outcome,) = outcomes_of(learners.checks(cases), name).values()
    assert outcome.holds is False


def test_the_command_names_what_fails(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    (case,) = (case for case in baselines.CASES if case.shift == "half_subspace")
    section = replace(verify.SECTIONS["baselines"], checks=lambda: learners.checks([replace(case, prompts=FEW)]))
    monkeypatch.setitem(verify.SECTIONS, "baselines", section)
    assert icl("verify", "baselines")[0] == 0
    monkeypatch.setattr(HalfSubspace, "sample", lambda self, *args: Gaussian().sample(*args))
    code, out, _ = icl("verify", "baselines")
    assert code == 1
    failed = [line.split() for line in out.splitlines() if line.startswith("    failed")]
    # All dimensions in place of half of them: 1 - k / d in place of 1 - 2 k / d.
    assert [float(row[6]) for row in failed if row[4] == "10"] == pytest.approx([0.5], abs=0.1)
    assert out.splitlines()[-1] == "  baselines: linear, d = 20, half_subspace: least_squares, k = 10"


def test_a_wrong_class_or_shift_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Quadratic.sample
    monkeypatch.setattr(Quadratic, "sample", lambda *args: {"w": 1.5 * sample(*args)["w"]})
    checks = list(learners.checks(few(oracles.CASES)))
    assert not any(outcome.holds for outcome in outcomes_of(checks, "quadratic, .*: oracle, k = (1|5|10)").values())
    change = OverlappingQueries.change

    def moved(*args: Any) -> Any:
        xs, queries, defined = change(*args)
        return xs, queries * 1.1, defined

    monkeypatch.setattr(OverlappingQueries, "change", moved)
    checks = list(learners.checks(few(baselines.CASES)))
    assert not any(outcome.holds for outcome in outcomes_of(checks, ".*overlapping.*knn.*").values())


def test_a_learner_that_raises_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(self: Averaging, prompts: Prompts) -> Tensor:
        raise RuntimeError("no mean")

    monkeypatch.setattr(Averaging, "predict", raises)
    found = outcomes_of(learners.checks(few(baselines.CASES[:1])))
    assert {name for name, outcome in found.items() if not outcome.holds} == {
        f"linear, d = 20: averaging, k = {k}" for k in (5, 10, 20, 40)
    }
    assert found["linear, d = 20: averaging, k = 5"].found == "RuntimeError: no mean"


class Watched:
    """A learner that keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Prompts] = []

    def predict(self, prompts: Prompts) -> Tensor:
        self.asked.append(prompts)
        return torch.zeros_like(prompts.targets)


def test_learners_are_asked_once_for_what_they_need_and_see_no_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(Golden, "on", lambda self, task: watched)
    zero = [Golden("zero", {k: Figure(1.0)}, "") for k in (2, 4)] + [Golden("ridge", {7: Figure(1.0)}, "")]
    case = Case("linear", 5, zero, prompts=64)
    found = outcomes_of(learners.checks([case]))
    assert len(found) == 3
    first, second = watched.asked
    assert (first.points, second.points) == (5, 8)
    assert first.truth is None
    assert first.mask is not None
    assert first.mask.tolist() == [[False, False, True, False, True]] * 64
    assert torch.equal(first.xs, second.xs[:, :5])
    bank = next(iter(case.banks()))
    assert torch.equal(second.xs, bank.draw().xs)


def test_prompts_of_a_case_come_from_banks_of_other_seeds() -> None:
    case = Case("linear", 2, [Golden("zero", {1: Figure(1.0)}, "")], prompts=learners.ROUND * 2 + 10)
    banks = list(case.banks())
    assert [bank.seed for bank in banks] == [0, 1, 2]
    assert [bank.n_prompts for bank in banks] == [learners.ROUND, learners.ROUND, 10]


def test_a_figure_where_nothing_is_defined_fails() -> None:
    case = Case("linear", 5, [Golden("zero", {6: Figure(1.0)}, "")], shift="orthogonal_queries", prompts=16)
    (outcome,) = outcomes_of(learners.checks([case])).values()
    assert not outcome.holds
    assert outcome.found == "ValueError: a golden number at a prompt length that orthogonal_queries leaves undefined"


# The formulas, against algebra of their own


def drawn(spec: learners.Spec, dims: int, points: int) -> Prompts:
    return next(iter(Case(spec, dims, [Golden("zero", {points: Figure(1.0)}, "")], prompts=4).banks())).draw()


def test_the_error_of_ridge_is_a_trace() -> None:
    prompts = drawn({"name": "noisy_linear", "label_noise": 0.5}, 8, 6)
    xs = prompts.xs[:, :6].double().numpy()
    expected = [0.25 * np.trace(np.linalg.inv(x.T @ x + 0.25 * np.eye(8))) for x in xs]
    assert oracles.ridge_error(prompts, 6).numpy() == pytest.approx(expected)
    assert oracles.ridge_error(prompts, 0).tolist() == [8.0] * 4


def test_the_error_of_chebyshev_is_what_least_squares_leaves_of_the_query() -> None:
    prompts = drawn("chebyshev", 1, 4)
    degrees = np.arange(3, 12)
    basis = np.cos(degrees * np.arccos(prompts.xs.double().numpy()))
    expected = []
    for features in basis:
        coefficients = np.linalg.lstsq(features[:4].T, features[4], rcond=None)[0]
        expected.append(float(np.square(features[4] - coefficients @ features[:4]).sum()))
    assert oracles.chebyshev_error(prompts, 4).numpy() == pytest.approx(expected)


def test_the_error_of_quadratic_is_what_least_squares_leaves_of_the_query() -> None:
    prompts = drawn("quadratic", 20, 5)
    squares = prompts.xs.double().numpy() ** 2
    expected = []
    for features in squares:
        coefficients = np.linalg.lstsq(features[:5].T, features[5], rcond=None)[0]
        expected.append(float(np.square(features[5] - coefficients @ features[:5]).sum()) / 3)
    assert oracles.quadratic_error(prompts, 5).numpy() == pytest.approx(expected, rel=1e-5)
