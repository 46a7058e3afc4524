"""What a report says after its first screen, in the order of importance: training, curricula, data, forgetting, shifts.

A section that would hold nothing is not there, and an experiment of one variant has no section that compares.
"""

from __future__ import annotations

import math
from functools import partial

import pandas as pd

from icl_curriculum import figures
from icl_curriculum.figures.drawing import MOST_VARIANTS
from icl_curriculum.pages.sections import PageSection, drawn
from icl_curriculum.results.comparison.answers import Answer, cell_name, forgotten_in_words
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import single_task
from icl_curriculum.results.comparison.rises import rises_in_words
from icl_curriculum.results.comparison.shown import left_out, shown_variants
from icl_curriculum.results.comparison.sources import Cell, Source, in_cell
from icl_curriculum.results.comparison.summary import Numbers
from icl_curriculum.results.comparison.verdict import lowest_in_words
from icl_curriculum.results.comparison.wording import count, error, listed
from icl_curriculum.results.labels import shift_label
from icl_curriculum.results.shown_metric import shown_metric


def training_section(source: Source, found: Outcomes) -> PageSection:
    """What happened while training: learning curves, and the classes that rose when the next joined."""
    sentences = rises_in_words(source, found)
    if not source.knows_training:
        return PageSection("training", "While training")
    if len(source.variants) == 1:
        pictures = drawn(
            partial(figures.learning_curves, source.learning, source.curriculum, source.evaluation),
            "Shaded: the steps at which the panel's class was in training. Dotted: another class joins or leaves.",
            "Error on fixed prompts of each class against the training step, with the curriculum's blocks. The "
            "sentences above name what rose.",
            wide=True,
            narrow=partial(figures.learning_curves, source.learning, source.curriculum, source.evaluation, narrow=True),
        )
    else:
        pictures = drawn(
            partial(figures.curves_by_variant, found),
            "Mean of the seeds, and their range.",
            "Error on fixed prompts against the training step, a panel for each class and a line for each variant.",
            wide=True,
            narrow=partial(figures.curves_by_variant, found, narrow=True),
        )
    return PageSection("training", "While training", (), pictures, listed=sentences)


def curricula_section(source: Source, found: Outcomes, numbers: Numbers, answered: list[Answer]) -> PageSection:
    """How variants compare at the end of training; empty for one variant."""
    if len(source.variants) == 1:
        return PageSection("curricula", "Curricula")
    overall = [sentence for answer in answered if answer.heading == "All together" for sentence in answer.sentences]
    overall = [text for text in overall if not text.startswith((*_FORGOTTEN, _FAILED))]
    overall += lowest_in_words(found, numbers) + _failed(found)
    # Of a sweep, the first figure says it better than one by names.
    pictures = (
        []
        if source.swept is not None
        else drawn(
            partial(figures.errors_by_seed, found),
            "Final error of every seed; bars: interquartile mean with its interval"
            + (f"; the line is {found.limit}." if found.limit else "."),
            "Final errors of every variant and seed, a panel for each class. The table above has the means.",
            wide=True,
            narrow=partial(figures.errors_by_seed, found, narrow=True),
        )
    )
    heading = "Curricula" if source.swept is None else "Swept values"
    folded = _folded(source, "the final error of every seed") if pictures else ""
    return PageSection("curricula", heading, _said_of_many(found), pictures, listed=overall, folded=folded)


def _folded(source: Source, what: str) -> str:
    """What a fold of figures is called; empty where there are few variants, whose figures are open.

    Of many variants figures are tall, and the sentences above them say the most important of each.
    """
    return f"Figure: {what}" if len(source.variants) > MOST_VARIANTS else ""


#: How the sentences over all cells begin that stand elsewhere on the page, or shorter.
_FORGOTTEN = ("From the end of its block", "Nothing is forgotten")
_FAILED = "Seeds that did not come"


