"""Whom the models answer like: the report's section on prediction_differences.csv."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial

import pandas as pd

from icl_curriculum import figures
from icl_curriculum.core.notices import NotShown
from icl_curriculum.figures.drawing import MOST_VARIANTS
from icl_curriculum.pages.sections import PageSection, Picture, drawn
from icl_curriculum.results.closest import Closest, closest, final_differences, shown_lengths
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.outcomes import Outcomes, by_variant
from icl_curriculum.results.comparison.shown import left_out, shown_variants
from icl_curriculum.results.comparison.sources import Cell, Source, in_cell
from icl_curriculum.results.comparison.wording import between, error, listed
from icl_curriculum.results.labels import learner_label
from icl_curriculum.results.tables import distinct

_ABOUT = (
    "How far the predictions of a model are from those of each learner that does not train, on the same prompts: the "
    "mean squared difference over E f², 0 where the two answer alike. Intervals: {level}, over {over}. Learners are "
    "not told apart where it is open which of them is closer."
)


def similarity_sections(source: Source, found: Outcomes) -> list[PageSection]:
    """The section, or none where no run has compared predictions."""
    if source.differences is None or source.differences.empty:
        return []
    rows = final_differences(source.differences)
    if rows.empty:
        return []
    variants = distinct(rows["variant"])
    over = "seeds" if rows.groupby("variant", observed=True)["seed"].nunique().max() > 1 else "prompts"
    sentences = [_ABOUT.format(level=f"{found.confidence:.0%}", over=over)]
    pictures: list[Picture | NotShown] = []
    of_cells = {cell: shown_variants(found, cell) for cell in found.cells}
    sentences += _which(found, of_cells)
    of_variants = by_variant(rows)
    for variant in variants:
        cells = [cell for cell, shown in of_cells.items() if variant in shown]
        said = _sentences(of_variants[variant], variant, found, cells)
        sentences += said
        if len(variants) <= MOST_VARIANTS:
            pictures += drawn(
                partial(figures.prediction_differences, source.differences, variant=variant),
                "Outlined: the closest learner of each column. prediction_differences.csv has the numbers at every "
                "length, with intervals.",
                f"Differences between the predictions of {variant} and those of other learners by class, number of "
                f"examples and shift. The sentences above name the closest, with numbers.",
                wide=True,
            )
    if len(variants) > MOST_VARIANTS:
        sentences.append(f"`icl plot {source.name} --variant all` draws the differences of each variant.")
    return [PageSection("alike", "Whom they answer like", sentences, pictures)]


def _which(found: Outcomes, shown: dict[Cell, list[str]]) -> list[str]:
    """A sentence on the variants that are spoken of, where not all are."""
    most = max(shown, key=lambda cell: found.trained_on(cell)["variant"].nunique(), default=None)
    said = [] if most is None else left_out(len(shown[most]), found.trained_on(most)["variant"].nunique())
    return [f"{text} prediction_differences.csv has all." for text in said]


def _sentences(rows: pd.DataFrame, variant: str, found: Outcomes, cells: Sequence[Cell]) -> list[str]:
    """One sentence for each of the cells that the variant was trained on."""
    said = []
    for cell in cells:
        own = in_cell(rows[(rows["shift"] == "none") & rows["in_distribution"].astype(bool)], cell)
        most = int(own["n_prompts"].max()) if len(own) else 0
        at = filter(None, (closest(own, k, confidence=found.confidence) for k in shown_lengths(own)))
        parts = [
            f"{_names(learners)} at {listed([_at(made, most) for made in group])}"
            for learners, group in itertools.groupby(at, key=lambda made: made.learners)
        ]
        if parts:
            said.append(f"On {cell_name(cell, found.cells)}, `{variant}` answers most like {'; '.join(parts)}.")
    return said


def _names(learners: Sequence[str]) -> str:
    return listed(list(map(learner_label, learners))) + " (which answer alike)" * (len(learners) > 1)


def _at(made: Closest, most: int) -> str:
    """How close it is at one length. ``most``: the prompts that others were asked."""
    interval = [] if math.isnan(made.difference.low) else [between(made.difference, least=0.0)]
    numbers = ", ".join([error(made.difference.value), *interval])
    few = f" on {made.n_prompts} prompts" if made.n_prompts < most else ""
    contested = f"; not told apart from {listed(list(map(learner_label, made.contested)))}" if made.contested else ""
    return f"k = {made.k} ({numbers}{few}{contested})"
