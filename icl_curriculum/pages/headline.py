"""What the first screen of a report shows: the main figure, and the table of errors with their references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from icl_curriculum import figures
from icl_curriculum.core.notices import NotShown
from icl_curriculum.pages.sections import Picture, drawn
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import single_task
from icl_curriculum.results.comparison.references import Reference, references
from icl_curriculum.results.comparison.shown import shown_of_all
from icl_curriculum.results.comparison.sources import MODEL, Cell, Source, in_cell
from icl_curriculum.results.comparison.summary import Numbers
from icl_curriculum.results.comparison.verdict import best_of_all
from icl_curriculum.results.comparison.wording import between, error
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import Estimate
from icl_curriculum.results.tables import distinct

#: What stands in the place of a variant for the models that were each trained on one class.
ALONE = "single-task"
#: The same for the best variant of every class, where none was trained on all.
BEST_EACH = "best variant of each class"


def main_figure(source: Source, found: Outcomes, numbers: Numbers) -> list[Picture | NotShown]:
    """Error against the number of examples: the model, or of many two, beside the best baselines and the oracle.

    Of a sweep: error against its parameter.
    """
    if pictures := _by_parameter(source):
        return pictures
    evaluation, shown = chosen_models(source, found, numbers)
    seeds = max((len(set(own["seed"])) for _, own in evaluation.groupby("variant", observed=True)), default=1)
    spread = "bands and thin lines: the seeds" if seeds > 1 else "band: the interval over prompts"
    level = "" if shown_metric().trivial is None else f"; grey: {shown_metric().nothing}"
    of_many = ""
    if len(source.variants) > 1:
        names = " and ".join(f"“{name}”" for name in shown)
        of_many = f" Of {len(source.variants)} variants: {names}."
    return drawn(
        partial(figures.error_by_examples, evaluation),
        f"{shown_metric().noun.capitalize()} at the end of training by the number of examples in the prompt; "
        f"{spread}{level}.{of_many}",
        f"Error against in-context examples, a panel for each of {len(found.cells)} classes, beside the best baselines "
        f"and the oracle. The table below has the errors at the longest prompt.",
        wide=True,
        narrow=partial(figures.error_by_examples, evaluation, narrow=True),
    )


def _by_parameter(source: Source) -> list[Picture | NotShown]:
    """The error against the swept parameter; nothing where there is none with two values."""
    axis = source.swept
    if axis is None or source.sweep is None:
        return []
    lines = len({axis.line_of[variant] for variant in axis.value_of})
    each = "; a line for each of the others' values" if lines > 1 else ""
    return drawn(
        partial(figures.error_by_parameter, source.evaluation, source.sweep),
        f"{shown_metric().noun.capitalize()} at the end of training by {axis.parameter}{each}.",
        f"Error against {axis.words}, {len(axis.places)} values, a panel for each class, beside the best baselines and "
        f"the oracle. The table below has the errors at the longest prompt.",
        wide=True,
        narrow=partial(figures.error_by_parameter, source.evaluation, source.sweep, narrow=True),
    )


def chosen_models(source: Source, found: Outcomes, numbers: Numbers) -> tuple[pd.DataFrame, list[str]]:
    """The evaluation with the rows of the models that the main figure shows, and what these are called.

    Of several variants: the one with the best error over all cells, and beside it the models that were each trained on
    one cell alone, as if they were one variant, or else the next best. Where no variant was trained on all cells, the
    best one of each.
    """
    evaluation = source.evaluation
    if len(source.variants) == 1:
        return evaluation, [source.variants[0]]
    others = evaluation[evaluation["learner_kind"] != "model"]
    models = evaluation[(evaluation["learner"] == MODEL) & (evaluation["shift"] == "none")]
    models = models.assign(variant=models["variant"].astype(object))
    best, alone = best_of_all(found, numbers), single_task(found.rows)
    parts = [models[models["variant"] == best]]
    names = [str(best)]
    if best is None:
        chosen = {cell: _best_in(found, numbers, cell) for cell in found.cells}
        parts, names = [_as_one(models, chosen, BEST_EACH)], [BEST_EACH]
    elif len(found.cells) > 1 and alone:
        parts.append(_as_one(models, alone, ALONE))
        names.append(ALONE)
    else:
        ranked = _ranked_over_all(found, numbers)
        if second := next((name for name in ranked if name != best), None):
            parts.append(models[models["variant"] == second])
            names.append(second)
    return pd.concat([others.assign(variant=others["variant"].astype(object)), *parts], ignore_index=True), names


def _as_one(models: pd.DataFrame, chosen: dict[Cell, str], name: str) -> pd.DataFrame:
    """The rows of each cell's chosen variant, under one name."""
    rows = [in_cell(models[models["variant"] == variant], cell) for cell, variant in chosen.items() if variant]
    return pd.concat(rows, ignore_index=True).assign(variant=name) if rows else models.iloc[:0]


