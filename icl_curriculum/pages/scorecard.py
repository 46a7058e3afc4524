"""The scorecard on an experiment's page: its answer and figure for the first screen, and its section."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from icl_curriculum import figures
from icl_curriculum.core.notices import NotShown
from icl_curriculum.figures.scorecard_radar import MOST_PANELS
from icl_curriculum.pages.sections import PageSection, PageTable, Picture, drawn
from icl_curriculum.results.comparison.sheets import Sheet, SheetEntry
from icl_curriculum.results.comparison.sources import Source
from icl_curriculum.results.comparison.verdict import Verdict
from icl_curriculum.results.scorecard.answer import (
    A_SCORE,
    TITLES,
    LearnerScores,
    best_on,
    how_many_seeds,
    learner_scores,
    resolvable,
    score_text,
    scorecard_answer,
    seeds_in_words,
)
from icl_curriculum.results.scorecard.axes import AXES
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import read_table


@dataclass(frozen=True)
class ScorecardOnPage:
    """What a scorecard puts on the page: the answer and the main figure of its first screen, and its section."""

    answer: Verdict
    main: list[Picture | NotShown]
    section: PageSection


def scorecard_on_page(source: Source) -> ScorecardOnPage | None:
    """The scorecard of an experiment; None where it has none, or another metric is shown than that of its scores."""
    if shown_metric().chosen is not None or not (source.directory / "scorecard.csv").is_file():
        return None
    card = read_table(source.directory, "scorecard")
    learners = learner_scores(card)
    if not learners:
        return None
    what = f"A score is the {A_SCORE}. {seeds_in_words(learners)}"
    main = drawn(
        partial(figures.scorecard, card),
        f"{what} Small dots are the seeds.",
        f"The score of {_learners(len(learners))} on each axis of the benchmark, and the mean; the table below has the "
        "numbers.",
        wide=True,
        narrow=partial(figures.scorecard, card, narrow=True),
    )
    radar = drawn(
        partial(figures.scorecard_radar, card),
        f"{what} From 0 in the centre to 1 at the edge; dashed: the best score of any ranked learner on each axis.",
        f"The profile of {_learners(min(len(learners), MOST_PANELS))} over the axes of the benchmark; the table below "
        "has the numbers.",
        wide=True,
        narrow=partial(figures.scorecard_radar, card, narrow=True),
    )
    tables = [PageTable("Score of every learner on every axis", score_sheet(learners))]
    if smallest := resolvable(card):
        tables.append(
            PageTable(
                f"The highest score on each axis, and the smallest difference that {how_many_seeds(learners)} resolve",
                axis_sheet(learners, smallest),
            )
        )
    section = PageSection(
        "scorecard", "Scorecard", _sentences(learners), radar, tables, folded="Figure: the profile of each learner"
    )
    return ScorecardOnPage(Verdict("", scorecard_answer(card)), main, section)


def _learners(count: int) -> str:
    return "the one learner" if count == 1 else f"{count} learners"


def _sentences(learners: Sequence[LearnerScores]) -> list[str]:
    """What the mean is of, and who has no rank."""
    apart = [axis.title for axis in AXES.values() if axis.of_training]
    said = [
        f"The mean is that of the {len(AXES) - len(apart)} axes that every learner has, without {' and '.join(apart)}; "
        "a heading says what its axis asks."
    ]
    if broken := [f"`{learner.name}`" for learner in learners if not learner.ranked]:
        verb = "is" if len(broken) == 1 else "are"
        said.append(f"{', '.join(broken)} broke a rule and {verb} not ranked; the last column says which.")
    return said


def score_sheet(learners: Sequence[LearnerScores]) -> Sheet:
    """A row for each learner, the highest mean first and those that broke a rule last: score ± half of its interval."""
    remarks = any(learner.remark for learner in learners)
    made = Sheet(
        ["learner", "rank", *TITLES.values(), *["remark"] * remarks],
        explained={
            "rank": "by the mean; none where a rule was broken, or an axis of the mean is missing",
            "mean": "over the axes that are not of training; ± half of the 90% interval over seeds",
            **{axis.title: axis.about for axis in AXES.values()},
        },
    )
    rank = 0
    for learner in learners:
        ranked = learner.ranked and learner.mean is not None
        rank += ranked
        made.add(
            learner.name, SheetEntry(str(rank), rank) if ranked else SheetEntry("–"),
            *(_score(learner, axis) for axis in TITLES),
            *[SheetEntry(learner.remark or "–")] * remarks,
        )  # fmt: skip
    return made


def _score(learner: LearnerScores, axis: str) -> SheetEntry:
    found = learner.over_seeds.get(axis)
    if found is None:
        return SheetEntry("–")
    half = (found.high - found.low) / 2
    return SheetEntry(score_text(found.value) + ("" if math.isnan(half) else f" ± {score_text(half)}"), found.value)


def axis_sheet(learners: Sequence[LearnerScores], smallest: dict[str, float]) -> Sheet:
    """A row for each axis: the highest score of a ranked learner, whose it is, and the difference that seeds resolve.

    ``smallest``: this difference by axis, as `scorecard.answer.resolvable` has it.
    """
    made = Sheet(
        ["axis", "highest score", "of", "smallest difference"],
        explained={
            "highest score": "of the learners that kept to the rules",
            "smallest difference": "between two learners that these seeds resolve: half of the 90% interval of the "
            "paired difference, the median over pairs",
        },
    )
    for axis, title in TITLES.items():
        best = best_on(learners, axis)
        highest = SheetEntry("–") if best is None else _score(best, axis)
        difference = smallest.get(axis, math.nan)
        made.add(
            title,
            highest,
            SheetEntry("–" if best is None else best.name),
            SheetEntry(score_text(difference), difference),
        )
    return made
