"""Sentences for the note under a title."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from icl_curriculum.figures.categories import several
from icl_curriculum.figures.names import learner_label


def fewer_prompts(compared: Iterable[Mapping[str, set[int]]], marked: Collection[str] = ()) -> list[str]:
    """A sentence on the learners that were asked on fewer prompts than those beside them.

    ``compared``: for each group of learners, how many prompts each was asked; ``marked``: the learners drawn with
    markers, which are not named one by one where the same is true of all of them.
    """
    found: dict[str, set[int]] = {}
    largest = set()
    for group in compared:
        most = max((count for counts in group.values() for count in counts), default=0)
        for learner, counts in group.items():
            if fewer := counts - {most}:
                found.setdefault(learner, set()).update(fewer)
                largest.add(most)
    groups = [{*marked}] if marked and {*marked} <= {*found} else []
    groups.append({*found}.difference(*groups))
    said = []
    for learners in filter(None, groups):
        few = several(count for learner in learners for count in found[learner])
        names = "lines with markers" if learners == {*marked} else ", ".join(map(learner_label, sorted(learners)))
        said.append(f"On {few} prompts instead of {several(largest)}: {names}.")
    return said


def last_of_several(evaluation: pd.DataFrame) -> list[str]:
    """A sentence on whose errors a figure shows if its table holds several steps of a run: of those, the last."""
    if not has_several_steps(evaluation):
        return []
    models = evaluation[evaluation["learner_kind"] == "model"]
    steps = several(models.groupby(["experiment", "run"], observed=True)["step"].max())
    return [f"After {steps} training steps, the last in the table."]


def has_several_steps(evaluation: pd.DataFrame) -> bool:
    """Whether a table holds a model's errors at several steps of one run."""
    models = evaluation[evaluation["learner_kind"] == "model"]
    return bool((models.groupby(["experiment", "run"], observed=True)["step"].nunique() > 1).any())
