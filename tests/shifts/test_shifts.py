"""Shifts: what they change, what they leave alone, and what least squares makes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import (
    STUDENT_T_10,
    Spec,
    assert_mean,
    baseline_of,
    draw,
    errors_of,
    reference_task,
    same,
    shift_of,
    shifted,
    task_of,
    values_at,
)
from scipy import stats
from undefined import UNDEFINED
from verifying import assert_golden, golden_errors

from icl_curriculum.core.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.shifts import Shift
from icl_curriculum.verify.checks import Figure

# The probability of five standard deviations.
RARE = 6e-7
INPUTS: list[Spec] = ["gaussian", "skewed", STUDENT_T_10]


def every_class(shift: str) -> pytest.MarkDecorator:
    """Every class for which the shift is defined."""
    names = [name for name in FUNCTION_CLASSES.names() if (name, shift) not in UNDEFINED]
    return pytest.mark.parametrize("name", names)


# Random quadrants


def test_random_quadrants_put_the_context_of_a_prompt_into_one_orthant() -> None:
    prompts = shifted("random_quadrants", task_of("linear", dims=4), 2000, 5)
    signs = prompts.xs.sign()
    assert (signs == signs[:, :1]).all()
    codes = ((signs[:, 0] > 0).double() @ 2.0 ** torch.arange(4).double()).numpy()
    found, counts = np.unique(codes, return_counts=True)
    assert len(found) == 16
    assert stats.chisquare(counts).pvalue > RARE


@pytest.mark.parametrize(
    ("inputs", "distribution"), [("gaussian", stats.norm), (STUDENT_T_10, stats.t(10))], ids=["gaussian", "student_t"]
)
def test_random_quadrants_leave_the_marginal_of_queries_and_sizes_alone(inputs: Spec, distribution: Any) -> None:
    prompts = shifted("random_quadrants", task_of("linear", inputs, dims=4), 1000, 4)
    assert prompts.queries is not None
    assert stats.kstest(prompts.queries.flatten().numpy(), distribution.cdf).pvalue > RARE
    sizes = prompts.xs.abs().flatten().numpy()
    assert stats.kstest(sizes, lambda x: 2 * distribution.cdf(x) - 1).pvalue > RARE
    # The query knows nothing of the orthant nor of the context before it, and every length has one of its own.
    assert_mean((prompts.queries[:, 2].abs() - prompts.queries[:, 2].abs().mean(0)) * prompts.xs[:, 1].abs(), [0.0] * 4)
    assert_mean(prompts.queries[:, 2] * prompts.xs[:, 0].sign(), [0.0] * 4)
    assert_mean(prompts.queries[:, 1] * prompts.queries[:, 2], [0.0] * 4)


@every_class("random_quadrants")
def test_random_quadrants_ask_for_the_value_at_the_query(name: str) -> None:
    """The query at k is the x_k of the unshifted prompt."""
    task = reference_task(name, label_noise=0.0)
    plain, prompts = draw(task, 8, 6), shifted("random_quadrants", task, 8, 6)
    assert prompts.query().equal(plain.xs)
    assert prompts.targets.equal(plain.targets)
    assert prompts.xs.abs().equal(plain.xs.abs())
    assert prompts.ys.equal(values_at(task, prompts, prompts.xs))
    assert prompts.mask is None
    # Even functions have the same value in every orthant.
    assert prompts.targets.equal(prompts.ys) == (name == "quadratic")


def test_random_quadrants_with_noise_and_unit_outputs() -> None:
    task = task_of({"name": "quadratic", "outputs": "unit", "label_noise": 0.5}, dims=4)
    prompts = shifted("random_quadrants", task, 2000, 3)
    assert prompts.queries is not None
    torch.testing.assert_close(prompts.targets, values_at(task, prompts, prompts.queries) / 2)
    assert_mean((prompts.ys - values_at(task, prompts, prompts.xs) / 2).square(), [0.25**2] * 3)
    assert prompts.label_noise == 0.25


# Scaled inputs


@every_class("scaled_inputs")
@pytest.mark.parametrize("factor", [1 / 3, 2.0])
def test_scaled_inputs_are_the_same_inputs_times_the_factor(name: str, factor: float) -> None:
    task = reference_task(name, label_noise=0.0)
    plain, scaled = draw(task, 4, 6), shifted({"name": "scaled_inputs", "factor": factor}, task, 4, 6)
    torch.testing.assert_close(scaled.xs, plain.xs * factor)
    assert scaled.targets.equal(values_at(task, scaled, scaled.xs))
    assert scaled.ys.equal(scaled.targets)
    if name in ("decision_tree", "linear_classification"):
        assert scaled.ys.equal(plain.ys)


@pytest.mark.parametrize(
    ("name", "inputs", "power"),
    [
        *(
            (name, inputs, 2)
            for name in ("linear", "sparse_linear", "relu_network", "low_rank_linear")
            for inputs in INPUTS
        ),
        *((name, inputs, 0) for name in ("linear_classification", "decision_tree", "sinusoid") for inputs in INPUTS),
        ("gaussian_mixture", "skewed", 2),
        ("quadratic", "gaussian", 4),
        ("quadratic", "skewed", 4),
    ],
    ids=str,
)
@pytest.mark.parametrize("factor", [1 / 3, 2.0])
def test_scaled_inputs_scale_the_denominator(name: str, inputs: Spec, power: int, factor: float) -> None:
    task = task_of(name, inputs)
    scaled = shift_of({"name": "scaled_inputs", "factor": factor}).apply(task)
    assert scaled.second_moment() / task.second_moment() == pytest.approx(factor**power)


def test_scaled_inputs_scale_the_terms_of_a_hermite_polynomial_apart() -> None:
    """p = 2: E f^2 = (m2 + (m4 - 2 m2 + 1) / 2) / 2 with m2 = c^2, m4 = 3 c^4."""
    scaled = shift_of({"name": "scaled_inputs", "factor": 2.0}).apply(task_of({"name": "hermite", "degree": 2}))
    assert scaled.second_moment() == pytest.approx((4 + (48 - 8 + 1) / 2) / 2)


def test_scaled_inputs_keep_heavy_tails() -> None:
    scaled = shift_of("scaled_inputs").apply(task_of("quadratic", "student_t"))
    assert scaled.second_moment() == math.inf
    assert not shift_of("scaled_inputs").apply(task_of("linear", "student_t")).has_error_variance()


# Longer prompts


@pytest.mark.parametrize(
    ("factor", "points", "expected"), [(2.0, 21, 41), (1.5, 11, 16), (2.5, 6, 13), (3.0, 2, 4), (1.05, 7, 8)]
)
def test_longer_prompts_have_that_many_times_the_examples(factor: float, points: int, expected: int) -> None:
    assert shift_of({"name": "longer_prompts", "factor": factor}).points(points) == expected


@pytest.mark.parametrize(("factor", "examples", "expected"), [(1.13, 100, 113), (1.16, 25, 29), (1.4, 45, 63)])
def test_longer_prompts_lose_no_example_to_rounding(factor: float, examples: int, expected: int) -> None:
    assert shift_of({"name": "longer_prompts", "factor": factor}).points(examples + 1) == expected + 1


def test_the_other_shifts_keep_the_length() -> None:
    for name in SHIFTS.names():
        assert name == "longer_prompts" or shift_of(name).points(21) == 21


# Skewed, and the tables


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ("skewed", ("skewed", "none")),
        ("half_subspace", ("half_subspace", "none")),
        ({"name": "other_inputs", "inputs": "laplace"}, ("laplace", "none")),
        ({"name": "other_inputs", "inputs": {"name": "scaled", "of": "laplace"}}, ("scaled/2/of=laplace", "none")),
        ("other_class", ("student_t", "none")),
        ("opposite_quadrants", ("student_t", "opposite_quadrants")),
        ("overlapping_queries", ("student_t", "overlapping_queries")),
        ("orthogonal_queries", ("student_t", "orthogonal_queries")),
        ({"name": "scaled_outputs", "factor": 1 / 3}, ("student_t", "scaled_outputs/0.333")),
        ("random_quadrants", ("student_t", "random_quadrants")),
        ({"name": "scaled_inputs", "factor": 1 / 3}, ("student_t", "scaled_inputs/0.333")),
        ("label_noise", ("student_t", "label_noise/0.5")),
        ("longer_prompts", ("student_t", "longer_prompts/2")),
        ({"name": "label_noise", "id": "noisy"}, ("student_t", "noisy")),
    ],
)
def test_columns_of_the_tables(shift: Spec, expected: tuple[str, str]) -> None:
    assert shift_of(shift).columns(task_of("linear", "student_t")) == expected


def test_skewed_inputs_replace_the_task_s() -> None:
    task = task_of("linear", label_noise=0.5, dims=4)
    plain, skewed = draw(task, 2, 400), shifted("skewed", task, 2, 400)
    assert plain.truth is not None
    assert skewed.truth is not None
    assert skewed.truth["w"].equal(plain.truth["w"])
    assert torch.linalg.cond(skewed.xs[0]) == pytest.approx(4, rel=0.3)
    assert torch.linalg.cond(plain.xs[0]) < 1.5
    assert skewed.label_noise == 0.5


@pytest.mark.parametrize("shift", ["half_subspace", {"name": "other_inputs", "inputs": "half_subspace"}], ids=str)
def test_half_subspace_inputs_replace_the_task_s(shift: Spec) -> None:
    task = task_of("linear", "student_t", label_noise=0.5, dims=4)
    plain, halved = draw(task, 6, 40), shifted(shift, task, 6, 40)
    assert plain.truth is not None
    assert halved.truth is not None
    assert halved.truth["w"].equal(plain.truth["w"])
    assert set(torch.linalg.matrix_rank(halved.xs, rtol=1e-4).tolist()) == {2}
    assert halved.targets.equal(values_at(task, halved, halved.xs))
    assert halved.label_noise == 0.5
    assert same(halved, draw(task_of("linear", "half_subspace", label_noise=0.5, dims=4), 6, 40), "xs", "ys", "targets")


class Unchanged(Shift):
    """A shift that changes nothing, from a plugin."""


def test_a_shift_s_defaults_change_nothing() -> None:
    task = task_of("linear", label_noise=0.5)
    shift = Unchanged()
    assert shift.undefined(task) is None
    assert shift.points(7) == 7
    assert same(shift.draw(task, 3, 7, Streams(0, "test")), draw(task, 3, 7), "xs", "ys", "targets")


# Golden numbers: least squares on the linear class, d = 20, error over E f^2


@pytest.mark.parametrize(
    ("shift", "golden"),
    [
        ("random_quadrants", {k: Figure(1 - k / 20) for k in range(21)}),
        ("skewed", {0: Figure(1.0), **golden_errors("linear, d = 20, skewed", "least_squares")}),
        ("half_subspace", {k: Figure(max(0, 1 - k / 10)) for k in range(21)}),
        ("scaled_inputs", {k: Figure(1 - k / 20) for k in range(0, 21, 5)}),
        ("scaled_outputs", {k: Figure(1 - k / 20) for k in range(0, 21, 5)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_least_squares_is_the_catalogue_s(shift: Spec, golden: dict[int, Figure]) -> None:
    task = task_of("linear", dims=20)
    errors = errors_of(baseline_of("least_squares"), shifted(shift, task, 1280, 21))
    errors /= shift_of(shift).apply(task).second_moment()
    assert_golden(errors, {k: figure for k, figure in golden.items() if figure.value > 0})
    for k, figure in golden.items():
        assert figure.value > 0 or np.median(errors[:, k]) < 1e-8
