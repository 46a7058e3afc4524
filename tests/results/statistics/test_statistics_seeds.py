"""Statistics over training seeds: by hand, by their symmetries, and against what their intervals promise.

Coverage is simulated: so many experiments of a few runs each, whose truth is known. The generators are seeded, so a
share is the same every time; a tolerance is three standard errors of a share among so many experiments.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from icl_curriculum.results.statistics.seeds import (
    STATISTICS,
    Array,
    Estimate,
    estimate,
    interquartile_mean,
    paired_difference,
    probability_of_improvement,
    share_below,
    spreads,
)

Z90 = 1.6448536269514722

quick = settings(max_examples=25, deadline=None, derandomize=True, database=None)
numbers = st.integers(-1000, 1000).map(lambda n: n / 8)
samples = st.lists(numbers, min_size=2, max_size=7)
every_statistic = pytest.mark.parametrize("statistic", STATISTICS)


def ends(found: Estimate) -> tuple[float, float]:
    return found.low, found.high


def width(found: Estimate) -> float:
    return found.high - found.low


def covered(truth: float, intervals: Sequence[Estimate]) -> float:
    return float(np.mean([found.low <= truth <= found.high for found in intervals]))


def standard_error(share: float, experiments: int) -> float:
    return math.sqrt(share * (1 - share) / experiments)


# The statistics


@pytest.mark.parametrize(
    ("values", "mean", "median", "iqm"),
    [
        ([3], 3, 3, 3),
        ([1, 2], 1.5, 1.5, 1.5),
        ([1, 2, 6], 3, 2, 3),  # a quarter of three is none
        ([1, 2, 4, 9], 4, 3, 3),
        ([0, 1, 2, 6, 100], 21.8, 2, 3),
        ([0, 0, 1, 1, 2, 4, 50, 50], 13.5, 1.5, 2),
        ([9, 1, 4, 2], 4, 3, 3),
    ],
)
def test_statistics_by_hand(values: Sequence[float], mean: float, median: float, iqm: float) -> None:
    found = {name: estimate([values], name) for name in STATISTICS}
    assert {name: each.value for name, each in found.items()} == pytest.approx(
        {"mean": mean, "median": median, "iqm": iqm}
    )
    assert {each.n for each in found.values()} == {len(values)}


def test_the_interquartile_mean_is_the_default_and_goes_along_the_last_axis() -> None:
    assert estimate([[0, 1, 2, 6, 100]]).value == 3
    np.testing.assert_allclose(interquartile_mean([[0, 1, 2, 6, 100], [1, 1, 1, 1, 1]]), [3, 1])


@pytest.mark.parametrize("n", [*range(1, 10), 100])
def test_the_interquartile_mean_is_that_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).lognormal(size=(3, n))
    np.testing.assert_allclose(interquartile_mean(values), stats.trim_mean(values, 0.25, axis=1))


def test_a_statistic_is_of_all_groups_together() -> None:
    """Not a mean of the groups' means, which would be 3.5."""
    found = estimate([[1, 2, 3], [5]], "mean")
    assert (found.value, found.n) == (2.75, 4)
    assert estimate([[[1, 2], [3, 4]], [[5, 9]]], "mean").value == 4


# The interval of one group


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_interval_of_a_mean_is_that_of_student(n: int, confidence: float) -> None:
    """A mean's bootstrap error is sqrt(sum((x - mean)^2)) / n; times sqrt(n / (n - 1)) it is s / sqrt(n)."""
    values = np.random.default_rng(n).lognormal(size=n)
    expected = stats.t.interval(confidence, n - 1, values.mean(), stats.sem(values))
    found = estimate([values], "mean", confidence=confidence)
    # 5000 resamples know a standard deviation to one percent.
    assert width(found) == pytest.approx(expected[1] - expected[0], rel=0.03)
    assert found.value - found.low == pytest.approx(found.high - found.value)
    assert found.value == pytest.approx(values.mean())


def test_the_bootstrap_error_of_a_median_by_hand() -> None:
    """Of three runs 0, 1, 3 the resampled median is the least or greatest with 7/27 each, the middle with 13/27."""
    outcomes, chances = np.array([0, 1, 3]), np.array([7, 13, 7]) / 27
    mean = chances @ outcomes
    error = math.sqrt(chances @ (outcomes - mean) ** 2) * math.sqrt(3 / 2)
    found = estimate([[0, 1, 3]], "median")
    assert found.value == 1
    assert width(found) == pytest.approx(2 * stats.t.ppf(0.95, 2) * error, rel=0.03)


