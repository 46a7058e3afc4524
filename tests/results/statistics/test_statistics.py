"""Bootstrap intervals, against resampling one sample at a time and against their promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from icl_curriculum.results.statistics.prompts import Array, bootstrap_weights, mean_interval, median_interval

Interval = Callable[[Array, float], tuple[Array, Array]]


def lower_median(values: Array, axis: int) -> Array:
    """The middle value, and of two middle values the smaller one."""
    return np.take(np.sort(values, axis=axis), (values.shape[axis] - 1) // 2, axis=axis)


STATISTICS = pytest.mark.parametrize(
    ("interval", "statistic"), [(mean_interval, np.mean), (median_interval, lower_median)], ids=["mean", "median"]
)


@STATISTICS
@pytest.mark.parametrize("n", [2, 9, 40])
@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_interval_is_that_of_resampling_one_sample_at_a_time(
    interval: Interval, statistic: Callable[..., Array], n: int, confidence: float
) -> None:
    values = np.random.default_rng(1).exponential(size=(n, 3))
    values[1] = values[0]
    samples = [np.repeat(np.arange(n), row.astype(int)) for row in bootstrap_weights(n)]
    resampled = np.array([statistic(values[sample], axis=0) for sample in samples])
    low, high = interval(values, confidence)
    tail = (1 - confidence) / 2
    np.testing.assert_allclose(low, np.quantile(resampled, tail, axis=0))
    np.testing.assert_allclose(high, np.quantile(resampled, 1 - tail, axis=0))
    assert low.shape == high.shape == (3,)


@STATISTICS
@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_interval_covers_the_truth_as_often_as_it_says(
    interval: Interval, statistic: Callable[..., Array], confidence: float
) -> None:
    """Several hundred experiments of 100 standard normal values, the truth being 0."""
    experiments = 400
    low, high = interval(np.random.default_rng(2).normal(size=(100, experiments)), confidence)
    covered = float(((low <= 0) & (high >= 0)).mean())
    # The percentile interval of 100 values falls short by about a hundredth.
    assert covered == pytest.approx(confidence, abs=5 * math.sqrt(confidence * (1 - confidence) / experiments) + 0.01)
    # Either side is missed alike.
    assert (low > 0).mean() == pytest.approx((high < 0).mean(), abs=5 * math.sqrt((1 - confidence) / experiments))


def test_interval_of_the_mean_has_the_width_of_the_normal_approximation() -> None:
    values = np.random.default_rng(3).normal(size=(400, 50))
    low, high = mean_interval(values, 0.9)
    expected = 2 * 1.6449 * values.std(axis=0) / math.sqrt(400)
    np.testing.assert_allclose((high - low).mean(), expected.mean(), rtol=0.05)


def test_paired_columns_share_their_resamples() -> None:
    """So the interval of a difference that is constant over prompts has no width."""
    values = np.random.default_rng(4).normal(size=(30, 1))
    low, high = mean_interval(np.hstack([values, values + 2]), 0.9)
    np.testing.assert_allclose(low[1] - low[0], 2)
    np.testing.assert_allclose(high[1] - high[0], 2)


def test_interval_is_the_same_every_time() -> None:
    values = np.random.default_rng(5).normal(size=(30, 2))
    first = mean_interval(values, 0.9)
    bootstrap_weights.cache_clear()
    np.testing.assert_array_equal(first, mean_interval(values, 0.9))


def test_weights_count_draws_with_replacement() -> None:
    weights = bootstrap_weights(50, 2000)
    assert weights.shape == (2000, 50)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights >= 0).all()
    # Counts are binomial(n, 1/n): mean 1, variance 1 - 1/n.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=5 / math.sqrt(2000))
    np.testing.assert_allclose(weights.var(), 1 - 1 / 50, rtol=0.05)
    assert not np.array_equal(weights, bootstrap_weights(50, 2000, seed=1))


def test_values_that_do_not_vary_have_an_interval_without_width() -> None:
    for interval in (mean_interval, median_interval):
        low, high = interval(np.full((7, 2), 3.0), 0.9)
        np.testing.assert_allclose(low, 3)
        np.testing.assert_allclose(high, 3)
