"""What a scorecard says: its learners in order, who has the highest mean score, and what so many seeds resolve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icl_curriculum.results.scorecard.axes import AXES, MEAN
from icl_curriculum.results.statistics.seeds import CONFIDENCE, Estimate

#: What axes are called, the mean first.
TITLES: dict[str, str] = {MEAN: "mean", **{name: axis.title for name, axis in AXES.items()}}
#: What a number on the scorecard is.
A_SCORE = "share of the attainable skill: 0 is predicting zero, 1 the best predictions known"


@dataclass(frozen=True)
class LearnerScores:
    """A learner of the scorecard. ``over_seeds``: by axis, and of the mean; an axis that it lacks is not among them.

    ``of_seeds``: by axis the score of each training seed, none of a baseline. ``ranked``: whether it kept to the rules.
    """

    name: str
    kind: str
    ranked: bool
    remark: str
    over_seeds: dict[str, Estimate] = field(default_factory=dict)
    of_seeds: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def mean(self) -> Estimate | None:
        """The mean score; None where an axis of it is missing."""
        return self.over_seeds.get(MEAN)


def learner_scores(card: pd.DataFrame) -> list[LearnerScores]:
    """The learners in the order of scorecard.csv: the highest mean first, those that broke a rule last."""
    found: dict[str, LearnerScores] = {}
    scores = card[card["versus"].isna()]
    for name, rows in scores.groupby(scores["learner"].astype(str), sort=False):
        first = rows.iloc[0]
        remark = "" if pd.isna(first["remark"]) else str(first["remark"])
        found[name] = LearnerScores(name, str(first["learner_kind"]), bool(first["ranked"]), remark)
        axes = rows["axis"].astype(str).to_numpy()
        of_seed = rows["seed"].notna().to_numpy()
        columns = rows[["score", "ci_low", "ci_high", "n_seeds"]].to_numpy(dtype=np.float64)
        for axis, (score, low, high, seeds) in zip(axes[~of_seed], columns[~of_seed], strict=True):
            found[name].over_seeds[axis] = Estimate(float(score), float(low), float(high), int(seeds))
            if (own := of_seed & (axes == axis)).any():
                found[name].of_seeds[axis] = columns[own, 0]
    return list(found.values())


def best_on(learners: Sequence[LearnerScores], axis: str) -> LearnerScores | None:
    """The ranked learner with the highest score on an axis; None where no ranked one has the axis."""
    ranked = [learner for learner in learners if learner.ranked and axis in learner.over_seeds]
    return max(ranked, key=lambda learner: learner.over_seeds[axis].value, default=None)


def resolvable(card: pd.DataFrame) -> dict[str, float]:
    """For each axis the smallest difference that the seeds resolve, the median over pairs of learners."""
    pairs = card[card["versus"].notna() & card["resolvable"].notna()]
    medians = pairs.groupby(pairs["axis"].astype(str))["resolvable"].median()
    return {axis: float(medians[axis]) for axis in TITLES if axis in medians.index}


def score_text(value: float) -> str:
    """A score, or a difference of two, to three decimals whatever its size, so that columns of them line up.

    >>> score_text(0.0079), score_text(-0.0004), score_text(-0.25), score_text(math.nan)
    ('0.008', '0.000', '−0.250', '–')
    """
    return "–" if math.isnan(value) else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")


def _between(low: float, high: float) -> str:
    """An interval; with ``to`` where a sign would be read as the dash."""
    ends = score_text(low), score_text(high)
    return " to ".join(ends) if "−" in "".join(ends) else "–".join(ends)


def with_score_interval(made: Estimate) -> str:
    """A score with its interval, ``0.612 (0.590–0.634)``."""
    if math.isnan(made.low):
        return score_text(made.value)
    # No score lies beyond 0 or 1.
    return f"{score_text(made.value)} ({_between(max(made.low, 0.0), min(made.high, 1.0))})"


def how_many_seeds(learners: Sequence[LearnerScores]) -> str:
    """Over how many training seeds scores are means: ``3 seeds``; empty where no learner has seeds.

    >>> how_many_seeds([LearnerScores("gru", "model", True, "", {"mean": Estimate(0.5, 0.4, 0.6, 3)})])
    '3 seeds'
    """
    counts = sorted({made.n for learner in learners for made in learner.over_seeds.values()} - {0})
    if not counts:
        return ""
    text = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{text} seed{'' if counts[-1] == 1 else 's'}"


def seeds_in_words(learners: Sequence[LearnerScores]) -> str:
    """The sentence on how many seeds scores are means over, and what their intervals are."""
    seeds = how_many_seeds(learners)
    if not seeds:
        return "No learner has training seeds, so there are no intervals."
    if seeds == "1 seed":
        return "Of 1 seed, and so without intervals."
    return f"Means over {seeds}, with their {CONFIDENCE:.0%} intervals over seeds."


def scorecard_answer(card: pd.DataFrame) -> str:
    """Who has the highest mean score, and whether its difference to the second is resolved, as one sentence.

    Of a single learner: its mean score, and on which axes it is highest and lowest. Learners that broke a rule, or
    have no mean, take no part.
    """
    ranked = [learner for learner in learner_scores(card) if learner.ranked and learner.mean is not None]
    if not ranked:
        return "No learner that kept to the rules has a score on every axis of the mean, so none is ranked."
    best, made = ranked[0], ranked[0].mean
    assert made is not None
    if len(ranked) == 1:
        text = f"{_named(best)} has a mean score of {with_score_interval(made)}; {_ends(best)}"
        return text + _level(ranked)
    parts = [f"{_named(best)} has the highest mean score, {with_score_interval(made)}", _second(card, best, ranked[1])]
    if best.kind != "model":
        model = next((learner for learner in ranked[2:] if learner.kind == "model"), None)
        if model is not None and ranked[1].kind != "model" and model.mean is not None:
            parts.append(f"the best trained model is {_named(model)} at {with_score_interval(model.mean)}")
    return "; ".join(parts) + _level(ranked)


def _named(learner: LearnerScores) -> str:
    return f"`{learner.name}`" + (" (a baseline)" if learner.kind != "model" else "")


def _ends(learner: LearnerScores) -> str:
    axes = sorted(
        (axis for axis in learner.over_seeds if axis != MEAN), key=lambda axis: -learner.over_seeds[axis].value
    )
    high, low = (f"{TITLES[axis]}, {with_score_interval(learner.over_seeds[axis])}" for axis in (axes[0], axes[-1]))
    return f"its highest score is that on {high}, its lowest that on {low}"


def _second(card: pd.DataFrame, best: LearnerScores, second: LearnerScores) -> str:
    assert second.mean is not None
    text = f"next is {_named(second)} at {with_score_interval(second.mean)}"
    rows = card[(card["learner"] == best.name) & (card["versus"] == second.name) & (card["axis"] == MEAN)]
    if rows.empty:
        if not best.of_seeds and not second.of_seeds:
            return text
        return f"{text}, of no seed in common on one kind of device, so that the difference is not resolved"
    row = rows.iloc[0]
    difference = Estimate(float(row["score"]), float(row["ci_low"]), float(row["ci_high"]), int(row["n_seeds"]))
    if math.isnan(difference.low):
        return f"{text}; the difference, {score_text(difference.value)}, is not resolved, which takes two seeds or more"
    interval = _between(difference.low, difference.high)
    resolved = "is resolved" if difference.low > 0 or difference.high < 0 else "is not resolved"
    return f"{text}; the difference, {score_text(difference.value)} ({interval}), {resolved}"


def _level(learners: Sequence[LearnerScores]) -> str:
    seeds = how_many_seeds(learners)
    intervals = [f"{CONFIDENCE:.0%} intervals over {seeds}"] if seeds not in ("", "1 seed") else []
    one = ["one seed, and so no interval"] * (seeds == "1 seed")
    return f" ({'; '.join([*intervals, *one, '0 is predicting zero, 1 the best predictions known'])})."
