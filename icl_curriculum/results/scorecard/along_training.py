"""The axes of training: how few prompts a model needs, and what it keeps of a class that it is no longer trained on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from icl_curriculum.results.scorecard.frozen import Benchmark
from icl_curriculum.results.scorecard.skill import LEAST_SKILL, SkillScore, clipped, mean_score

#: Where the mean over prompts seen begins, as a share of the budget.
FROM_SHARE = 1 / 16

#: Scores of a class, on its own bank, by the prompts that the model was trained on so far.
Course = Mapping[int, SkillScore]


def data_efficiency(benchmark: Benchmark, courses: Mapping[str, Course]) -> SkillScore | None:
    """The mean of the score over the logarithm of the prompts seen, from a sixteenth of the budget to all of it.

    ``courses``: by trained bank. Between two measurements the score is linear in the logarithm; before the first and
    after the last it is that of the nearest. The mean over classes; None where a class was not measured.
    """
    ends = np.log([benchmark.prompts * FROM_SHARE, benchmark.prompts])
    found: list[SkillScore | None] = []
    for name in benchmark.trained:
        seen = sorted(prompts for prompts in courses.get(name, {}) if prompts > 0)
        if not seen:
            return None
        places = np.log(seen)
        inside = places[(places > ends[0]) & (places < ends[1])]
        at = np.concatenate([ends[:1], inside, ends[1:]])
        scores = [courses[name][prompts] for prompts in seen]
        means = [
            float(np.trapezoid(np.interp(at, places, values), at) / (ends[1] - ends[0]))
            for values in ([score.score for score in scores], [score.raw for score in scores])
        ]
        found.append(SkillScore(means[0], means[1]))
    return mean_score(found)


def kept_score(
    benchmark: Benchmark, courses: Mapping[str, Course], block_ends: Mapping[str, int], end: int
) -> SkillScore | None:
    """What a model keeps: the score at the end over that at the end of the class's own block, mean over classes.

    ``block_ends``: by trained bank, the prompts seen when its class was last trained on; ``end``: all prompts of the
    run. The class of the last block counts for nothing, nor does one whose score at the end of its block was at most
    .05: of what was not learned nothing can be kept. None where no class is left. The ratio is clipped to [0, 1].
    """
    found: list[SkillScore | None] = []
    for name in benchmark.trained:
        course, last = courses.get(name, {}), block_ends.get(name, end)
        if last >= end or last not in course or end not in course:
            continue
        learned = course[last].score
        if learned <= LEAST_SKILL:
            continue
        raw = course[end].raw / learned
        found.append(SkillScore(clipped(raw), raw))
    return mean_score(found)