def _best_in(found: Outcomes, numbers: Numbers, cell: Cell) -> str:
    sign = shown_metric().sign
    own = list(found.trained_variants(cell))
    return min(own, key=lambda name: sign * numbers("error", "iqm", name, cell).value, default="")


def _ranked_over_all(found: Outcomes, numbers: Numbers) -> list[str]:
    """The variants that were trained on all cells, the best mean rank first."""
    names = [
        name for name in distinct(found.rows["variant"]) if all(name in found.trained_variants(c) for c in found.cells)
    ]
    ranks = dict.fromkeys(names, 0)
    for cell in found.cells:
        ordered = sorted(names, key=lambda name: shown_metric().sign * numbers("error", "iqm", name, cell).value)
        for rank, name in enumerate(ordered):
            ranks[name] += rank
    return sorted(names, key=lambda name: ranks[name])


@dataclass(frozen=True)
class Shade:
    """An error, ``weight`` from 0 (perfect) to 1 (no better than predicting zero), and whether it was trained on.

    ``beside``: what stands below it: its interval, or the learner's name.
    """

    text: str
    weight: float
    trained: bool
    beside: str = ""


@dataclass(frozen=True)
class ErrorTable:
    """Errors at the end: a row per variant, a column per class, and below them what these are to be read against."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Shade]]]
    references: Sequence[tuple[str, Sequence[Shade]]]
    of: int
    caption: str

    @property
    def left_out(self) -> int:
        """How many variants are not shown."""
        return self.of - len(self.rows)


def error_table(source: Source, found: Outcomes, numbers: Numbers) -> ErrorTable | None:
    """The table of every variant in every cell, of many of both ends; None without an error."""
    cells = found.cells
    given = sheets.asked(found)
    if not given:
        return None
    shown = shown_of_all(found) if len(given) > 1 else list(given)
    one_seed = found.rows["seed"].nunique() == 1
    rows = []
    for variant in [name for name in given if name in shown]:
        shades = []
        for cell in cells:
            one = given[variant].get(cell)
            made = numbers("error", "iqm", variant, cell)
            if one_seed:
                made = _over_prompts(found, variant, cell)
            interval = between(made, least=shown_metric().least) if one is not None and one.trained else "–"
            shades.append(
                Shade("–", np.nan, False) if one is None else _shade(one, "" if interval == "–" else interval)
            )
        rows.append((variant, shades))
    read_against = {cell: references(source, found, cell) for cell in cells}
    lines = [("best baseline", [_reference(read_against[cell].get("baseline")) for cell in cells])]
    lines.append(("optimum", [_reference(read_against[cell].get("oracle"), named=False) for cell in cells]))
    kept = [(name, line) for name, line in lines if any(shade.text != "–" for shade in line)]
    noun = shown_metric().noun
    what = f"{noun.capitalize()} of the one seed" if one_seed else f"Interquartile mean over seeds of the {noun}"
    over, level = ("prompts", found.prompt_confidence) if one_seed else ("seeds", found.confidence)
    caption = f"{what} at the longest prompt; with its {level:.0%} interval over {over}"
    return ErrorTable([cell_name(cell, cells) for cell in cells], rows, kept, len(given), caption)


def _over_prompts(found: Outcomes, variant: str, cell: Cell) -> Estimate:
    """The error of a variant's one seed, with its interval over prompts."""
    own = in_cell(found.rows[found.rows["variant"] == variant], cell)
    value, low, high = (
        float(own[name].iloc[0]) if len(own) else np.nan for name in ("error", "error_low", "error_high")
    )
    return Estimate(value, low, high, 1)


def _reference(one: Reference | None, *, named: bool = True) -> Shade:
    if one is None:
        return Shade("–", np.nan, False)
    text = "0" if abs(one.value) < 1e-9 else error(one.value)
    return Shade(text, np.nan, False, one.name if named else "")


#: Errors at and below this have the lightest shade.
_LIGHTEST = 0.003


def _shade(one: sheets.CellError, beside: str) -> Shade:
    """The shade goes by the logarithm of the error, as a share of that of who knows nothing; none where it has none."""
    shown = shown_metric()
    if shown.trivial is None:
        return Shade(error(one.value), np.nan, one.trained, beside)
    up = shown.improves == "up"  # to 1, if perfect
    share = (1 - one.value) / (1 - shown.trivial) if up else one.value / shown.trivial
    bounded = min(1.0, max(_LIGHTEST, share)) if not np.isnan(share) else 1.0
    return Shade(error(one.value), 1 - float(np.log(bounded) / np.log(_LIGHTEST)), one.trained, beside)
