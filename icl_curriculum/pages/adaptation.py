"""Models that adapted at test time: the report's section on their rows of evaluation.csv."""

from __future__ import annotations

from functools import partial

import pandas as pd

from icl_curriculum import figures
from icl_curriculum.figures.drawing import MOST_VARIANTS
from icl_curriculum.pages.sections import PageSection, drawn
from icl_curriculum.results.comparison.sources import Source


def adaptation_sections(source: Source) -> list[PageSection]:
    """The section, or none where no model was adapted."""
    if source.adapted is None or source.adapted.empty:
        return []
    pictures = drawn(
        partial(figures.adaptation, pd.concat([source.evaluation, source.adapted])),
        "Error at the longest trained prompts against the steps of the adaptation; 0 steps are the model as it is.",
        "Errors of adapted models against their steps, cell by cell; evaluation.csv has the numbers.",
        wide=True,
        narrow=partial(figures.adaptation, pd.concat([source.evaluation, source.adapted]), narrow=True),
    )
    sentences = [
        "Before it answers, a copy of the trained model takes gradient steps on other prompts of the same cell, or, "
        "per prompt, on the prompt's own examples."
    ]
    folded = "Figure: error by the steps of the adaptation" if len(source.variants) > MOST_VARIANTS else ""
    return [PageSection("adaptation", "Adapting at test time", sentences, pictures, folded=folded)] if pictures else []