@every_statistic
def test_intervals_are_of_ninety_percent_unless_told_otherwise(statistic: str) -> None:
    values = [[0.1, 0.5, 0.2, 0.4]]
    assert estimate(values, statistic) == estimate(values, statistic, confidence=0.9)
    assert width(estimate(values, statistic, confidence=0.95)) > width(estimate(values, statistic))


@every_statistic
def test_runs_that_end_alike_have_an_interval_without_width(statistic: str) -> None:
    found = estimate([[0.5] * 4], statistic)
    assert ends(found) == pytest.approx((0.5, 0.5))


@quick
@given(samples, st.sampled_from([-4.0, 0.5, 2.0]), numbers, st.sampled_from(sorted(STATISTICS)))
def test_an_estimate_moves_and_scales_with_its_values(
    values: list[float], factor: float, shift: float, statistic: str
) -> None:
    before = estimate([values], statistic, resamples=100)
    after = estimate([factor * np.asarray(values) + shift], statistic, resamples=100)
    assert after.value == pytest.approx(factor * before.value + shift, abs=1e-9)
    assert width(after) == pytest.approx(abs(factor) * width(before), abs=1e-9)
    assert after.high - after.value == pytest.approx(after.value - after.low, abs=1e-9)


@quick
@given(st.lists(samples, min_size=1, max_size=3), st.randoms(use_true_random=False), st.sampled_from([*STATISTICS]))
def test_the_order_of_seeds_changes_no_value(groups: list[list[float]], chance: object, statistic: str) -> None:
    turned = [chance.sample(group, len(group)) for group in groups]  # type: ignore[attr-defined]
    one, other = (estimate(each, statistic, resamples=50) for each in (groups, turned))
    assert other.value == pytest.approx(one.value, abs=1e-9)
    assert other.n == one.n


def test_an_estimate_is_the_same_every_time() -> None:
    values = [[0.3, 0.1, 0.7], [1.0, 2.0]]
    np.random.seed(1)
    first = estimate(values)
    np.random.seed(2)
    assert estimate(values) == first


# Where there is no interval


@every_statistic
@pytest.mark.parametrize("strata", [[[0.5]], [[[0.5, 0.7]]], [[0.1, 0.2], [0.3]], [[0.1, 0.2], []]])
def test_one_run_says_nothing_on_another(strata: Sequence[Sequence[float]], statistic: str) -> None:
    found = estimate(strata, statistic)
    assert math.isfinite(found.value)
    assert np.isnan(ends(found)).all()


@pytest.mark.parametrize(
    ("values", "mean", "median", "iqm"),
    [
        ([0.1, math.inf, 0.2], math.inf, 0.2, math.inf),
        ([0.1, 0.2, 0.3, math.inf], math.inf, 0.25, 0.25),
        ([math.inf] * 3, math.inf, math.inf, math.inf),
        ([math.inf, 0.0, -math.inf], math.nan, 0.0, math.nan),
        ([0.1, math.nan, 0.2], math.nan, math.nan, math.nan),
        ([0.1, math.nan, 0.2, 0.3], math.nan, math.nan, math.nan),
    ],
)
def test_runs_that_overflowed_leave_what_can_be_said(
    values: Sequence[float], mean: float, median: float, iqm: float
) -> None:
    for statistic, expected in {"mean": mean, "median": median, "iqm": iqm}.items():
        found = estimate([values], statistic)
        assert found.value == pytest.approx(expected, nan_ok=True), statistic
        assert np.isnan(ends(found)).all()
        assert found.n == len(values)


@pytest.mark.parametrize("strata", [[], [[]], [[], []]])
def test_no_values_are_an_error(strata: Sequence[Sequence[float]]) -> None:
    with pytest.raises(ValueError, match=r"^expected at least one value, found none$"):
        estimate(strata)


def test_a_statistic_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(KeyError, match="mode"):
        estimate([[1, 2]], "mode")


# Groups


def test_what_lies_between_groups_is_no_uncertainty() -> None:
    """Two groups 100 apart: runs of one are never drawn in the place of the other's."""
    values = np.array([0.0, 1.0, 2.0, 3.0])
    together, apart = (
        estimate([np.concatenate([values, values + 100])], "mean"),
        estimate([values, values + 100], "mean"),
    )
    assert apart.value == together.value == 51.5
    # Each group's mean has variance 1.25 / 4 in the bootstrap, their mean half of it; seen through t with 3 + 3.
    expected = 2 * stats.t.ppf(0.95, 6) * math.sqrt(1.25 / 4 / 2 * 4 / 3)
    assert width(apart) == pytest.approx(expected, rel=0.03)
    assert width(together) > 20 * width(apart)


