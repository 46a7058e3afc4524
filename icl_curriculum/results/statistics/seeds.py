"""Statistics over training seeds: few values, and every one of them a whole training run.

Intervals are at the level ``confidence`` (0.9 by default, as published with Garg et al. 2022's errors).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]

CONFIDENCE = 0.9
_APART = 1e-9
RESAMPLES = 5000
#: The most values that are drawn for one interval; of more than a few thousand, fewer than `RESAMPLES` samples.
MOST_DRAWN = 20_000_000
#: The least number of samples. The bootstrap's standard error is then known to 3%.
LEAST_RESAMPLES = 500


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, from ``n`` values; the ends are NaN where the values allow none."""

    value: float
    low: float
    high: float
    n: int


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=-1))


def _median(values: Array) -> Array:
    return np.median(values, axis=-1)


def interquartile_mean(values: ArrayLike) -> Array:
    """The mean of the values, along the last axis, without the least and the greatest quarter, rounded down.

    Of five values the middle three, of fewer than four all. Source: Agarwal et al. 2021 (arXiv 2108.13264). The same
    as `scipy.stats.trim_mean` with a quarter, which they take, in a fifth of its time. NaN where a value is missing.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    kept = ordered[..., n // 4 : n - n // 4].mean(axis=-1)
    # They are ordered last.
    return np.where(np.isnan(ordered[..., -1]), math.nan, kept)


#: Over the last axis.
STATISTICS: dict[str, Statistic] = {"mean": _mean, "median": _median, "iqm": interquartile_mean}


def estimate(
    strata: Sequence[ArrayLike], statistic: str = "iqm", *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> Estimate:
    """A statistic of all values together, with its stratified bootstrap interval.

    ``strata``: groups of runs, each (runs,) or (runs, values of a run): runs are drawn anew within their group, each
    with all its values, since the errors of one run on several classes go together. One group of single values is
    the plain case. The interval is t (``high`` and ``low`` lie as far from the statistic as Student's quantile of the
    bootstrap's standard error, which is widened by sqrt(n / (n - 1))): percentiles of so few values cover far less
    than they promise. Of several groups, each counts by what it alone makes the statistic vary: for the factor of its
    n, and for the degrees of freedom, by Welch and Satterthwaite. Sources: Agarwal et al. 2021 for strata, Hesterberg
    2015 (arXiv 1411.5279) for the interval, Welch 1947. Without an interval where a group has one run, or a value is
    infinite or missing. Of more than 4,000 values fewer than ``resamples`` samples are drawn, `MOST_DRAWN` values in
    all, but `LEAST_RESAMPLES` samples.
    """
    groups = [np.asarray(group, dtype=np.float64) for group in strata]
    n = sum(group.size for group in groups)
    if n == 0:
        raise ValueError("expected at least one value, found none")
    values = np.concatenate([group.ravel() for group in groups])
    chosen = STATISTICS[statistic]
    with np.errstate(invalid="ignore"):
        found = float(chosen(values))
    if min(len(group) for group in groups) < 2 or not np.isfinite(values).all():
        return Estimate(found, math.nan, math.nan, n)
    groups = [group.reshape(len(group), -1) for group in groups]
    resamples = min(resamples, max(LEAST_RESAMPLES, MOST_DRAWN // n))
    places = _few_places(tuple(map(len, groups)), resamples) if n <= _FEW else _places(map(len, groups), resamples)
    drawn = [group[place].reshape(resamples, -1) for group, place in zip(groups, places, strict=True)]
    variance = float(chosen(np.concatenate(drawn, axis=1)).var())
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    alone = np.array([_alone(chosen, groups, drawn, i) for i in range(len(groups))]) if len(groups) > 1 else np.ones(1)
    if not alone.sum() > 0:
        return Estimate(found, found, found, n)
    widened = alone * sizes / (sizes - 1)
    freedom = widened.sum() ** 2 / (widened**2 / (sizes - 1)).sum()
    error = math.sqrt(variance * widened.sum() / alone.sum())
    reach = _student((1 + confidence) / 2, float(freedom)) * error
    return Estimate(found, found - reach, found + reach, n)


def _places(sizes: Iterable[int], resamples: int) -> list[NDArray[np.int64]]:
    """Which runs of each group are in each bootstrap sample: (resamples, runs)."""
    generator = np.random.default_rng(0)
    return [generator.integers(0, size, (resamples, size)) for size in sizes]


#: Of so few values, the places are kept for the next ones: most experiments have a handful of seeds.
_FEW = 100


@functools.lru_cache(maxsize=16)
def _few_places(sizes: tuple[int, ...], resamples: int) -> list[NDArray[np.int64]]:
    return _places(sizes, resamples)


def _normal(share: float) -> float:
    return float(special.ndtri(share))


@functools.lru_cache(maxsize=1024)
def _student(share: float, freedom: float) -> float:
    return float(special.stdtrit(freedom, share))


def _alone(chosen: Statistic, groups: Sequence[Array], drawn: Sequence[Array], i: int) -> float:
    """The variance of a statistic when only one group is drawn anew."""
    others = [np.broadcast_to(group.ravel(), part.shape) for group, part in zip(groups, drawn, strict=True)]
    return float(chosen(np.concatenate([*others[:i], drawn[i], *others[i + 1 :]], axis=1)).var())


def paired_difference(ours: ArrayLike, theirs: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of ``ours`` - ``theirs``, seed by seed, with the interval of `estimate`: what both share cancels.

    Both (seeds,), in the same order.
    """
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"expected as many values on both sides, found {first.shape} and {second.shape}")
    with np.errstate(invalid="ignore"):
        return estimate([first - second], "mean", confidence=confidence)


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike, *, confidence: float = CONFIDENCE) -> Estimate:
    """P(a run of ours has the lower value than one of theirs), ties counted half: over all pairs of runs.

    Source: Agarwal et al. 2021. The interval is Newcombe's fifth method (Statistics in Medicine 25, 2006, 559-573),
    which does not shrink to a point where all pairs agree, as a bootstrap does. Infinite values are in order like
    others, and tie with one another; NaN where one is missing. ``n`` of the result: runs of the side with fewer.
    """
    first, second = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    m, n = len(first), len(second)
    if m == 0 or n == 0:
        raise ValueError(f"expected at least one value on both sides, found {m} and {n}")
    if np.isnan(first).any() or np.isnan(second).any():
        return Estimate(math.nan, math.nan, math.nan, min(m, n))
    # By rank, as there are m n pairs: a tie counts half on either side.
    ranked = np.sort(second)
    above, from_here = (n - np.searchsorted(ranked, first, side) for side in ("right", "left"))
    found = float((above.sum() + from_here.sum()) / 2 / (m * n))
    return Estimate(found, *_newcombe(found, m, n, confidence), min(m, n))


