"""Means of independent numbers: their resolution, parts put together, and whether one learner beats another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icl_curriculum.results.statistics.moments import MAX_SKEW, MomentEstimate, beats, estimate_of


@pytest.mark.parametrize("unequal", [1, 7, 300])
def test_an_estimate_put_together_is_that_of_all_numbers(unequal: int) -> None:
    drawn = np.random.default_rng(0).exponential(size=1000) ** 2
    whole, parts = estimate_of(drawn), estimate_of(drawn[:unequal]).merged(estimate_of(drawn[unequal:]))
    assert parts.prompts == 1000
    assert (parts.mean, parts.error, parts.skew) == pytest.approx((whole.mean, whole.error, whole.skew))


@pytest.mark.parametrize("skew", [0.0, 0.05, MAX_SKEW])
def test_an_error_of_the_resolution_is_found_though_the_mean_is_three_errors_off(skew: float) -> None:
    estimate = MomentEstimate(mean=2.0, error=0.01, skew=skew, prompts=1000)
    off = estimate.resolution()
    for sign, verdict in ((1, "too large"), (-1, "too small")):
        unlucky = MomentEstimate(mean=2.0 + 3 * sign * 0.01, error=0.01, skew=skew, prompts=1000)
        assert unlucky.verdict(2.0 * (1 + 1.01 * sign * off)) == verdict
        assert estimate.verdict(2.0 * (1 + sign * 0.4 * off)) is None


def test_where_tails_are_too_heavy_or_nothing_varies_the_resolution_says_so() -> None:
    assert math.isinf(MomentEstimate(mean=2.0, error=0.01, skew=0.2, prompts=1000).resolution())
    assert MomentEstimate(mean=1.0, error=0.0, skew=0.0, prompts=1000).resolution() == 0


def test_a_tail_below_the_mean_is_allowed_for_as_one_above_it_is() -> None:
    above = MomentEstimate(mean=1.0, error=0.01, skew=0.1, prompts=100)
    below = MomentEstimate(mean=-1.0, error=0.01, skew=-0.1, prompts=100)
    for value in (0.93, 1.07, 1.082):
        mirrored = {"too small": "too large", "too large": "too small", None: None}[above.verdict(value)]
        assert below.verdict(-value) == mirrored


def errors(n: int = 4000) -> np.ndarray:
    return np.random.default_rng(1).exponential(size=(n, 3))


def test_a_learner_that_is_a_little_better_everywhere_beats_the_other_at_that_entry() -> None:
    other = errors()
    one = other * [1.0, 0.99, 1.01]
    assert beats(one, other).tolist() == [False, True, False]
    assert beats(other, one).tolist() == [False, False, True]
    assert beats(one[:, 1], other[:, 1]).shape == ()
    assert bool(beats(one[:, 1], other[:, 1]))
    assert not beats(one, other, rounding=0.1).any()


def test_chance_and_equality_beat_nobody() -> None:
    one, other = errors(), np.random.default_rng(2).exponential(size=(4000, 3))
    assert not beats(one, other).any()
    assert not beats(other, one).any()
    assert not beats(one, one).any()


def test_a_learner_that_is_better_nearly_always_and_far_worse_now_and_then_beats_nobody() -> None:
    """As many are awful as make up for all that it is better by: one prompt in 2,000, of which 1,000 may have none."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        awful = rng.random((4000, 1)) < 1 / 2000
        other = 1 + 0.1 * rng.random((4000, 1))
        one = np.where(awful, other + 0.1 * 2000, other - 0.1 * rng.random((4000, 1)))
        assert not beats(one, other).any() or not awful.any()


def test_what_is_undefined_is_left_out_and_what_is_infinite_is_not_better() -> None:
    other = errors()
    one = 0.9 * other
    one[::2, 0] = math.nan
    one[7, 1] = math.inf
    one[:, 2] = math.nan
    assert beats(one, other).tolist() == [True, False, False]