def test_a_run_is_drawn_with_all_its_values() -> None:
    """Where a run is bad at one class as far as it is good at another, no draw of runs moves the mean."""
    errors = np.array([0.1, 0.5, 0.2, 0.9])
    cancelling = estimate([np.stack([errors, 1 - errors], axis=1)], "mean")
    assert cancelling.value == pytest.approx(0.5)
    assert ends(cancelling) == pytest.approx((0.5, 0.5))


def test_values_of_one_run_are_not_several_runs() -> None:
    errors = np.array([0.1, 0.5, 0.2, 0.9])
    repeated = estimate([np.stack([errors] * 10, axis=1)], "mean")
    assert ends(repeated) == pytest.approx(ends(estimate([errors], "mean")))
    assert repeated.n == 40


def test_groups_of_different_sizes_count_by_welch_and_satterthwaite() -> None:
    """The mean of all, by hand: each group's variance of the mean with its own n - 1, and their degrees of freedom."""
    generator = np.random.default_rng(1)
    few, many = generator.normal(size=3), generator.normal(size=10)
    parts = [len(group) * group.var(ddof=1) / 13**2 for group in (few, many)]
    freedom = sum(parts) ** 2 / (parts[0] ** 2 / 2 + parts[1] ** 2 / 9)
    expected = 2 * stats.t.ppf(0.95, freedom) * math.sqrt(sum(parts))
    assert width(estimate([few, many], "mean")) == pytest.approx(expected, rel=0.05)


# What intervals promise

EXPERIMENTS = 300


def intervals(draw: Callable[[np.random.Generator], Sequence[Array]], statistic: str) -> list[Estimate]:
    generator = np.random.default_rng(7)
    return [estimate(draw(generator), statistic, resamples=200) for _ in range(EXPERIMENTS)]


def _iqm_of_log_normal() -> float:
    """The mean of exp(Z / 2) where Z lies in its middle half: of many runs, without a quarter at either end."""
    quantile = stats.norm.ppf(0.75)
    inside = stats.norm.cdf(quantile - 0.5) - stats.norm.cdf(-quantile - 0.5)
    return math.exp(0.125) * float(inside) / 0.5


TRUTH = {
    "normal": dict.fromkeys(STATISTICS, 0.0),
    "log-normal": {"mean": math.exp(0.125), "median": 1.0, "iqm": _iqm_of_log_normal()},
}

#: Of intervals of 90%, among 3000 simulated experiments. Of a skewed mean few runs say too little on the side of its
#: tail; a median of few runs, and less so an interquartile mean, jumps between few values when they are drawn anew,
#: which makes its error look large.
COVERAGE = {
    ("normal", "mean"): {3: 0.90, 5: 0.90, 10: 0.90},
    ("normal", "median"): {3: 0.96, 5: 0.96, 10: 0.92},
    ("normal", "iqm"): {3: 0.90, 5: 0.94, 10: 0.92},
    ("log-normal", "mean"): {3: 0.86, 5: 0.86, 10: 0.87},
    ("log-normal", "median"): {3: 0.95, 5: 0.96, 10: 0.92},
    ("log-normal", "iqm"): {3: 0.89, 5: 0.94, 10: 0.92},
}


@every_statistic
@pytest.mark.parametrize("kind", TRUTH)
def test_intervals_cover_as_often_as_measured(kind: str, statistic: str) -> None:
    for n, expected in COVERAGE[kind, statistic].items():

        def draw(generator: np.random.Generator, n: int = n) -> list[Array]:
            normal = generator.normal(size=n)
            return [normal if kind == "normal" else np.exp(normal / 2)]

        found = covered(TRUTH[kind][statistic], intervals(draw, statistic))
        assert found == pytest.approx(expected, abs=3 * standard_error(expected, EXPERIMENTS)), n


