"""Queries in the opposite orthant, orthogonal to the context, and out of the context."""

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
    inputs_of,
    reference_task,
    same,
    shift_of,
    shifted,
    task_of,
    values_at,
)
from scipy import stats
from test_shifts import every_class
from verifying import assert_golden, golden_errors

from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import Linear, Parameters
from icl_curriculum.tasks import Task
from icl_curriculum.verify.checks import Figure

# The probability of five standard deviations.
RARE = 6e-7
QUERY_SHIFTS = ("opposite_quadrants", "orthogonal_queries", "overlapping_queries", "random_quadrants")


@pytest.mark.parametrize("shift", QUERY_SHIFTS)
def test_labels_and_targets_are_those_of_the_same_functions(shift: str) -> None:
    for name in ("linear", "hermite", "decision_tree", "gaussian_mixture", "linear_classification"):
        task = reference_task(name, label_noise=0.0)
        plain, prompts = draw(task, 6, 5), shifted(shift, task, 6, 5)
        assert prompts.truth is not None
        assert plain.truth is not None
        assert all(value.equal(plain.truth[key]) for key, value in prompts.truth.items())
        assert prompts.targets.equal(values_at(task, prompts, prompts.query()))
        assert prompts.ys.equal(values_at(task, prompts, prompts.xs))
        assert same(plain, prompts, "xs", "ys") == (shift in ("orthogonal_queries", "overlapping_queries"))


@pytest.mark.parametrize("shift", QUERY_SHIFTS)
def test_the_noise_of_a_shifted_prompt_is_that_of_the_plain_one(shift: str) -> None:
    task = task_of("linear", label_noise=0.5)
    plain, prompts = draw(task, 6, 5), shifted(shift, task, 6, 5)
    clean = values_at(task, prompts, prompts.xs)
    torch.testing.assert_close(prompts.ys - clean, plain.ys - plain.targets, rtol=1e-4, atol=1e-5)
    assert prompts.targets.equal(values_at(task, prompts, prompts.query()))


class Fails(Linear):
    """A class from outside that draws its own values and has none at other inputs."""

    def evaluate(self, parameters: Parameters, xs: Any) -> Any:
        raise ValueError("only mine")

    def draw(self, n: int, points: int, dims: int, inputs: Any, streams: Any) -> Any:
        return Linear().draw(n, points, dims, inputs, streams)


@pytest.mark.parametrize("shift", QUERY_SHIFTS)
def test_a_query_shift_holds_the_class_to_its_contract(shift: str) -> None:
    task = Task(Fails(), inputs_of("gaussian"), 5)
    Bank(task, None, 4, 5, 0).draw()
    with pytest.raises(ComponentFailed, match="failed in evaluate: ValueError: only mine"):
        Bank(task, shift_of(shift), 4, 5, 0).draw()


# Opposite orthants


def test_the_query_is_in_the_opposite_orthant_of_the_whole_context() -> None:
    task = task_of("linear", dims=4)
    prompts = shifted("opposite_quadrants", task, 2000, 5)
    signs = prompts.xs.sign()
    assert (signs == signs[:, :1]).all()
    assert (prompts.query().sign() == -signs).all()
    assert prompts.mask is None
    codes = ((signs[:, 0] > 0).double() @ 2.0 ** torch.arange(4).double()).long()
    assert stats.chisquare(np.bincount(codes.numpy(), minlength=16)).pvalue > RARE
    assert prompts.xs.abs().equal(draw(task, 2000, 5).xs.abs())
    # The context is that of the random quadrants.
    assert same(prompts, shifted("random_quadrants", task, 2000, 5), "xs", "ys")


@pytest.mark.parametrize(
    ("inputs", "distribution"),
    [("gaussian", stats.norm), (STUDENT_T_10, stats.t(10))],
    ids=["gaussian", "student_t"],
)
def test_opposite_queries_have_the_marginal_of_symmetric_inputs(inputs: Spec, distribution: Any) -> None:
    prompts = shifted("opposite_quadrants", task_of("linear", inputs, dims=3), 4000, 3)
    for k, coordinate in ((0, 0), (2, 1)):
        assert stats.kstest(prompts.query()[:, k, coordinate].numpy(), distribution.cdf).pvalue > RARE
    # Its size is independent of the context before it.
    sizes = prompts.query().abs() - prompts.query().abs().mean(0)
    assert_mean(sizes[:, 2] * prompts.xs[:, 1].abs(), [0.0] * 3)


