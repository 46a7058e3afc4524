"""Scores of learners whose errors are known in closed form."""

from __future__ import annotations

import math

import pytest

from icl_curriculum.results.scorecard.skill import SkillScore, mean_score, skill_score

D, K = 5, 20
#: The optimum of noiseless linear functions: least squares, E (1 - k / d) of |w|^2 is left.
LINEAR = {k: max(0.0, 1 - k / D) for k in range(K + 1)}


def test_predicting_zero_scores_zero_and_the_optimum_one() -> None:
    assert skill_score(dict.fromkeys(LINEAR, 1.0), LINEAR) == SkillScore(0.0, 0.0)
    assert skill_score(LINEAR, LINEAR) == SkillScore(1.0, 1.0)


def test_least_squares_on_sparse_functions() -> None:
    """Its error is 1 - k / d whatever the sparsity, against an optimum that knows everything from 3 examples on."""
    best = {0: 1.0, 1: 0.6, 2: 0.2, **dict.fromkeys(range(3, K + 1), 0.0)}
    # (k / 5) / (1 - e*) for k = 1, 2; then .6, .8 and 16 times 1.
    found = skill_score(LINEAR, best)
    assert found is not None
    assert found.score == found.raw == pytest.approx((0.5 + 0.5 + 0.6 + 0.8 + 16) / 20)


def test_averaging_on_linear_functions_is_clipped_and_kept_raw() -> None:
    """Its error is (d + 1) / k: worse than zero up to k = 6."""
    averaging = {k: (D + 1) / k if k else 1.0 for k in range(K + 1)}
    raw = sum((1 - 6 / k) / (min(k, 5) / 5) for k in range(1, K + 1)) / K
    assert raw < 0
    found = skill_score(averaging, LINEAR)
    assert found is not None
    assert (found.score, found.raw) == (0.0, pytest.approx(raw))
    late = skill_score({k: averaging[k] for k in range(11, 21)}, LINEAR)
    assert late is not None
    assert late.score == pytest.approx(sum(1 - 6 / k for k in range(11, 21)) / 10)


def test_lengths_at_which_there_is_nothing_to_know_do_not_count() -> None:
    assert skill_score({0: 0.0, 1: 0.0, 2: 0.5}, {0: 0.5, 1: 0.951, 2: 0.5}) == SkillScore(1.0, 1.0)
    assert skill_score({0: 0.0, 1: 0.0}, {0: 0.5, 1: 0.96}) is None


def test_an_error_that_overflowed_is_infinite() -> None:
    assert skill_score({1: math.nan, 2: 0.0}, {1: 0.0, 2: 0.0}) == SkillScore(0.0, -math.inf)


def test_means_are_of_clipped_scores_and_of_raw_ones() -> None:
    assert mean_score([SkillScore(0.0, -3.0), None, SkillScore(1.0, 2.0)]) == SkillScore(0.5, -0.5, 2)
    assert mean_score([None]) is None
