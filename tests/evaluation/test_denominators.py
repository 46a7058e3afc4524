"""What errors are divided by: E f(q)^2 under the shifted queries, by hand, and against the targets that are drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import Spec, assert_mean, bank_of, class_of, inputs_of, reference_task, shift_of, squares_of, task_of
from pydantic import Field
from torch import Tensor
from undefined import SHIFT_SPECS, UNDEFINED

from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import Linear, Parameters
from icl_curriculum.function_classes.estimates import DRAWN
from icl_curriculum.tasks import Task
from icl_curriculum.verify.denominators import DIMS, SPECTRA
from icl_curriculum.verify.trivial_errors import gaussian_hermite

PARTITIONS: dict[int, list[tuple[int, ...]]] = {1: [(1,)], 2: [(2,), (1, 1)], 3: [(3,), (2, 1), (1, 1, 1)]}


def projected_moments(spectrum: list[float]) -> list[float]:
    """E q^i for q = w^T S w, w uniform on the sphere: the squares of w's coordinates are Dirichlet(1/2, ..., 1/2).

    By sums over all tuples of coordinates, with E D_1^a D_2^b ... from rising factorials.
    """

    def rising(x: float, n: int) -> float:
        return math.prod(x + j for j in range(n))

    values, d = np.array(spectrum), len(spectrum)
    moments = [1.0]
    for order in (1, 2, 3):
        total = 0.0
        for partition in PARTITIONS[order]:
            weight = math.prod(rising(0.5, part) for part in partition) / rising(d / 2, order)
            # How many ordered tuples of factors show this pattern on given, distinct coordinates.
            ways = math.factorial(order) / math.prod(math.factorial(part) for part in partition)
            ways /= math.prod(math.factorial(partition.count(part)) for part in set(partition))
            for chosen in itertools.permutations(range(d), len(partition)):
                total += ways * weight * math.prod(values[i] ** part for i, part in zip(chosen, partition, strict=True))
        moments.append(total)
    return moments


def test_the_moments_by_hand_are_those_of_a_beta_variable() -> None:
    """In half of the coordinates q is 2 Beta(5, 5)."""
    expected = [math.prod(2 * (5 + j) / (10 + j) for j in range(i)) for i in range(4)]
    assert projected_moments(SPECTRA["half_subspace"]) == pytest.approx(expected)
    assert projected_moments([1.0] * 5) == pytest.approx([1] * 4)


@pytest.mark.parametrize("shift", SPECTRA)
@pytest.mark.parametrize("degree", [2, 3])
def test_hermite_in_a_rotated_gaussian(shift: str, degree: int) -> None:
    """With t = w·x given w normal of variance q: E t^2i = (2i - 1)!! E q^i."""
    task = shift_of(shift).apply(task_of({"name": "hermite", "degree": degree}, dims=DIMS))
    q = projected_moments(SPECTRA[shift])
    assert task.second_moment() == pytest.approx(gaussian_hermite(degree, q[1], 3 * q[2], 15 * q[3]))


@pytest.mark.parametrize(
    ("function_class", "shift", "factor"),
    [
        *(("gaussian_mixture", {"name": "scaled_inputs", "factor": c}, c**2) for c in (1 / 3, 2.0)),
        *((name, {"name": "scaled_outputs", "factor": 3.0}, 9) for name in ("linear", "decision_tree")),
        *((name, "opposite_quadrants", 1) for name in ("linear", "quadratic", "hermite", "decision_tree")),
    ],
    ids=str,
)
def test_a_shift_multiplies_the_denominator(function_class: Spec, shift: Spec, factor: float) -> None:
    """By what the table of `icl verify` doesn't say."""
    task = reference_task(function_class, dims=DIMS)
    assert shift_of(shift).apply(task).second_moment() / task.trivial_error() == pytest.approx(factor)


@pytest.mark.parametrize(
    ("function_class", "inputs", "expected"),
    [
        ("linear", "uniform", 6), ("linear", "laplace", 12), ("linear", {"name": "shifted", "mean": 2.0}, 30),
        ("sparse_linear", {"name": "shifted", "mean": 2.0}, 15), ("linear_dynamics", "gaussian", 0.81 * 6),
        ("parity", "rademacher", 1), ("linear_classification", "cauchy", 1), ("decision_tree", "cauchy", 1),
    ],
    ids=str,
)  # fmt: skip
def test_closed_forms_for_other_inputs(function_class: Spec, inputs: Spec, expected: float) -> None:
    assert task_of(function_class, inputs, dims=6).second_moment() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("function_class", "inputs", "expected", "error"),
    [
        # E x^4 is 9/5, 24 and 1; of w_j x_j with variances 9, 1, 1 only E x_j^2 counts.
        ("quadratic", "uniform", 3 * 9 / 5 / 3, 0.01), ("quadratic", "laplace", 3 * 24 / 3, 0.05),
        ("quadratic", "rademacher", 1, 0.01), ("gaussian_mixture", "laplace", 2 * 11, 0.02),
        # t = ±x in one dimension, of a uniform with m2 = 1, m4 = 9/5.
        ({"name": "hermite", "degree": 2}, "sphere", None, 0.01),
    ],
    ids=str,
)  # fmt: skip
def test_monte_carlo_for_other_inputs(function_class: Spec, inputs: Spec, expected: float | None, error: float) -> None:
    """On the sphere of radius sqrt(3), t = w·x is uniform on ±sqrt(3): m2 = 1, m4 = 9/5."""
    if expected is None:
        expected = (1 + (9 / 5 - 2 + 1) / 2) / 2
    assert task_of(function_class, inputs, dims=3).second_moment() == pytest.approx(expected, rel=error)