@pytest.mark.parametrize(
    ("spread", "statistic", "expected"),
    [
        pytest.param([1.0, 1.0, 1.0, 1.0], "mean", 0.9, id="alike"),
        pytest.param([1.0, 0.1, 0.1, 0.1], "mean", 0.9, id="one far more than the others"),
        pytest.param([1.0, 1.0, 1.0, 1.0], "iqm", 0.9, id="of which the statistic takes two"),
    ],
)
def test_intervals_over_groups_cover_at_their_level(spread: Sequence[float], statistic: str, expected: float) -> None:
    """Four cells of three runs each at levels far apart."""
    made = intervals(lambda generator: [10 * i + s * generator.normal(size=3) for i, s in enumerate(spread)], statistic)
    assert covered(15.0, made) == pytest.approx(expected, abs=3 * standard_error(expected, EXPERIMENTS))


def test_intervals_are_missed_on_both_sides_alike() -> None:
    made = intervals(lambda generator: [generator.normal(size=5)], "mean")
    above, below = (np.mean([each.low > 0 for each in made]), np.mean([each.high < 0 for each in made]))
    assert above == pytest.approx(0.05, abs=3 * standard_error(0.05, EXPERIMENTS))
    assert below == pytest.approx(0.05, abs=3 * standard_error(0.05, EXPERIMENTS))


# Paired differences


def test_a_paired_difference_by_hand() -> None:
    found = paired_difference([1.0, 2.0, 4.0], [0.5, 2.5, 3.0])
    assert found.value == pytest.approx(1 / 3)
    assert found.n == 3
    expected = stats.t.interval(0.9, 2, 1 / 3, stats.sem([0.5, -0.5, 1.0]))
    assert ends(found) == pytest.approx(expected, rel=0.05)


def test_a_paired_difference_turns_its_sign() -> None:
    one, other = [1.0, 2.0, 4.0], [0.5, 2.5, 3.0]
    there, back = paired_difference(one, other), paired_difference(other, one)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_what_both_sides_share_cancels() -> None:
    seeds = np.array([0.0, 100.0, -50.0, 7.0])
    assert ends(paired_difference(seeds + 0.25, seeds)) == pytest.approx((0.25, 0.25))


def test_paired_intervals_cover_and_are_much_narrower_than_unpaired_ones() -> None:
    """A seed moves both by 1, what differs between them is 0.1: the truth is 0.3."""
    generator = np.random.default_rng(11)
    shared = generator.normal(size=(EXPERIMENTS, 5))
    ours, theirs = (shared + 0.1 * generator.normal(size=shared.shape) for _ in range(2))
    paired = [paired_difference(one + 0.3, other) for one, other in zip(ours[:150], theirs[:150], strict=True)]
    assert covered(0.3, paired) == pytest.approx(0.9, abs=3 * standard_error(0.9, 150))
    unpaired = [
        stats.ttest_ind(one + 0.3, other).confidence_interval(0.9) for one, other in zip(ours, theirs, strict=True)
    ]
    typical = np.median([float(each.high - each.low) for each in unpaired])
    assert np.median([width(each) for each in paired]) < 0.2 * typical
    # So it tells apart what unpaired intervals cannot.
    assert np.mean([each.low > 0 for each in paired]) > 0.9
    assert np.mean([each.low > 0 for each in unpaired]) < 0.1


def test_pairs_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"expected as many values on both sides, found \(3,\) and \(2,\)"):
        paired_difference([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="expected at least one value, found none"):
        paired_difference([], [])


def test_a_difference_of_infinite_errors_has_no_interval() -> None:
    assert np.isnan(ends(paired_difference([math.inf, 1.0], [0.5, 0.5]))).all()
    assert math.isnan(paired_difference([math.inf, 1.0], [math.inf, 0.5]).value)
    assert np.isnan(ends(paired_difference([1.0], [0.5]))).all()


# Probability of improvement


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ([1], [2], 1),
        ([1], [1], 0.5),
        ([1, 2], [3, 4], 1),
        ([3, 4], [1, 2], 0),
        ([1, 3], [2, 4], 3 / 4),
        ([1, 2, 3], [2], 0.5),  # better, tied, worse
        ([1, 2], [2, 2, 5], (3 + 2 * 0.5 + 1) / 6),
        ([math.inf, 1], [2, math.inf], (0 + 0.5 + 1 + 1) / 4),  # those that overflowed tie
    ],
)
def test_probability_of_improvement_by_hand(ours: Sequence[float], theirs: Sequence[float], expected: float) -> None:
    found = probability_of_improvement(ours, theirs)
    assert found.value == pytest.approx(expected)
    assert found.n == min(len(ours), len(theirs))
    assert 0 <= found.low <= found.value <= found.high <= 1