def test_least_squares_in_the_opposite_orthant() -> None:
    """k = 1 in closed form, from E|z| = sqrt(2 / pi); the rest Monte Carlo."""
    task = task_of("linear", dims=20)
    errors = errors_of(baseline_of("least_squares"), shifted("opposite_quadrants", task, 4000, 11)) / 20
    golden = golden_errors("linear, d = 20, opposite_quadrants", "least_squares")
    assert golden[1].value == pytest.approx((1 - 1 / 20) * (1 - 4 / math.pi**2))
    assert_golden(errors, {0: Figure(1.0), **golden})


def test_even_functions_do_not_notice_the_opposite_orthant() -> None:
    """Their oracle, which sees squares, answers bit by bit what it answers of the unshifted prompts."""
    task = task_of("quadratic", dims=6, label_noise=0.0)
    plain, prompts = draw(task, 50, 9), shifted("opposite_quadrants", task, 50, 9)
    assert same(plain, prompts, "ys", "targets")
    assert task.function_class.oracle(prompts).equal(task.function_class.oracle(plain))
    assert not baseline_of("least_squares").predict(prompts).equal(baseline_of("least_squares").predict(plain))


@pytest.mark.parametrize("dims", [5, 20])
def test_nothing_known_of_a_tree_s_leaf_helps_in_the_opposite_orthant(dims: int) -> None:
    """The whole context is in one leaf, whose value is independent of the query's: c times it has error 1 + c^2."""
    prompts = shifted("opposite_quadrants", task_of("decision_tree", dims=dims), 4000, 6)
    assert prompts.ys.equal(prompts.ys[:, :1].expand_as(prompts.ys))
    assert not (prompts.ys == prompts.targets).any()
    assert prompts.targets.equal(prompts.targets[:, :1].expand_as(prompts.targets))
    for share in (0.0, 0.5, 1.0):
        assert_mean((share * prompts.ys - prompts.targets).square()[:, 0], 1 + share**2)
    for name in ("averaging", "least_squares", "knn"):
        errors = errors_of(baseline_of(name), prompts)[:, 1:].mean(axis=1)
        assert errors.mean() > 1 - 5 * errors.std() / math.sqrt(len(errors))


# Orthogonal queries


@pytest.mark.parametrize(
    ("inputs", "dims", "points", "defined"),
    [
        ("gaussian", 5, 9, 5), ("gaussian", 5, 3, 3), ("skewed", 5, 9, 5), ("half_subspace", 9, 12, 4),
        ({"name": "scaled", "factor": 3.0}, 4, 9, 4), ("sphere", 4, 9, 4), ("gaussian", 2, 9, 2),
    ],
    ids=str,
)  # fmt: skip
def test_orthogonal_queries_are_orthogonal_to_all_examples(inputs: Spec, dims: int, points: int, defined: int) -> None:
    task = task_of("linear", inputs, dims=dims)
    plain, prompts = draw(task, 40, points), shifted("orthogonal_queries", task, 40, points)
    assert prompts.mask is not None
    assert prompts.mask.equal((torch.arange(points) < defined).expand(40, points))
    queries, xs = prompts.query().double(), prompts.xs.double()
    torch.testing.assert_close(queries.norm(dim=-1), xs.norm(dim=-1), rtol=1e-5, atol=0)
    for k in range(defined):
        cosines = torch.einsum("nd,npd->np", queries[:, k], xs[:, :k])
        cosines = cosines / queries[:, k].norm(dim=-1, keepdim=True) / xs[:, :k].norm(dim=-1)
        assert cosines.abs().max() < 1e-5 if k else True
        # The rest of x_k, not its opposite, within the span of the inputs.
        assert ((queries[:, k] * xs[:, k]).sum(-1) > 0).all()
        span = torch.cat([xs[:, : k + 1], queries[:, k : k + 1]], dim=1)
        assert set(torch.linalg.matrix_rank(span, rtol=1e-5).tolist()) == {k + 1}
    torch.testing.assert_close(queries[:, 0], plain.xs[:, 0].double(), rtol=1e-5, atol=1e-6)
    assert prompts.targets[:, 0].equal(values_at(task, prompts, prompts.query())[:, 0])


