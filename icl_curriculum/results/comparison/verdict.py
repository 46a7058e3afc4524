"""What an experiment says to its question, in one sentence with its numbers and their interval.

A question that begins like one for yes or no ("Does ...?") gets yes, no or not resolved, by one of two rules, which the
sentence states. A question whether something is *learned* or *taught* is decided by the errors at the end of training:
yes where the interval of every class lies below the threshold, no where that of one lies above it. One that *compares*
with training on a class alone ("... sooner than training on each alone?") is decided by the paired differences from
that, class by class: yes where all are for the better, no where all are for the worse. Everything else, and whatever
one seed says, is not resolved.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import single_task
from icl_curriculum.results.comparison.shown import abridged
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.comparison.summary import ALL, SINGLE_TASK, Numbers
from icl_curriculum.results.comparison.wording import between, count, error, listed
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import Estimate

Word = Literal["", "Yes", "No", "Not resolved"]

_YES_OR_NO = re.compile(
    r"\s*(do|does|did|is|are|was|were|can|could|will|would|has|have|had|should|may|must)\b.*\?\s*$", re.I | re.S
)
_LEARNED = re.compile(r"\b(learn|learns|learned|teach|teaches|taught)\b", re.I)
_COMPARED = re.compile(r"\b(than|better|sooner|faster|lower|help|helps|as good|matter|or)\b", re.I)
_ALONE = re.compile(r"\b(alone|single[- ]task)\b", re.I)
_LESS_DATA = re.compile(r"\b(sooner|faster|less data|fewer|efficien\w*)\b", re.I)


@dataclass(frozen=True)
class Verdict:
    """The answer: its ``word``, empty where the question is none for yes or no, and the sentence that gives numbers."""

    word: Word
    sentence: str


def verdict(found: Outcomes, numbers: Numbers, question: str) -> Verdict | None:
    """The verdict on the question of an experiment; None where no variant was trained on any cell.

    ``numbers``: of the experiment's summary; ``question``: the description in its config.
    """
    if not found.rows["trained"].any():
        return None
    facts = _facts(found, numbers)
    if not _YES_OR_NO.match(question):
        return Verdict("", facts)
    if _LEARNED.search(question) and not _COMPARED.search(question) and found.limit:
        return _learned(found, numbers)
    if _COMPARED.search(question) and _ALONE.search(question):
        return _compared(found, numbers, question, facts)
    return Verdict("Not resolved", f"no rule of this report decides that question; {_within(facts)}")


def best_of_all(found: Outcomes, numbers: Numbers) -> str | None:
    """The variant with the best final error over all cells, of those that were trained on all to the most steps."""
    trained = found.rows[found.rows["trained"].astype(bool)]
    of_variant = trained.groupby("variant", sort=False, observed=True)
    whole = [
        str(name) for name, own in of_variant
        if len(own[["function_class", "input_distribution"]].drop_duplicates()) == len(found.cells)
    ]  # fmt: skip
    steps = of_variant["steps"].first()
    whole = [name for name in whole if steps[name] == steps[whole].max()]
    sign = shown_metric().sign
    values = {name: sign * _over_all(found, numbers, name).value for name in whole}
    return min(whole, key=lambda name: math.inf if math.isnan(values[name]) else values[name], default=None)


def _over_all(found: Outcomes, numbers: Numbers, variant: str) -> Estimate:
    """The final error over all cells; of one cell, in that."""
    return numbers("error", "iqm", variant, found.cells[0] if len(found.cells) == 1 else (ALL, ALL))


def _with_interval(made: Estimate) -> str:
    interval = between(made, least=shown_metric().least)
    return error(made.value) + ("" if interval == "–" else f" ({interval})")


def _kind(cells: list[Cell]) -> str:
    one_class, one_input = (len({cell[i] for cell in cells}) == 1 for i in (0, 1))
    return "classes" if one_input else "input distributions" if one_class else "classes with inputs"


def _all(cells: list[Cell]) -> str:
    return f"both {_kind(cells)}" if len(cells) == 2 else f"all {len(cells)} {_kind(cells)}"


def _level(found: Outcomes, made: Estimate) -> str:
    """What the numbers are to be read against: the intervals' level, and the error of knowing nothing."""
    shown = shown_metric()
    parts = [] if math.isnan(made.low) else [f"{found.confidence:.0%} intervals over seeds"]
    if shown.trivial is not None:
        parts.append(f"{shown.trivial:.3g} is {shown.nothing}")
    return f" ({'; '.join(parts)})" if parts else ""