def _failed(found: Outcomes) -> list[str]:
    """How many variants have a seed that did not reach the threshold on something that it was trained on."""
    if not found.limit:
        return []
    trained = found.rows[found.rows["trained"].astype(bool)]
    sign = shown_metric().sign
    failed = trained[sign * trained["error"] > sign * found.threshold]
    if failed.empty:
        return []
    runs, whole = (len(rows[["variant", "seed"]].drop_duplicates()) for rows in (failed, trained))
    return [
        f"{runs} of {whole} runs, of {failed['variant'].nunique()} of {trained['variant'].nunique()} variants, did not "
        f"reach {found.limit} on everything that they were trained on; the tables under “All numbers” have each."
    ]


def _said_of_many(found: Outcomes) -> list[str]:
    """A sentence on the variants that figures show, where they cannot show all."""
    most = max(found.cells, key=lambda cell: len(found.trained_variants(cell)))
    said = left_out(len(shown_variants(found, most)), len(found.trained_variants(most)))
    return [f"{text} The tables have all." for text in said]


def efficiency_section(source: Source, found: Outcomes, numbers: Numbers) -> PageSection:
    """How many prompts it took: against single-task training at equal exposure, and until the threshold."""
    sentences = []
    if found.limit:
        parts, at_once, ever = [], False, False
        for cell in found.cells:
            events = {
                name: numbers("prompts_to_error", "median", name, cell).value for name in found.trained_variants(cell)
            }
            known = {name: value for name, value in events.items() if not math.isnan(value)}
            if not known:
                continue
            first = min(known, key=known.__getitem__)
            at_once |= known[first] == 0
            by = f" with `{first}`" if len(source.variants) > 1 and math.isfinite(known[first]) else ""
            parts.append(f"{cell_name(cell, found.cells)} {count(known[first])}{by}")
            ever |= math.isfinite(known[first])
        if parts and not ever:
            sentences.append(f"No class came to {found.limit} in most of its runs.")
        elif parts:
            of = "Fewest prompts" if len(source.variants) > 1 else "Prompts"
            level = "an error" if shown_metric().chosen is None else f"a {shown_metric().noun}"
            sentences.append(
                f"{of} of a class until {level} of {found.limit} was first reached, median over seeds: {listed(parts)}"
                f"{' (0: before the first prompt of it)' if at_once else ''}."
            )
    pictures = []
    if len(source.variants) > 1:
        for cell, alone in single_task(found.rows).items():
            others = [name for name in shown_variants(found, cell) if name != alone]
            sentences += [
                f"On {cell_name(cell, found.cells)}, after as many prompts of it, the {shown_metric().noun} is {text}."
                for text in _at_equal_exposure(numbers, cell, alone, others)
            ]
        pictures = drawn(
            partial(figures.error_by_exposure, found),
            "Error against the prompts of the panel's class alone that had been seen.",
            "Error against prompts of the class seen, a panel for each class and a line for each variant.",
            wide=True,
            narrow=partial(figures.error_by_exposure, found, narrow=True),
        )
    folded = _folded(source, "error against the prompts of each class")
    return PageSection("efficiency", "Data efficiency", (), pictures, listed=sentences, folded=folded)


def _at_equal_exposure(numbers: Numbers, cell: Cell, alone: str, others: list[str]) -> list[str]:
    """How the others end against the one trained on the cell alone, when both had seen as many prompts of it."""
    lower: list[str] = []
    higher: list[str] = []
    open_: list[str] = []
    few = 0
    for name in others:
        ours = numbers("error_at_equal_exposure", "mean", name, cell, alone)
        theirs = numbers("error_at_equal_exposure", "versus_mean", name, cell, alone)
        made = numbers("error_at_equal_exposure", "paired_difference", name, cell, alone)
        if math.isnan(ours.value):
            continue
        text = f"`{name}` ({error(ours.value)} against {error(theirs.value)})"
        if math.isnan(made.low):
            few += 1
        elif made.high < 0 or made.low > 0:
            (lower if made.high < 0 else higher).append(text)
        else:
            open_.append(f"`{name}`")
    said = [f"lower than that of `{alone}` with {listed(lower)}"] * bool(lower)
    said += [f"higher than that of `{alone}` with {listed(higher)}"] * bool(higher)
    said += [f"not told apart from that of `{alone}` with {listed(open_)}"] * bool(open_)
    said += [f"not judged with {few} of fewer than two seeds in common"] * bool(few)
    return ["; ".join(said)] if said else []


