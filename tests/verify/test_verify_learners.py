"""``icl verify``: golden errors of oracles and baselines hold on few prompts, and wrong ones are found."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import Icl
from torch import Tensor
from verifying import outcomes_of

from icl_curriculum import verify
from icl_curriculum.baselines import Averaging, LeastSquares, NearestNeighbours, Ridge
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes import Quadratic
from icl_curriculum.inputs import Gaussian, HalfSubspace
from icl_curriculum.shifts import OverlappingQueries
from icl_curriculum.verify import CheckOutcome, baselines, learners, oracles
from icl_curriculum.verify.checks import ERRORS_Z, Figure
from icl_curriculum.verify.learners import Case, Golden

ALL = [*oracles.CASES, *baselines.CASES]

#: The catalogue, by case and learner: k and the error, over E f(q)^2 or as an oracle's row says.
CATALOGUE: dict[tuple[str, str], dict[int, float]] = {
    ("linear, d = 20", "oracle"): {1: 19, 5: 15, 10: 10, 15: 5, 20: 0},
    ("sparse_linear, d = 20", "oracle"): {0: 3, 1: 2, 2: 1, 3: 0},
    ("quadratic, d = 20", "oracle"): {1: 0.843, 5: 0.570, 10: 0.369, 15: 0.176, 20: 0},
    ("sinusoid, d = 1", "oracle"): {2: 0},
    ("parity, d = 10", "oracle"): {2: 0.906, 4: 0.675, 6: 0.279, 8: 0.084, 10: 0.020},
    ("gaussian_mixture, d = 20", "oracle"): {1: 24.8, 5: 16.1, 10: 9.27},
    ("linear, d = 20", "least_squares"): {1: 0.95, 5: 0.75, 10: 0.5, 15: 0.25, 20: 0},
    ("linear, d = 20", "averaging"): {5: 4.2, 10: 2.1, 20: 1.05, 40: 0.525},
    ("linear, d = 20", "zero"): {20: 1},
    ("linear, d = 20", "knn"): {5: 1.106, 10: 0.921, 20: 0.791, 40: 0.689},
    ("linear, d = 20", "knn/weights=distance"): {5: 1.087, 10: 0.910, 20: 0.785, 40: 0.683},
    ("linear, d = 20, half_subspace", "least_squares"): {1: 0.9, 5: 0.5, 8: 0.2, 10: 0},
    ("linear, d = 20, skewed", "least_squares"): {2: 0.476, 5: 0.211, 10: 0.079},
    ("linear, d = 20, opposite_quadrants", "least_squares"): {1: 0.95 * (1 - 4 / math.pi**2), 5: 0.323, 10: 0.200},
    ("linear, d = 20, random_quadrants", "least_squares"): {1: 0.95, 5: 0.75, 10: 0.5, 15: 0.25},
    ("linear, d = 20, orthogonal_queries", "least_squares"): {1: 1, 10: 1},
    ("linear, d = 20, overlapping_queries", "least_squares"): {1: 0, 5: 0, 10: 0, 20: 0, 40: 0},
    ("sparse_linear, d = 20", "sparse_posterior"): {1: 0.91, 2: 0.86, 3: 0.72, 4: 0},
    # The middles of ranges.
    ("sparse_linear, d = 20", "lasso/0.01"): {5: 0.61, 10: 0.07},
    ("decision_tree, d = 20", "greedy_tree"): {100: 1.03},
    ("decision_tree, d = 20", "gradient_boosting"): {100: 0.625},
    ("decision_tree, d = 20, other_inputs/rademacher", "greedy_tree"): {100: 0.505},
    ("decision_tree, d = 20, other_inputs/rademacher", "gradient_boosting"): {100: 0.32},
    ("relu_network, d = 20", "mlp_gd"): {100: 0.17},
    ("noisy_linear, d = 20", "ridge"): {10: 0.545, 20: 0.209, 40: 0.0475},
    ("noisy_linear, d = 20", "least_squares"): {30: 1 / 9, 40: 1 / 19},
    ("noisy_linear/label_noise=0.5, d = 8", "ridge"): {0: 1, 4: 0.533, 8: 0.1815, 15: 0.0376},
}
#: Cells with a formula in the inputs of the same prompts.
FORMULAS = {
    ("noisy_linear, d = 20", "oracle"), ("noisy_linear, d = 20", "ridge"), ("quadratic, d = 20", "oracle"),
    ("noisy_linear/label_noise=0.5, d = 8", "ridge"), ("chebyshev, d = 1", "oracle"),
    ("linear/pool_size=4, d = 20", "dmmse"),
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


def test_the_catalogue_is_complete() -> None:
    figures: dict[tuple[str, str], dict[int, float]] = {}
    formulas = set()
    for case in ALL:
        for golden in case.golden:
            cell = str(case), golden.id
            known = {k: figure.value for k, figure in golden.figures.items() if isinstance(figure, Figure)}
            figures.setdefault(cell, {}).update(known)
            if len(known) < len(golden.figures):
                formulas.add(cell)
            assert golden.source
    for cell, numbers in CATALOGUE.items():
        assert {k: figures[cell][k] for k in numbers} == pytest.approx(numbers, abs=1e-9), cell
    assert formulas == FORMULAS


#: Errors that few prompts make: their mean is less certain.
RARE = {
    "quadratic, d = 20: oracle, k = 15", "chebyshev, d = 1: oracle, k = 8", "parity, d = 10: oracle, k = 8",
    "parity, d = 10: oracle, k = 10", "parity/pool_size=2, d = 10: dmmse, k = 4",
}  # fmt: skip


def test_a_figure_that_is_off_by_some_five_percent_would_show(found: dict[str, CheckOutcome]) -> None:
    """By the prompts that the command draws; the standard errors are those of few prompts, scaled."""
    shares = {}
    for case in ALL:
        if case.prompts < learners.PROMPTS:  # costly learners, and errors of zero
            continue
        for golden in case.golden:
            for k, figure in golden.figures.items():
                name = f"{case}: {golden.id}, k = {k}"
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
