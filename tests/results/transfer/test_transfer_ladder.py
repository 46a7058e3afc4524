"""Reading between the plain runs of a ladder, against answers by hand and by numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from icl_curriculum.results.transfer.ladder import Rung, at_operations, at_seen_error

LADDER = [Rung(100, 1e6, 0.4, 0.9), Rung(200, 4e6, 0.1, 0.6), Rung(400, 16e6, 0.05, 0.5)]


def test_operations_are_read_straight_in_their_logarithm() -> None:
    # Twice the operations are half the way to four times as many.
    assert at_operations(LADDER, 2e6) == pytest.approx(0.75)
    assert at_operations(LADDER, 8e6) == pytest.approx(0.55)
    for spent in np.geomspace(1e6, 16e6, 7):
        expected = np.interp(np.log(spent), np.log([1e6, 4e6, 16e6]), [0.9, 0.6, 0.5])
        assert at_operations(LADDER, float(spent)) == pytest.approx(float(expected))


def test_the_seen_error_is_read_straight_in_its_logarithm() -> None:
    # 0.2 lies half way between 0.4 and 0.1.
    assert at_seen_error(LADDER, 0.2) == pytest.approx(0.75)
    assert at_seen_error(LADDER, math.sqrt(0.1 * 0.05)) == pytest.approx(0.55)


@pytest.mark.parametrize("read", [at_operations, at_seen_error])
def test_a_rung_is_what_it_is_and_there_is_nothing_beyond_the_ends(read) -> None:
    places = [rung.operations if read is at_operations else rung.seen for rung in LADDER]
    assert [read(LADDER, place) for place in places] == [0.9, 0.6, 0.5]
    assert math.isnan(read(LADDER, 0.99 * min(places)))
    assert math.isnan(read(LADDER, 1.01 * max(places)))
    assert math.isnan(read([], places[0]))
    # A single rung is a ladder at its own place alone.
    assert read(LADDER[:1], places[0]) == 0.9
    assert math.isnan(read(LADDER[:1], places[1]))


def test_of_several_segments_that_bracket_a_seen_error_the_longest_runs_count() -> None:
    # It falls, rises and falls again: 0.2 is met three times.
    rungs = [Rung(1, 1, 0.4, 9.0), Rung(2, 2, 0.1, 8.0), Rung(4, 4, 0.4, 7.0), Rung(8, 8, 0.1, 6.0)]
    for order in itertools.permutations(rungs):
        assert at_seen_error(order, 0.2) == pytest.approx(6.5)
    # At the level of a rung that later ones leave, the last segment that holds it.
    assert at_seen_error([*rungs, Rung(16, 16, 0.05, 5.0)], 0.4) == 7.0
    assert at_seen_error([*rungs, Rung(16, 16, 0.1, 5.0)], 0.1) == 5.0


def test_an_infinite_error_counts_only_where_it_is_read() -> None:
    rungs = [Rung(1, 1, 0.4, math.inf), Rung(2, 4, 0.1, 0.5)]
    assert at_operations(rungs, 2) == math.inf
    assert at_operations(rungs, 4) == 0.5
    assert math.isnan(at_seen_error([Rung(1, 1, math.inf, 1.0), Rung(2, 4, 0.1, 0.5)], 0.2))
