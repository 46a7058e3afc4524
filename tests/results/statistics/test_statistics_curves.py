"""Numbers of one learning curve: by hand, and what holds of any curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_curriculum.results.statistics.curves import PLATEAU, first_below, plateau_end, value_at_exposure

NAN, INF = math.nan, math.inf

quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def curves(draw: st.DrawFn, *, smallest: int = 1) -> tuple[list[float], list[float]]:
    """Exposures that never fall, with ties, and an error at each."""
    n = draw(st.integers(smallest, 8))
    exposures = np.cumsum(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))).astype(float)
    errors = draw(st.lists(st.floats(0.01, 2.0), min_size=n, max_size=n))
    return exposures.tolist(), errors


levels = st.floats(0.01, 2.0)


# The end of the plateau


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([1.0, 0.95, 0.89, 0.5, 0.2], 20),
        ([1.0, 0.89, 0.95, 0.89, 0.2], 30),  # one lucky measurement ends nothing
        ([1.0, 0.95, 0.92, 0.91, 0.89], 40),  # the last needs no second
        ([1.0, 0.89, 0.95, 0.95, 0.95], INF),
        ([1.0, 0.9, 0.9, 0.9, 0.9], INF),  # at the level is not below it
        ([1.0, 0.5, 0.5, 2.0, 2.0], 10),  # what comes later does not count
        ([1.5, 0.95, 0.92, 0.89, 0.88], 30),  # a bad start lowers no bar: 1 counts
        ([0.5, 0.46, 0.44, 0.44, 0.44], 20),  # an easy bank: 0.9 of 0.5
        ([INF, 0.8, 0.8, 0.8, 0.8], 10),
        ([NAN, 0.8, 0.8, 0.8, 0.8], 10),
        ([1.0, 0.8, NAN, 0.8, 0.8], 30),
        ([1.0, 0.8, INF, 0.8, INF], INF),
        ([1.0, 1.0, 1.0, 1.0, NAN], INF),
        ([NAN] * 5, INF),
        ([0.0] * 5, INF),
    ],
)
def test_the_end_of_the_plateau_by_hand(errors: Sequence[float], expected: float) -> None:
    assert plateau_end([0, 10, 20, 30, 40], errors) == expected


def test_the_level_is_that_of_the_published_plateau_unless_told_otherwise() -> None:
    assert PLATEAU == 0.9
    errors = [1.0, 0.95, 0.8, 0.45, 0.4]
    assert plateau_end(range(5), errors) == plateau_end(range(5), errors, level=0.9) == 2
    assert plateau_end(range(5), errors, level=0.5) == 3


@pytest.mark.parametrize("error", [0.01, 1.0, 5.0, NAN, INF])
def test_one_measurement_is_its_own_start_and_leaves_no_plateau(error: float) -> None:
    assert plateau_end([0], [error]) == INF


@quick
@given(curves(), levels, levels)
def test_a_higher_level_is_passed_no_later(curve: tuple[list[float], list[float]], one: float, other: float) -> None:
    """Below the lower level is below the higher one."""
    steps, errors = curve
    assert plateau_end(steps, errors, level=max(one, other)) <= plateau_end(steps, errors, level=min(one, other))


@quick
@given(curves(smallest=2))
def test_the_plateau_ends_at_a_measurement_below_it_or_never(curve: tuple[list[float], list[float]]) -> None:
    _, errors = curve
    limit = 0.9 * min(1.0, errors[0])
    end = plateau_end(range(len(errors)), errors)
    if end == INF:
        assert errors[-1] >= limit
        assert not any(max(pair) < limit for pair in pairwise(errors))
    else:
        assert max(errors[int(end) : int(end) + 2]) < limit
        assert end > 0


@quick
@given(curves(), st.floats(0.05, 1.0))
def test_what_starts_below_one_is_measured_by_its_own_start(
    curve: tuple[list[float], list[float]], scale: float
) -> None:
    """A curve from 1 on and the same curve on an easier bank leave their plateaus together."""
    steps, errors = curve
    whole = [1.0, *np.asarray(errors[1:]).round(2).tolist()]
    # Powers of two scale without rounding.
    factor = 2.0 ** math.floor(math.log2(scale))
    assert plateau_end(steps, np.multiply(factor, whole)) == plateau_end(steps, whole)


# First below a threshold


@pytest.mark.parametrize(
    ("threshold", "expected"), [(2.0, 0), (1.0, 0), (0.7, 64), (0.5, 64), (0.49, 200), (0.1, 200), (0.09, INF)]
)
def test_first_below_by_hand(threshold: float, expected: float) -> None:
    """At the threshold is reached; what rises again afterwards was reached all the same."""
    assert first_below([0, 64, 128, 200, 256], [1.0, 0.5, 0.8, 0.1, 0.3], threshold) == expected


def test_errors_that_are_missing_reach_nothing() -> None:
    assert first_below([0, 1, 2], [NAN, NAN, 0.4], 0.5) == 2
    assert first_below([0, 1, 2], [NAN, INF, NAN], 0.5) == INF


@pytest.mark.parametrize(("error", "expected"), [(0.5, 7.0), (0.51, INF), (NAN, INF)])
def test_first_below_of_one_measurement(error: float, expected: float) -> None:
    assert first_below([7], [error], 0.5) == expected


@quick
@given(curves(), levels, levels)
def test_a_lower_threshold_takes_no_less(curve: tuple[list[float], list[float]], one: float, other: float) -> None:
    exposures, errors = curve
    assert first_below(exposures, errors, min(one, other)) >= first_below(exposures, errors, max(one, other))


@quick
@given(curves(), levels)
def test_first_below_scales_with_the_errors_and_with_the_exposures(
    curve: tuple[list[float], list[float]], threshold: float
) -> None:
    exposures, errors = curve
    found = first_below(exposures, errors, threshold)
    assert first_below(exposures, np.multiply(4.0, errors), 4.0 * threshold) == found
    assert first_below(np.multiply(3.0, exposures), errors, threshold) == 3 * found


@quick
@given(curves(), levels)
def test_first_below_is_where_no_earlier_measurement_was(
    curve: tuple[list[float], list[float]], threshold: float
) -> None:
    exposures, errors = curve
    found = first_below(exposures, errors, threshold)
    earlier = [error for spent, error in zip(exposures, errors, strict=True) if spent < found]
    assert all(error > threshold for error in earlier)
    assert (found == INF) == (min(errors) > threshold)


# The error after an exposure


@pytest.mark.parametrize(
    ("exposure", "expected"), [(0, 1.0), (50, 0.9), (100, 0.8), (125, 0.7), (150, 0.6), (200, 0.4)]
)
def test_between_measurements_the_error_goes_straight(exposure: float, expected: float) -> None:
    assert value_at_exposure([0, 100, 200], [1.0, 0.8, 0.4], exposure) == pytest.approx(expected)


@pytest.mark.parametrize("exposure", [-1, 200.001, INF, -INF, NAN])
def test_outside_of_what_was_measured_nothing_is_known(exposure: float) -> None:
    assert math.isnan(value_at_exposure([0, 100, 200], [1.0, 0.8, 0.4], exposure))


def test_of_repeated_exposures_the_first_counts() -> None:
    """100 prompts of the cell, then another class while this one is forgotten, then 100 more."""
    exposures, errors = [0, 100, 100, 100, 200], [1.0, 0.2, 0.5, 0.8, 0.4]
    assert value_at_exposure(exposures, errors, 100) == 0.2
    assert value_at_exposure(exposures, errors, 150) == pytest.approx(0.3)
    assert value_at_exposure([0, 0, 0], [1.0, 0.9, 0.8], 0) == 1.0


def test_the_error_at_one_measurement() -> None:
    assert value_at_exposure([5], [0.3], 5) == 0.3
    assert math.isnan(value_at_exposure([5], [0.3], 4))


def test_without_measurements_or_a_ledger_nothing_is_known() -> None:
    assert math.isnan(value_at_exposure([], [], 0))
    assert math.isnan(value_at_exposure([NAN, NAN], [1.0, 0.5], 0))


def test_errors_that_are_missing_or_infinite_are_no_numbers_beside_them() -> None:
    assert math.isnan(value_at_exposure([0, 1, 2], [1.0, NAN, 0.5], 0.5))
    assert value_at_exposure([0, 1, 2], [1.0, NAN, 0.5], 2) == 0.5
    assert value_at_exposure([0, 1, 2], [1.0, INF, 0.5], 0) == 1.0
    assert value_at_exposure([0, 1, 2], [1.0, INF, 0.5], 0.5) == INF
    assert value_at_exposure([0, 1, 2], [1.0, INF, 0.5], 1) == INF


@quick
@given(curves(), st.floats(0, 1))
def test_the_error_lies_between_those_that_were_measured_and_scales_with_them(
    curve: tuple[list[float], list[float]], share: float
) -> None:
    exposures, errors = curve
    at = exposures[0] + share * (exposures[-1] - exposures[0])
    found = value_at_exposure(exposures, errors, at)
    assert min(errors) - 1e-12 <= found <= max(errors) + 1e-12
    assert value_at_exposure(exposures, np.multiply(4.0, errors), at) == pytest.approx(4 * found)
    assert value_at_exposure(np.multiply(2.0, exposures), errors, 2 * at) == pytest.approx(found)


@quick
@given(curves(), levels)
def test_the_error_where_a_threshold_was_reached_is_within_it(
    curve: tuple[list[float], list[float]], threshold: float
) -> None:
    exposures, errors = curve
    # Without ties, as those are told apart by the order of measurement.
    exposures = list(range(len(exposures)))
    found = first_below(exposures, errors, threshold)
    if found < INF:
        assert value_at_exposure(exposures, errors, found) <= threshold