def test_orthogonal_queries_have_the_marginal_of_the_gaussian() -> None:
    queries = shifted("orthogonal_queries", task_of("linear", dims=4), 8000, 4).query()
    for k in range(4):
        assert stats.kstest(queries[:, k, k].numpy(), "norm").pvalue > RARE
        assert stats.kstest(queries[:, k].square().sum(-1).numpy(), stats.chi2(4).cdf).pvalue > RARE
        assert_mean(
            (queries[:, k].unsqueeze(1) * queries[:, k].unsqueeze(2)).flatten(1), torch.eye(4).flatten().tolist()
        )


@pytest.mark.parametrize("inputs", ["skewed", "half_subspace"])
def test_orthogonal_queries_have_the_marginal_of_rotated_inputs(inputs: str) -> None:
    task = task_of("linear", inputs, dims=4)
    queries, others = shifted("orthogonal_queries", task, 8000, 2).query(), draw(task, 8000, 2).xs
    for k in (0, 1):
        assert stats.ks_2samp(queries[:, k, 0].numpy(), others[:, 1 - k, 0].numpy()).pvalue > RARE


@pytest.mark.parametrize("inputs", ["gaussian", "skewed", "half_subspace", "sphere"])
@pytest.mark.parametrize("baseline", ["least_squares", {"name": "ridge", "penalty": 0.5}, "averaging"], ids=str)
def test_linear_methods_have_error_one_at_orthogonal_queries(inputs: Spec, baseline: Spec) -> None:
    """They answer 0, so their error is that of zero."""
    task = task_of("linear", inputs, dims=8)
    prompts = shifted("orthogonal_queries", task, 3000, 8)
    defined = task.inputs.rank(8)
    assert defined == (4 if inputs == "half_subspace" else 8)
    learner = baseline_of(baseline)
    answers = learner.predict(prompts)[:, :defined].double()
    assert answers.abs().max() < 1e-3
    assert_mean(errors_of(learner, prompts)[:, :defined] / task.second_moment(), [1.0] * defined, rounding=1e-4)


def test_orthogonal_queries_of_a_dynamical_system() -> None:
    """The trajectory stays; the query leaves it, with the class's own mean square."""
    task = reference_task("linear_dynamics")
    prompts = shifted("orthogonal_queries", task, 4000, 5)
    assert prompts.xs.equal(draw(task, 4000, 5).xs)
    assert_mean(prompts.targets.square(), [task.second_moment()] * 5)


# Overlapping queries


def test_overlapping_queries_are_uniform_over_the_context() -> None:
    task = task_of("linear", dims=3)
    plain, prompts = draw(task, 6000, 6), shifted("overlapping_queries", task, 6000, 6)
    assert same(plain, prompts, "xs", "ys")
    assert prompts.mask is not None
    assert prompts.mask.equal((torch.arange(6) > 0).expand(6000, 6))
    found = (prompts.query().unsqueeze(2) == prompts.xs.unsqueeze(1)).all(-1)
    for k in range(1, 6):
        assert (found[:, k].sum(-1) == 1).all()
        chosen = found[:, k].double().argmax(-1).numpy()
        assert chosen.max() == k - 1
        assert stats.chisquare(np.bincount(chosen, minlength=k)).pvalue > RARE if k > 1 else True
    # The choices at two lengths are independent.
    one, other = (found[:, k, 0].double() - 1 / k for k in (2, 4))
    assert_mean(one * other, 0)


@every_class("overlapping_queries")
def test_overlapping_queries_ask_for_a_value_that_was_shown(name: str) -> None:
    task = reference_task(name, label_noise=0.0)
    prompts = shifted("overlapping_queries", task, 20, 6)
    for k in range(1, 6):
        assert (prompts.targets[:, k : k + 1] == prompts.ys[:, :k]).any(dim=1).all()


@pytest.mark.parametrize("inputs", ["gaussian", "skewed", "laplace", "half_subspace"])
def test_least_squares_and_the_nearest_neighbour_know_overlapping_queries(inputs: Spec) -> None:
    prompts = shifted("overlapping_queries", task_of("linear", inputs, dims=6), 200, 10)
    for baseline in ("least_squares", {"name": "knn", "neighbors": 1}):
        errors = errors_of(baseline_of(baseline), prompts)
        assert errors[:, 1:].max() < 1e-7
        assert errors[:, 0].mean() > 1


def test_label_noise_hides_the_answer_of_overlapping_queries() -> None:
    """The nearest neighbour repeats the noise: variance 1/4."""
    prompts = shifted("overlapping_queries", task_of("linear", label_noise=0.5), 4000, 4)
    assert_mean(errors_of(baseline_of({"name": "knn", "neighbors": 1}), prompts)[:, 1:], [0.25] * 3)