@functools.lru_cache(maxsize=4096)
def _newcombe(found: float, m: int, n: int, confidence: float) -> tuple[float, float]:
    """The ends of the interval of a probability of improvement that was ``found`` with ``m`` and ``n`` runs."""
    z = _normal((1 + confidence) / 2)
    others = (m + n) / 2 - 1

    def excess(theta: float) -> float:
        """Squared distance less what the variance at ``theta`` allows: its roots are the interval's ends."""
        spread = theta * (1 - theta) / (m * n)
        spread *= 1 + others * (1 - theta) / (2 - theta) + others * theta / (1 + theta)
        return (theta - found) ** 2 - z**2 * spread

    # 0 and 1 are roots themselves where that was found, but not the ends that are sought.
    # Here, as it takes half a second, which the many who compare nothing need not wait for (scipy.stats takes a whole).
    from scipy.optimize import brentq

    low = 0.0 if found == 0 else brentq(excess, 0.0, found - _APART)
    high = 1.0 if found == 1 else brentq(excess, found + _APART, 1.0)
    return float(low), float(high)


def share_below(values: ArrayLike, threshold: float, *, confidence: float = CONFIDENCE) -> Estimate:
    """The share of runs whose value is at most ``threshold``, with its binomial interval (Wilson 1927).

    With r of n runs and the normal quantile z it is (r + z^2/2 +- z sqrt(r (n - r) / n + z^2/4)) / (n + z^2).

    On average over the share, Wilson's interval covers at its level or a little above it (of 90%, 92% with three
    runs, 91% with ten); the exact one covers more, and is wider.
    """
    array = np.asarray(values, dtype=np.float64)
    reached, n = int((array <= threshold).sum()), len(array)
    if n == 0:
        raise ValueError("expected at least one value, found none")
    z = _normal((1 + confidence) / 2)
    centre, width = reached + z**2 / 2, z * math.sqrt(reached * (n - reached) / n + z**2 / 4)
    # Exactly 0 and 1 where no run, or every run, is below: there the formula's rounding is not.
    low = 0.0 if reached == 0 else (centre - width) / (n + z**2)
    high = 1.0 if reached == n else (centre + width) / (n + z**2)
    return Estimate(reached / n, low, high, n)


@dataclass(frozen=True)
class Spreads:
    """Two standard deviations of a reported error, kept apart.

    ``seeds``: over training seeds, on one bank. ``prompts``: of one run's error, over banks of that size.
    """

    seeds: float
    prompts: float


def spreads(values: ArrayLike, lows: ArrayLike, highs: ArrayLike, *, confidence: float = CONFIDENCE) -> Spreads:
    """How far another training seed, and how far another bank of prompts, would move an error.

    ``values``: a run's error each; ``lows``, ``highs``: their intervals over prompts at level ``confidence``, all
    (seeds,). Over seeds: the sample standard deviation (n - 1), on the shared bank. Over prompts: the root mean square
    of the intervals' half widths over the normal quantile. As all runs answer the same prompts, a bank that is hard by
    chance moves all of them together: it shows in no spread over seeds. NaN where it cannot be said.
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = np.asarray(lows, dtype=np.float64), np.asarray(highs, dtype=np.float64)
    z = _normal((1 + confidence) / 2)
    several = len(array) > 1 and np.isfinite(array).all()
    bounded = len(low) > 0 and np.isfinite(low).all() and np.isfinite(high).all()
    return Spreads(
        seeds=float(array.std(ddof=1)) if several else math.nan,
        prompts=float(np.sqrt(np.mean(((high - low) / 2) ** 2)) / z) if bounded else math.nan,
    )
