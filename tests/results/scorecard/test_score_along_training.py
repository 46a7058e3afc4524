"""Data efficiency and what is kept, of courses whose scores are known."""

from __future__ import annotations

import dataclasses

import pytest

from icl_curriculum.results.scorecard.along_training import Course, data_efficiency, kept_score
from icl_curriculum.results.scorecard.frozen import Benchmark, benchmark
from icl_curriculum.results.scorecard.skill import SkillScore

ONE, TWO = "linear/gaussian/none", "quadratic/gaussian/none"


@pytest.fixture
def frozen() -> Benchmark:
    return dataclasses.replace(benchmark(), prompts=1600, trained=(ONE, TWO))


def course(**scores: float) -> Course:
    """A score by the prompts seen: ``_100=.5``."""
    return {int(at[1:]): SkillScore(min(1.0, max(0.0, score)), score) for at, score in scores.items()}


def numbers(found: SkillScore | None) -> tuple[float, ...]:
    return () if found is None else dataclasses.astuple(found)


def test_data_efficiency_is_the_mean_over_the_logarithm_of_prompts(frozen: Benchmark) -> None:
    # Linear in the logarithm: half way where half of the logarithm is through. From 100 on, a sixteenth of 1,600.
    linear = course(_0=0.9, _100=0.0, _400=0.5, _1600=1.0)
    step = course(_0=0.0, _100=0.2, _1600=0.2)
    assert numbers(data_efficiency(frozen, {ONE: linear, TWO: step})) == pytest.approx((0.35, 0.35, 2))
    # What is measured between two others counts by its share of the logarithm, and before the first it is the first's.
    late = course(_0=0.0, _400=1.0, _800=-1.0, _1600=-1.0)
    found = data_efficiency(frozen, {ONE: late, TWO: late})
    assert found is not None
    assert found.score == pytest.approx((2 * 1.0 + 0.5) / 4)
    assert found.raw == pytest.approx((2 * 1.0 + 0.0 - 1.0) / 4)
    assert data_efficiency(frozen, {ONE: linear}) is None
    assert data_efficiency(frozen, {ONE: linear, TWO: course(_0=1.0)}) is None


def test_what_is_kept_is_the_end_over_the_end_of_the_own_block(frozen: Benchmark) -> None:
    courses = {ONE: course(_800=0.8, _1600=0.2), TWO: course(_800=0.1, _1600=0.9)}
    # The last class is trained to the end and counts for nothing.
    assert numbers(kept_score(frozen, courses, {ONE: 800, TWO: 1600}, 1600)) == pytest.approx((0.25, 0.25, 1))
    better = {**courses, ONE: course(_800=0.4, _1600=0.6)}
    assert numbers(kept_score(frozen, better, {ONE: 800, TWO: 1600}, 1600)) == pytest.approx((1.0, 1.5, 1))
    # Of what was not learned nothing can be kept.
    nothing = {**courses, ONE: course(_800=0.05, _1600=0.6)}
    assert kept_score(frozen, nothing, {ONE: 800, TWO: 1600}, 1600) is None