def _ranked(found: Outcomes, numbers: Numbers, variant: str) -> list[tuple[Cell, Estimate]]:
    """The cells that a variant was trained on, with its errors, the best first."""
    made = [
        (cell, numbers("error", "iqm", variant, cell))
        for cell in found.cells if variant in found.trained_variants(cell)
    ]  # fmt: skip
    return sorted(made, key=lambda pair: shown_metric().sign * pair[1].value)


def _at(found: Outcomes, variant: str) -> str:
    own = found.rows[found.rows["variant"] == variant]
    k = sorted({int(n) for n in own["n_context"]})
    examples = f"{k[0]} examples" if len(k) == 1 else f"{k[0]} to {k[-1]} examples"
    return f"after {count(float(own['steps'].max()))} steps, at {examples}"


def _facts(found: Outcomes, numbers: Numbers) -> str:
    """The numbers in a sentence, whatever the question."""
    variants = list(dict.fromkeys(found.rows.loc[found.rows["trained"].astype(bool), "variant"]))
    if len(variants) == 1:
        return _one(found, numbers, variants[0])
    shown, cells = shown_metric(), found.cells
    best = best_of_all(found, numbers)
    if best is None:
        return next(iter(lowest_in_words(found, numbers)))
    made = _over_all(found, numbers, best)
    if len(cells) > 1:
        where = f"of the models trained on {_all(cells)}, `{best}` ends {shown.best} over them"
    else:
        where = f"`{best}` ends {shown.best} on {cell_name(cells[0], cells)}"
    others = []
    for name in [name for name in _joint(found) if name != best]:
        value = _over_all(found, numbers, name)
        if not math.isnan(value.value):
            others.append((shown.sign * value.value, f"`{name}` {_with_interval(value)}"))
    parts = [
        f"{_at(found, best)}, {where}, at {_with_interval(made)}",
        *(f"next is {text}" for _, text in sorted(others)[:1]),
    ]
    alone = numbers("error", "iqm", SINGLE_TASK, (ALL, ALL))
    if len(cells) > 1 and not math.isnan(alone.value):
        parts.append(f"a model for each class alone has {_with_interval(alone)}")
    text = "; ".join(parts) + _level(found, made)
    return f"{text[:1].upper()}{text[1:]}."


def lowest_in_words(found: Outcomes, numbers: Numbers) -> list[str]:
    """A sentence on the best variant of each cell; none of a single cell, or of a single variant."""
    tops, shown = [], shown_metric()
    for cell in found.cells:
        if own := list(found.trained_variants(cell)):
            first = min(own, key=lambda name: shown.sign * numbers("error", "iqm", name, cell).value)
            top = _with_interval(numbers("error", "iqm", first, cell))
            tops.append(f"`{first}` on {cell_name(cell, found.cells)}, {top}")
    return [f"The {shown.best} {shown.noun} of each: {'; '.join(abridged(tops))}."] if tops else []


def _within(sentence: str) -> str:
    """A sentence as a part of another one."""
    return f"{sentence[:1].lower()}{sentence[1:]}"


def _joint(found: Outcomes) -> list[str]:
    trained = found.rows[found.rows["trained"].astype(bool) & ~found.rows["single"].astype(bool)]
    names = trained if len(found.cells) > 1 else found.rows[found.rows["trained"].astype(bool)]
    return [str(name) for name in dict.fromkeys(names["variant"])]


def _one(found: Outcomes, numbers: Numbers, variant: str) -> str:
    """The errors of the only variant."""
    ranked = _ranked(found, numbers, variant)
    if len(ranked) == 1:
        ((cell, made),) = ranked
        text = f"the {shown_metric().noun} of `{variant}` on {cell_name(cell, found.cells)} is {_with_interval(made)}"
    else:
        over = _over_all(found, numbers, variant)
        (first, low), (last, high) = ranked[0], ranked[-1]
        middle = "" if math.isnan(over.value) else f"{_with_interval(over)} over {_all(found.cells)}, "
        text = (
            f"the {shown_metric().noun} of `{variant}` is {middle}from {_with_interval(low)} on "
            f"{cell_name(first, found.cells)} to {_with_interval(high)} on {cell_name(last, found.cells)}"
        )
    at = _at(found, variant)
    return f"{at[:1].upper()}{at[1:]}, {text}{_level(found, ranked[0][1])}."