def test_a_monte_carlo_denominator_is_one_number_for_all_that_it_does_not_depend_on() -> None:
    """Not the pool, unit, noise or ids; a closed form is of the whole class too."""
    base = task_of({"name": "hermite", "degree": 2}, "uniform").second_moment()
    for more in (
        {"pool_size": 1},
        {"pool_size": 2, "pool_seed": 3},
        {"label_noise": 0.5},
        {"id": "mine"},
        {"outputs": "unit"},
    ):
        moment = task_of({"name": "hermite", "degree": 2, **more}, "uniform").second_moment()
        assert moment == pytest.approx(base, rel=1e-12)
    assert task_of({"name": "hermite", "degree": 2}, {"name": "uniform", "id": "U"}).second_moment() == base
    twice, renamed = ({"name": "scaled", "of": {"name": "uniform", **more}} for more in ({}, {"id": "U"}))
    assert (
        task_of({"name": "hermite", "degree": 2}, renamed).second_moment()
        == task_of({"name": "hermite", "degree": 2}, twice).second_moment()
    )
    assert task_of({"name": "hermite", "degree": 2}, "uniform", label_noise=2.0).second_moment() == base
    assert replace(task_of({"name": "hermite", "degree": 2}, "uniform"), factor=3.0).second_moment() == 9 * base
    assert task_of({"name": "linear", "pool_size": 1}).second_moment() == 5


# Against what is drawn

CLASSES: list[Spec] = [
    *(name for name in FUNCTION_CLASSES.names() if name != "sinusoid"),
    {"name": "hermite", "degree": 3},
    {"name": "hermite", "degree": 2, "weights": "gaussian"},
    {"name": "quadratic", "outputs": "unit"},
    {"name": "sinusoid"},
]
PAIRS = [
    (spec, name) for spec in CLASSES for name in SHIFT_SPECS if (class_of(spec).name, name) not in UNDEFINED
]  # fmt: skip


def own_error(squares: Tensor, bank: Bank) -> float:
    """Five standard errors of a denominator by Monte Carlo, and the rounding of float32."""
    return 5 * float(squares.std()) / math.sqrt(DRAWN) + 1e-6 * bank.second_moment


@pytest.mark.parametrize(("function_class", "shift"), PAIRS, ids=str)
def test_the_denominator_is_the_mean_square_of_the_drawn_targets(function_class: Spec, shift: str) -> None:
    """At every length at which the query is defined."""
    bank = bank_of(function_class, SHIFT_SPECS[shift], None, n=4000, points=4)
    prompts = bank.draw()
    targets = prompts.targets if prompts.mask is None else prompts.targets[:, prompts.mask[0]]
    squares = squares_of(targets)
    assert squares.shape[1] == {"overlapping_queries": 3, "longer_prompts": 7}.get(shift, 4)
    assert_mean(squares, [bank.second_moment] * squares.shape[1], rounding=own_error(squares, bank))


@pytest.mark.parametrize("inputs", ["shifted", "half_subspace", "laplace", {"name": "scaled", "of": "sphere"}], ids=str)
@pytest.mark.parametrize("shift", ["opposite_quadrants", "random_quadrants", "overlapping_queries", "scaled_inputs"])
@pytest.mark.parametrize("name", ["linear", "gaussian_mixture", "quadratic", "hermite"])
def test_denominators_of_shifts_of_other_inputs(name: str, shift: str, inputs: Spec) -> None:
    """A query in the opposite orthant is no longer distributed like inputs around a mean."""
    bank = Bank(task_of(name, inputs, dims=4), shift_of(shift), 4000, 3, 0)
    squares = bank.draw().targets.double().square()[:, 1:]
    assert_mean(squares, [bank.second_moment] * 2, rounding=own_error(squares, bank))


class Total(Linear):
    """f(x) = x_1 + ... + x_d, from a plugin without a closed form."""

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": torch.ones(n, dims)}

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return None


def test_the_opposite_orthant_changes_the_mean_square_of_inputs_around_a_mean() -> None:
    """Their coordinates are correlated, and no longer are: d + d^2 and 2 d for a mean of 1."""
    task = Task(Total(), inputs_of({"name": "shifted", "mean": 1.0}), 3)
    assert task.second_moment() == pytest.approx(12, rel=0.02)
    bank = Bank(task, shift_of("opposite_quadrants"), 4000, 3, 0)
    assert bank.second_moment == pytest.approx(6, rel=0.02)
    assert_mean(bank.draw().targets.square(), [6] * 3)
    assert bank.key == ("linear", "shifted/1", "opposite_quadrants")


def test_a_class_with_fields_that_cannot_be_hashed_has_a_denominator_too() -> None:
    class Listed(Linear):
        """A class of a plugin."""

        name = "listed"
        factors: list[float] = Field([2.0])

        def second_moment(self, *_: object, **__: object) -> None:
            return None

        def evaluate(self, parameters: Parameters, xs: Tensor) -> Tensor:
            return self.factors[0] * super().evaluate(parameters, xs)

    found = [Task(Listed(factors=[factor]), inputs_of("laplace"), 3).second_moment() for factor in (2.0, 3.0)]
    # 2^18 draws: the relative standard error is below one in a hundred.
    assert found == pytest.approx([4 * 6, 9 * 6], rel=0.05)
