"""The rows of scorecard.csv and leaderboard.csv, from the scores of learners."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from icl_curriculum.results.device_kinds import of_one_kind
from icl_curriculum.results.scorecard.axes import AXES, MEAN
from icl_curriculum.results.scorecard.learners import ScoredLearner
from icl_curriculum.results.scorecard.row import DifferenceColumns, ScoreColumns, StandingColumns
from icl_curriculum.results.statistics.seeds import Estimate, estimate, paired_difference

#: The axes of the tables, in order.
ALL_AXES = (*AXES, MEAN)

ScorecardRow = tuple[object, ...]


def in_order(learners: Sequence[ScoredLearner]) -> list[ScoredLearner]:
    """Learners by their mean score, the best first; those that broke a rule come last."""

    def place(learner: ScoredLearner) -> tuple[bool, float, str]:
        found = _values(learner, MEAN)
        return bool(learner.broken), -float(np.mean([score for score, _, _ in found])) if found else 1.0, learner.name

    return sorted(learners, key=place)


def scorecard_rows(benchmark: str, learners: Sequence[ScoredLearner]) -> Iterator[ScorecardRow]:
    """Scores of each seed and over seeds, then the differences of every two learners that share seeds."""
    ordered = in_order(learners)
    alone = DifferenceColumns(versus=None, resolvable=None)
    for learner in ordered:
        for row in _of_learner(benchmark, learner):
            yield (*row, *alone)
    for one, other in itertools.combinations(ordered, 2):
        yield from _differences(benchmark, one, other)


def leaderboard_rows(benchmark: str, learners: Sequence[ScoredLearner]) -> Iterator[ScorecardRow]:
    """Scores of each seed and over seeds, with what they were computed with."""
    for learner in in_order(learners):
        standing = StandingColumns(
            prompts=learner.prompts, operations=learner.operations,
            config_hashes=" ".join(learner.config_hashes) or None, banks=learner.banks,
            package_version=learner.computed.package_version, torch_version=learner.computed.torch_version,
            git_commit=learner.computed.git_commit, command=learner.command,
        )  # fmt: skip
        for row in _of_learner(benchmark, learner):
            yield (*row, *standing)


def _values(learner: ScoredLearner, axis: str) -> list[tuple[float, float, int]]:
    """Score, raw score and number of banks of every seed that has the axis, in order of the seeds."""
    seeds: list[int | None] = [*learner.seeds] or [None]
    found = [learner.scores[seed].get(axis) for seed in seeds]
    return [(score.score, score.raw, score.n_cells) for score in found if score is not None]


def _of_learner(benchmark: str, learner: ScoredLearner) -> Iterator[ScoreColumns]:
    remark = "; ".join((*learner.broken, *learner.remarks)) or None

    def row(axis: str, seed: int | None, made: Estimate, raw: float, n_seeds: int, n_cells: int) -> ScoreColumns:
        return ScoreColumns(
            benchmark=benchmark, experiment=learner.experiment, learner=learner.name, learner_kind=learner.kind,
            axis=axis, seed=seed, score=made.value, raw_score=raw, ci_low=made.low, ci_high=made.high,
            n_seeds=n_seeds, n_cells=n_cells, ranked=not learner.broken, remark=remark,
        )  # fmt: skip

    for axis in ALL_AXES:
        values = _values(learner, axis)
        if not values:
            continue
        for seed in learner.seeds:
            if (score := learner.scores[seed].get(axis)) is not None:
                yield row(axis, seed, Estimate(score.score, math.nan, math.nan, 1), score.raw, 1, score.n_cells)
        scores, raws, cells = zip(*values, strict=True)
        n_seeds = len(scores) if learner.seeds else 0
        yield row(axis, None, estimate([scores], "mean"), float(np.mean(raws)), n_seeds, max(cells))


def _differences(benchmark: str, one: ScoredLearner, other: ScoredLearner) -> Iterator[ScorecardRow]:
    """The first less the second, seed by seed; one without seeds is the same number for each."""
    seeds = [seed for seed in one.seeds if not other.seeds or seed in other.seeds] if one.seeds else other.seeds
    # Equal seeds are trained on the same prompts on one kind of device alone.
    seeds = [seed for seed in seeds if of_one_kind(one.devices.get(seed), other.devices.get(seed))]
    for axis in ALL_AXES:
        pairs = []
        for seed in seeds:
            mine, theirs = (each.scores[seed if each.seeds else None].get(axis) for each in (one, other))
            if mine is not None and theirs is not None:
                pairs.append((mine, theirs))
        if not pairs:
            continue
        made = paired_difference([mine.score for mine, _ in pairs], [theirs.score for _, theirs in pairs])
        columns = ScoreColumns(
            benchmark=benchmark, experiment=one.experiment, learner=one.name, learner_kind=one.kind, axis=axis,
            seed=None, score=made.value, raw_score=math.nan, ci_low=made.low, ci_high=made.high,
            n_seeds=len(pairs), n_cells=max(mine.n_cells for mine, _ in pairs),
            ranked=not (one.broken or other.broken), remark=None,
        )  # fmt: skip
        resolvable = (made.high - made.low) / 2
        yield (*columns, *DifferenceColumns(other.name, None if math.isnan(resolvable) else resolvable))
