"""The score of a learner: the share of the attainable skill that it has.

With e the normalized error of a learner at k examples and e* the best error there, the score is

    s(k) = (1 - e) / (1 - e*),

0 for predicting zero, 1 for the best predictions, and negative for what is worse than predicting zero. It is averaged
over the lengths, from one example on, at which there is something to know, 1 - e* > .05, and then clipped to [0, 1], so
that one blow-up under a shift doesn't outweigh everything else. The mean before clipping is kept beside it, as the raw
score. Errors are means over a bank's prompts, and so is that of predicting zero: it is 1 up to the chance of the draw.

e* is the error, on the very same prompts, of the best attainable predictions; where these are not known, that of the
best of a frozen list of baselines, at each length the best one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

#: The least attainable skill, 1 - e*, at which a length counts.
LEAST_SKILL = 0.05


@dataclass(frozen=True)
class SkillScore:
    """A score in [0, 1], the mean before it was clipped (-inf after an overflow), and over how many cells they are."""

    score: float
    raw: float
    n_cells: int = 1


def clipped(raw: float) -> float:
    """The raw score brought into [0, 1]."""
    return min(1.0, max(0.0, raw))


def skill_score(errors: Mapping[int, float], best: Mapping[int, float]) -> SkillScore | None:
    """The score on one bank. None where no length counts.

    ``errors``: e by number of examples, at some or all lengths; an error that is not a number is one that overflowed,
    and counts as infinite. ``best``: e* likewise.

    >>> skill_score({1: 0.8, 2: 0.7}, {1: 0.8, 2: 0.4})
    SkillScore(score=0.75, raw=0.75, n_cells=1)
    """
    counted = [k for k in errors if k > 0 and k in best and 1 - best[k] > LEAST_SKILL]
    if not counted:
        return None
    # The same floats whatever the order of the lengths.
    shares = [(1 - (math.inf if math.isnan(errors[k]) else errors[k])) / (1 - best[k]) for k in sorted(counted)]
    raw = float(np.mean(shares))
    return SkillScore(clipped(raw), raw)


def mean_score(scores: Iterable[SkillScore | None]) -> SkillScore | None:
    """The mean over cells of their scores, each clipped before, and of their raw scores; None where there are none."""
    found = [score for score in scores if score is not None]
    if not found:
        return None
    return SkillScore(
        float(np.mean([score.score for score in found])),
        float(np.mean([score.raw for score in found])),
        sum(score.n_cells for score in found),
    )