def _learned(found: Outcomes, numbers: Numbers) -> Verdict:
    """Whether the best variant over all cells came to the threshold in each."""
    variants = list(dict.fromkeys(found.rows.loc[found.rows["trained"].astype(bool), "variant"]))
    variant = best_of_all(found, numbers) or str(variants[0])
    ranked, sign = _ranked(found, numbers, variant), shown_metric().sign
    limit = sign * found.threshold
    ends = {cell: sorted((sign * made.low, sign * made.high)) for cell, made in ranked}
    below = [cell for cell, (_, worst) in ends.items() if worst <= limit]
    above = [(cell, made) for cell, made in ranked if ends[cell][0] > limit]
    between_ = [(cell, made) for cell, made in ranked if cell not in below and not any(cell == c for c, _ in above)]
    at = _at(found, variant)
    side, other = ("below", "above") if sign > 0 else ("above", "below")
    if all(math.isnan(made.low) for _, made in ranked):
        seed = int(found.rows.loc[found.rows["variant"] == variant, "seed"].iloc[0])
        return Verdict(
            "Not resolved", f"one seed ({seed}) says nothing on others; {_within(_one(found, numbers, variant))}"
        )
    if above:
        parts = [f"{cell_name(cell, found.cells)}, {_with_interval(made)}" for cell, made in above]
        text = f"{at}, the {shown_metric().noun} of `{variant}` stays {other} {found.limit} on {listed(parts)}"
        return Verdict("No", f"{text}{_level(found, above[0][1])}.")
    if between_:
        parts = [f"{cell_name(cell, found.cells)}, {_with_interval(made)}" for cell, made in between_]
        text = (
            f"{at}, the interval of the {shown_metric().noun} of `{variant}` does not lie {side} {found.limit} on "
            f"{listed(parts)}, as it does on {len(below)} of {len(ranked)}"
        )
        return Verdict("Not resolved", f"{text}{_level(found, between_[0][1])}.")
    (first, low), (last, high) = ranked[0], ranked[-1]
    if len(ranked) == 1:
        text = f"{at}, the {shown_metric().noun} of `{variant}` is {side} {found.limit}: {_with_interval(low)}"
    else:
        text = (
            f"{at}, the {shown_metric().noun} of `{variant}` is {side} {found.limit} on {_all(found.cells)}, from "
            f"{_with_interval(low)} on {cell_name(first, found.cells)} to {_with_interval(high)} on "
            f"{cell_name(last, found.cells)}"
        )
    return Verdict("Yes", f"{text}{_level(found, low)}.")


def _compared(found: Outcomes, numbers: Numbers, question: str, facts: str) -> Verdict:
    """Whether a variant ends better than training on each class alone, in every class."""
    alone = single_task(found.rows)
    joint = [name for name in _joint(found) if name not in alone.values()]
    if not joint or not alone:
        few = found.rows["variant"].nunique() == 1
        why = "there is one variant, and nothing to compare it with" if few else "no rule of this report decides it"
        return Verdict("Not resolved", f"{why}; {_within(facts)}")
    words = set(re.findall(r"\w+", question.lower()))
    named = [name for name in joint if {*re.findall(r"[a-z0-9]+", name.lower())} <= words]
    best = best_of_all(found, numbers)
    subject = named[0] if named else best if best in joint else joint[0]
    quantity, when = "error", "at the end"
    if _LESS_DATA.search(question):
        quantity, when = "error_at_equal_exposure", "after as many prompts of it"
    sign = shown_metric().sign
    better: list[str] = []
    worse: list[str] = []
    open_: list[str] = []
    for cell, reference in alone.items():
        if subject not in found.trained_variants(cell):
            continue
        made = numbers(quantity, "paired_difference", subject, cell, reference)
        ends = sorted((sign * made.low, sign * made.high)) if not math.isnan(made.low) else [-math.inf, math.inf]
        text = f"{cell_name(cell, found.cells)} by {error(made.value)} ({between(made)})"
        (better if ends[1] < 0 else worse if ends[0] > 0 else open_).append(
            text if not math.isnan(made.low) else cell_name(cell, found.cells)
        )
    if not better and not worse and not open_:
        return Verdict("Not resolved", f"no class was trained both alone and together; {_within(facts)}")
    word: Word = "Yes" if not (worse or open_) else "No" if not (better or open_) else "Not resolved"
    said = [f"{shown_metric().better} on {listed(abridged(better))}"] * bool(better)
    said += [f"{'higher' if sign > 0 else 'lower'} on {listed(abridged(worse))}"] * bool(worse)
    said += [f"not told apart on {listed(abridged(open_))}"] * bool(open_)
    level = f"{found.confidence:.0%} intervals of the paired differences over seeds"
    return Verdict(
        word,
        f"against a model trained on each class alone, the {shown_metric().noun} of `{subject}` {when} is "
        f"{'; '.join(said)} ({level}).",
    )
