"""Which of many lines have a colour and a name of their own in a figure; all others are thin, grey and counted."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.lines import Line2D

from icl_curriculum.figures.names import LearnerStyle
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.pairs import reference_of
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.statistics.seeds import interquartile_mean

#: The most entries of a legend, unless more are asked for by name.
MOST_ENTRIES = 6

#: The look of everything that has no entry of its own.
OTHER = LearnerStyle("#A8A8A8", "-", ".", 0.7)


def emphasised(
    ranked: Sequence[str], room: int = MOST_ENTRIES, *, first: Iterable[str] = (), always: Collection[str] = ()
) -> list[str]:
    """The names that have entries of their own, in the order given; one entry is for all others if not all fit.

    ``ranked``: all, the best first. ``first``: those that the others are compared with. After these come the best, the
    worst, and the next best. ``always``: those that were asked for, which have entries even where there is no room.

    >>> emphasised(["a", "b", "c", "d", "e"], 4, first=["c"])
    ['a', 'c', 'e']
    """
    if len(ranked) <= room:
        return list(ranked)
    order = dict.fromkeys([*always, *first, *ranked[:1], *ranked[-1:], *ranked])
    kept = {*[name for name in order if name in ranked][: max(room - 1, 1)], *always}
    return [name for name in ranked if name in kept]


def others_entry(count: int) -> dict[str, Artist]:
    """The entry of a legend for all that have none of their own."""
    if not count:
        return {}
    handle = Line2D([], [], color=OTHER.colour, linewidth=OTHER.width, marker=OTHER.marker, markersize=4)
    return {"1 other" if count == 1 else f"{count} others": handle}


def how_to_see_all(experiment: str) -> str:
    """The sentence of a note on variants that are grey."""
    return f"Grey: other variants; icl plot {experiment} --variant NAME, or all, gives them colours and names."


def variant_entries(outcomes: Outcomes, names: Sequence[str], alone: Mapping[str, Cell]) -> dict[str, str]:
    """The legend's words for each of the variants that have an entry; the others are grey.

    Where there are too many for an entry each, variants that were each trained on one cell share one: their lines stand
    in different panels. Of what is still too much, entries go first to what others are compared with, then to the best
    and the worst by their mean rank over cells. ``alone``: the cell of each variant that trains on one cell only.
    """
    room = MOST_ENTRIES - bool(outcomes.optimum)
    if len(names) <= room:
        return {name: name for name in names}
    entries = _shared(names, alone, several_inputs=outcomes.rows["input_distribution"].nunique() > 1)
    ranks = _ranks(outcomes, names)
    members: dict[str, list[str]] = {}
    for name, entry in entries.items():
        members.setdefault(entry, []).append(name)
    means = {entry: sum(ranks[name] for name in own) / len(own) for entry, own in members.items()}
    references = [reference_of(outcomes, cell) for cell in outcomes.cells]
    kept = emphasised(
        sorted(members, key=means.__getitem__), room,
        first=[entries[name] for name in references if name in entries],
        always={entries[name] for name in outcomes.named if name in entries},
    )  # fmt: skip
    return {name: entry for name, entry in entries.items() if entry in kept}


def _shared(names: Sequence[str], alone: Mapping[str, Cell], *, several_inputs: bool) -> dict[str, str]:
    """An entry for each variant; those that are the first of their cell to train on it alone share one, and so on."""
    seen: dict[Cell, int] = {}
    by_rank: dict[int, list[str]] = {}
    for name in names:
        if (cell := alone.get(name)) is not None:
            seen[cell] = seen.get(cell, -1) + 1
            by_rank.setdefault(seen[cell], []).append(name)
    entries = {name: name for name in names}
    what = "class and inputs" if several_inputs else "class"
    for rank, own in by_rank.items():
        if len(own) > 1:
            start = _common_words(own)
            number = "" if start or rank == 0 else f", {rank + 1}"
            words = f"{start}…: one {what} each" if start else f"one {what} each{number}"
            entries |= dict.fromkeys(own, words)
    return entries


def _common_words(names: Sequence[str]) -> str:
    """The whole words that names begin with.

    >>> _common_words(["single_linear", "single_lasso"]), _common_words(["linear", "lasso"])
    ('single', '')
    """
    words = [re.findall(r"[^_\-/. ]+[_\-/. ]*", name) for name in names]
    same = itertools.takewhile(lambda each: len({*each}) == 1, zip(*words, strict=False))
    return "".join(each[0] for each in same).rstrip("_-/. ")


def _ranks(outcomes: Outcomes, names: Collection[str]) -> dict[str, float]:
    """The mean rank of each variant, from 0 to 1, over the cells that it was trained on; 1 where it has no error."""
    found: dict[str, list[float]] = {name: [] for name in names}
    sign = shown_metric().sign
    for cell in outcomes.cells:
        errors = {
            name: sign * float(interquartile_mean(rows["error"]))
            for name, rows in outcomes.trained_variants(cell).items()
            if name in found
        }
        order = sorted(errors, key=lambda name: (errors[name] != errors[name], errors[name]))
        for rank, name in enumerate(order):
            found[name].append(rank / max(len(order) - 1, 1))
    return {name: sum(own) / len(own) if own else 1.0 for name, own in found.items()}
