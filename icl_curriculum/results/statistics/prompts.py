"""Bootstrap intervals over the prompts of a bank."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 1000


@lru_cache(maxsize=4)
def bootstrap_weights(n: int, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """How often each of ``n`` items occurs in each bootstrap sample: (resamples, n), rows summing to n.

    One matrix serves every column of a table, so intervals of paired quantities share their resamples.
    """
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return counts.astype(np.float64)


def mean_interval(values: Array, confidence: float, resamples: int = RESAMPLES) -> tuple[Array, Array]:
    """Percentile bootstrap interval of the mean over axis 0, for every column: (low, high).

    Source: Efron 1979; Garg et al. 2022 report 90% intervals of this kind over prompts.
    """
    weights = bootstrap_weights(len(values), resamples)
    return _percentiles(weights @ values / len(values), confidence)


def lower_median(values: Array) -> Array:
    """The median over axis 0, of an even number the lower one of the middle two."""
    median: Array = np.percentile(values, 50, axis=0, method="lower")
    return median


def median_interval(values: Array, confidence: float, resamples: int = RESAMPLES) -> tuple[Array, Array]:
    """Percentile bootstrap interval of the (lower) median over axis 0, for every column: (low, high)."""
    weights = bootstrap_weights(len(values), resamples)
    medians = np.empty((resamples, values.shape[1]))
    for column in range(values.shape[1]):
        order = np.argsort(values[:, column], kind="stable")
        reached = np.cumsum(weights[:, order], axis=1) >= len(values) / 2
        medians[:, column] = values[order, column][reached.argmax(axis=1)]
    return _percentiles(medians, confidence)


def _percentiles(samples: Array, confidence: float) -> tuple[Array, Array]:
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(samples, [tail, 100 - tail], axis=0)
    return low, high
