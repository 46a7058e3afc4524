"""Statistics over thousands of training seeds: by rank, and with a bounded number of bootstrap samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from icl_curriculum.results.statistics import seeds
from icl_curriculum.results.statistics.seeds import estimate, probability_of_improvement


def test_ties_and_infinite_values_count_by_rank_as_they_do_pair_by_pair() -> None:
    generator = np.random.default_rng(0)
    for m, n in ((1, 1), (3, 5), (40, 17)):
        ours, theirs = (np.round(generator.normal(size=size), 1) for size in (m, n))
        ours[0] = theirs[-1] = math.inf
        by_pairs = np.mean((ours[:, None] < theirs) + 0.5 * (ours[:, None] == theirs))
        assert probability_of_improvement(ours, theirs).value == by_pairs


def test_what_is_drawn_of_many_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = seeds._places

    def places(sizes: Any, resamples: int) -> Any:
        sizes = list(sizes)
        drawn.append(sum(sizes) * resamples)
        return real(sizes, resamples)

    monkeypatch.setattr(seeds, "_places", places)
    values = np.random.default_rng(1).normal(size=30_000)
    found = estimate([values], "mean")
    assert drawn == [seeds.MOST_DRAWN // 30_000 * 30_000]
    # The standard error of 666 bootstrap samples is known to 3%.
    assert found.high - found.low == pytest.approx(2 * 1.645 * values.std() / math.sqrt(30_000), rel=0.1)
    estimate([values[:1000]], "mean")
    assert drawn[-1] == 1000 * seeds.RESAMPLES


def test_intervals_of_few_runs_do_not_depend_on_what_was_asked_before() -> None:
    first = estimate([[1.0, 2.0, 4.0]])
    estimate([[5.0, 6.0, 9.0]], "mean")
    estimate([[5.0, 6.0, 9.0], [1.0, 2.0]])
    assert estimate([[1.0, 2.0, 4.0]]) == first