@quick
@given(samples, samples)
def test_improving_and_being_improved_upon_are_complements(ours: list[float], theirs: list[float]) -> None:
    there, back = probability_of_improvement(ours, theirs), probability_of_improvement(theirs, ours)
    assert there.value + back.value == pytest.approx(1)
    assert (there.low + back.high, there.high + back.low) == pytest.approx((1, 1), abs=1e-6)


@quick
@given(samples, samples)
def test_only_the_order_of_errors_counts(ours: list[float], theirs: list[float]) -> None:
    there = probability_of_improvement(ours, theirs)
    maps: list[Callable[[float], float]] = [lambda x: 3 * x - 5, lambda x: x**3, math.atan]
    for rising in maps:
        assert probability_of_improvement([*map(rising, ours)], [*map(rising, theirs)]) == there
    turned = probability_of_improvement([-x for x in ours], [-x for x in theirs])
    assert turned.value == pytest.approx(1 - there.value)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(("m", "n", "wins"), [(3, 3, 5), (5, 5, 20), (2, 7, 3), (5, 5, 25), (4, 6, 0), (1, 1, 1)])
def test_the_ends_solve_newcombes_equation(m: int, n: int, wins: int, confidence: float) -> None:
    """(theta - found)^2 = z^2 theta (1 - theta) / (m n) (1 + N (1 - theta) / (2 - theta) + N theta / (1 + theta))."""
    # Ours lie at half numbers among theirs, so that the number of pairs won is what it should be.
    full, rest = divmod(wins, n)
    ours = [-0.5] * full + ([n - rest - 0.5] if full < m else []) + [n + 0.5] * (m - full - 1)
    found = probability_of_improvement(ours, range(n), confidence=confidence)
    assert found.value == pytest.approx(wins / (m * n))
    z, others = stats.norm.ppf((1 + confidence) / 2), (m + n) / 2 - 1
    for theta in ends(found):
        if theta == found.value:
            assert theta in (0, 1)
            continue
        variance = theta * (1 - theta) / (m * n)
        variance *= 1 + others * (1 - theta) / (2 - theta) + others * theta / (1 + theta)
        assert (theta - found.value) ** 2 == pytest.approx(z**2 * variance, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 50])
def test_agreement_of_all_pairs_is_no_certainty(n: int) -> None:
    won, lost = probability_of_improvement([0.0] * n, [1.0] * n), probability_of_improvement([1.0] * n, [0.0] * n)
    assert (won.value, won.high) == (1, 1)
    assert (lost.value, lost.low) == (0, 0)
    assert won.low == pytest.approx(1 - lost.high, abs=1e-6)
    assert won.low < 1 - 0.5 / n
    assert won.low > 1 - 4 / n


@pytest.mark.parametrize("n", [5, 10])
def test_intervals_of_the_probability_cover_at_every_separation(n: int) -> None:
    """Two normals: P(a < b) = Phi(distance / sqrt(2)). Far apart, where few pairs disagree, it covers more."""
    generator, experiments = np.random.default_rng(5), 400
    for distance, expected in COVERAGE_OF_PROBABILITY[n].items():
        truth = float(stats.norm.cdf(distance / math.sqrt(2)))
        ours, theirs = generator.normal(size=(experiments, n)), generator.normal(distance, size=(experiments, n))
        made = [probability_of_improvement(*pair) for pair in zip(ours, theirs, strict=True)]
        assert covered(truth, made) == pytest.approx(expected, abs=3 * standard_error(expected, experiments)), distance


#: Of intervals of 90%, by distance, among 3000 simulated experiments.
COVERAGE_OF_PROBABILITY = {
    5: {0.0: 0.90, 0.5: 0.90, 1.0: 0.93, 2.0: 0.92, 3.0: 0.95},
    10: {0.0: 0.90, 0.5: 0.90, 1.0: 0.92, 2.0: 0.95, 3.0: 0.95},
}


def test_an_error_that_is_missing_makes_no_winner() -> None:
    found = probability_of_improvement([math.nan, 1.0], [2.0, 3.0])
    assert np.isnan([found.value, *ends(found)]).all()


@pytest.mark.parametrize(("ours", "theirs"), [([], [1.0]), ([1.0], []), ([], [])])
def test_a_side_without_runs_is_an_error(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=rf"on both sides, found {len(ours)} and {len(theirs)}$"):
        probability_of_improvement(ours, theirs)