def forgetting_section(source: Source, found: Outcomes, numbers: Numbers) -> PageSection:
    """What was lost after a class left training; empty where none did before the end."""
    if not found.rows["forgotten"].notna().any():
        return PageSection("forgetting", "Forgetting")
    pictures = []
    if len(source.variants) > 1:
        pictures = drawn(
            partial(figures.forgetting, found),
            "From the end of the class's block to the end of training.",
            "Errors at the end of each class's block and at the end of training, seed by seed.",
            wide=True,
            narrow=partial(figures.forgetting, found, narrow=True),
        )
    said, folded = forgotten_in_words(numbers, found.cells), _folded(source, "errors at the end of blocks and of runs")
    return PageSection("forgetting", "Forgetting", (), pictures, listed=said, folded=folded)


def shifts_section(source: Source, found: Outcomes, numbers: Numbers) -> PageSection:
    """Errors out of distribution, each beside that without a shift."""
    if len(source.variants) == 1:
        sentences = _worst_of_one(found, numbers)
        pictures = drawn(
            partial(figures.out_of_distribution, source.evaluation),
            "Each error beside that of the optimum or else of the best baseline on the same prompts.",
            "Errors under every shift, a panel for each class, beside the optimum or the best baseline.",
            narrow=partial(figures.out_of_distribution, source.evaluation, narrow=True),
        ) + drawn(
            partial(figures.heat_map, source.evaluation),
            "The same in numbers.",
            "The model's error on each class under each shift, in numbers.",
        )
    else:
        sentences = [text for cell in found.cells for text in _worst_of_many(found, numbers, cell)]
        pictures = drawn(
            partial(figures.errors_under_shifts, found),
            "The error of every variant under each shift.",
            "Errors under each shift, a panel for each class; the highest of each run stand in the tables.",
            wide=True,
            narrow=partial(figures.errors_under_shifts, found, narrow=True),
        )
    folded = _folded(source, "the error of every variant under each shift")
    return PageSection("shifts", "Out of distribution", (), pictures, listed=sentences, folded=folded)


def _worst_of_many(found: Outcomes, numbers: Numbers, cell: Cell) -> list[str]:
    """The variants that hold up best and worst in a cell under their worst shift, each beside its error without one."""
    rows = found.trained_on(cell)
    rows = rows[rows["worst_error"].notna()]
    shown = shown_metric()
    worst = {str(name): numbers("worst_error", "iqm", str(name), cell).value for name in dict.fromkeys(rows["variant"])}
    order = sorted(worst, key=lambda name: shown.sign * worst[name])
    if not order:
        return []

    def said(name: str) -> str:
        shift = shift_label(str(rows.loc[rows["variant"] == name, "worst_shift"].mode().iloc[0]))
        plain = numbers("error", "iqm", name, cell).value
        return f"{error(worst[name])} against {error(plain)} without a shift ({shift})"

    text = f"On {cell_name(cell, found.cells)}, under the shift that is worst for each, `{order[0]}` has the "
    text += f"{shown.best} {shown.noun}, {said(order[0])}"
    if len(order) > 1:
        text += f"; `{order[-1]}` the {shown.worst}, {said(order[-1])}"
    return [f"{text}."]


def _worst_of_one(found: Outcomes, numbers: Numbers) -> list[str]:
    """The worst shift of each class, with its error beside that without one."""
    parts = []
    for cell in found.cells:
        own: pd.DataFrame = in_cell(found.rows, cell)
        shifted = own[own["worst_error"].notna()]
        if shifted.empty:
            continue
        name = str(shifted["variant"].iloc[0])
        plain, worst = numbers("error", "iqm", name, cell), numbers("worst_error", "iqm", name, cell)
        shift = shift_label(str(shifted["worst_shift"].mode().iloc[0]))
        parts.append(f"{cell_name(cell, found.cells)} {error(worst.value)} against {error(plain.value)} ({shift})")
    if not parts:
        return []
    of = "for each class" if len(parts) > 1 else "for it"
    return [f"Under the shift that is worst {of}, against no shift: {listed(parts)}."]
