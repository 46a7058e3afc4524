"""The metrics beside the one that the page is about: a table for each cell, at the end of training."""

from __future__ import annotations

import pandas as pd

from icl_curriculum.pages.sections import PageSection, PageTable
from icl_curriculum.results.chosen_metric import choose_metric
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import MODEL, Source, in_cell
from icl_curriculum.results.comparison.wording import error
from icl_curriculum.results.labels import learner_label
from icl_curriculum.results.shown_metric import of_shown
from icl_curriculum.results.tables import distinct

#: They say the same as the normalized error, in other units.
_SCALED = ("squared_error", "error_over_reference")


def other_metrics_sections(source: Source, found: Outcomes) -> list[PageSection]:
    """The section, or none where the tables have no other metric."""
    evaluation = source.evaluation
    shown_here = set(of_shown(evaluation)["metric"])
    ids = [name for name in distinct(evaluation["metric"]) if name not in (*_SCALED, *shown_here)]
    if not ids:
        return []
    shown = {name: choose_metric(source.directory, name) for name in ids}
    sentences = [
        f"Means over seeds at the longest prompt of training; `icl plot`, `icl compare` and `icl report` show one of "
        f"these in the place of the normalized error by `--metric {ids[0]}`."
    ]
    tables = []
    for cell in found.cells:
        rows = in_cell(evaluation[evaluation["shift"] == "none"], cell)
        rows = rows[rows["metric"].isin(ids)]
        known = [name for name in ids if (rows["metric"] == name).any()]
        if not known:
            continue
        longest = int(rows.loc[rows["learner"] == MODEL, "n_context"].max())
        k = int(in_cell(found.rows, cell)["n_context"].max()) if len(in_cell(found.rows, cell)) else longest
        made = sheets.Sheet(["learner", *(_heading(shown[name].titles[name], shown[name].improves) for name in known)])
        for learner, own in _learners(rows[rows["n_context"] == k]):
            means = own.groupby("metric", observed=True)["value"].mean()
            values = [float(means.get(name, float("nan"))) for name in known]
            made.add(learner, *(sheets.SheetEntry(error(value), value) for value in values))
        tables.append(PageTable(f"{cell_name(cell, found.cells)}: other metrics at {k} examples", made))
    return [PageSection("other-metrics", "Other metrics", sentences, tables=tables)] if tables else []


def _heading(title: str, improves: str) -> str:
    return title if improves == "down" else f"{title} (more is better)"


def _learners(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each variant at its last step, then those of each learner that does not train."""
    models = rows[rows["learner"] == MODEL]
    last = models.groupby("run", observed=True)["step"].transform("max")
    models = models[models["step"] == last]
    found = [(str(variant), own) for variant, own in models.groupby("variant", sort=False, observed=True)]
    others = rows[rows["learner_kind"] != "model"]
    return found + [
        (learner_label(str(learner)), own) for learner, own in others.groupby("learner", sort=False, observed=True)
    ]