# Shares


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
@pytest.mark.parametrize(("reached", "n"), [(0, 3), (1, 3), (3, 3), (4, 5), (0, 1), (7, 20)])
def test_the_interval_of_a_share_is_wilsons(reached: int, n: int, confidence: float) -> None:
    found = share_below([0.1] * reached + [0.9] * (n - reached), 0.5, confidence=confidence)
    share, z = reached / n, stats.norm.ppf((1 + confidence) / 2)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    assert found.value == pytest.approx(share)
    assert found.n == n
    assert ends(found) == pytest.approx((middle - reach, middle + reach), abs=1e-12)


def test_at_the_threshold_is_within_it_and_what_overflowed_is_not() -> None:
    assert share_below([0.5, 0.500001, math.inf, math.nan], 0.5).value == 0.25


def test_no_runs_have_no_share() -> None:
    with pytest.raises(ValueError, match="expected at least one value, found none"):
        share_below([], 0.5)


@pytest.mark.parametrize(("n", "expected"), [(3, 0.919), (5, 0.915), (10, 0.911), (100, 0.902)])
def test_the_interval_of_a_share_covers_on_average_over_shares(n: int, expected: float) -> None:
    """Exactly, by the binomial probabilities: never less than 90%, and hardly more where there are many runs."""
    low, high = np.array([ends(share_below([0.0] * k + [1.0] * (n - k), 0.5)) for k in range(n + 1)]).T[..., None]
    shares = (np.arange(2000) + 0.5) / 2000
    chances = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    coverage = np.sum(chances * ((low <= shares) & (shares <= high)), axis=0)
    assert coverage.mean() == pytest.approx(expected, abs=0.002)


# Spreads


def test_spreads_by_hand() -> None:
    found = spreads([1.0, 2.0, 3.0], [0.9, 1.7, 2.9], [1.1, 2.3, 3.1])
    assert found.seeds == pytest.approx(1.0)
    assert found.prompts == pytest.approx(math.sqrt((0.01 + 0.09 + 0.01) / 3) / Z90)
    wider = spreads([1.0, 2.0], [0.0, 1.0], [2.0, 3.0], confidence=0.95)
    assert wider.prompts == pytest.approx(1 / 1.959964, rel=1e-6)


def simulated_bank(offset: float, *, seeds: int, prompts: int) -> tuple[Array, Array, Array]:
    """Errors of all runs on one bank and their intervals: 0.3 over seeds, 2 over prompts that all of them share."""
    generator = np.random.default_rng(13)
    of_prompts = 2 * generator.normal(size=prompts)
    errors = 5 + offset + 0.3 * generator.normal(size=(seeds, 1)) + of_prompts
    values, halves = errors.mean(axis=1), Z90 * errors.std(axis=1) / math.sqrt(prompts)
    return values, values - halves, values + halves


def test_spreads_recover_what_was_simulated() -> None:
    found = spreads(*simulated_bank(0.0, seeds=2000, prompts=400))
    assert found.seeds == pytest.approx(0.3, rel=0.06)
    assert found.prompts == pytest.approx(2 / math.sqrt(400), rel=0.12)


def test_a_bank_that_is_hard_by_chance_shows_in_neither_spread() -> None:
    easy, hard = (spreads(*simulated_bank(offset, seeds=20, prompts=50)) for offset in (0.0, 3.0))
    assert (hard.seeds, hard.prompts) == pytest.approx((easy.seeds, easy.prompts))


def test_more_prompts_narrow_only_the_spread_over_prompts() -> None:
    few, many = (spreads(*simulated_bank(0.0, seeds=500, prompts=n)) for n in (50, 5000))
    assert few.prompts > 8 * many.prompts
    assert few.seeds == pytest.approx(many.seeds, rel=0.15)


@pytest.mark.parametrize(
    ("values", "lows", "highs", "seeds", "prompts"),
    [
        ([1.0], [0.9], [1.1], False, True),
        ([1.0, math.inf], [0.9, 1.0], [1.1, 1.2], False, True),
        ([1.0, 2.0], [math.nan] * 2, [math.nan] * 2, True, False),
        ([1.0, math.inf], [0.9, math.inf], [1.1, math.inf], False, False),
        ([], [], [], False, False),
    ],
)
def test_a_spread_that_cannot_be_said_is_missing(
    values: list[float], lows: list[float], highs: list[float], seeds: bool, prompts: bool
) -> None:
    found = spreads(values, lows, highs)
    assert (math.isfinite(found.seeds), math.isfinite(found.prompts)) == (seeds, prompts)
