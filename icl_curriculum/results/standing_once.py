"""Baselines and oracles in an experiment's evaluation.csv: they answer a bank once, and stand there once.

A run's own table has them beside its model. In the experiment's, which holds all runs, their rows would be the same for
every seed. There they stand at the end: with ``run``, ``variant``, ``seed`` and ``step`` empty, where every run has the
same numbers; else once for each variant, with ``variant`` alone given, as variants may ask other banks; and where even
the seeds of a variant differ, as in the last digits between two machines, for each run as in its own table.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping

from icl_curriculum.results.columns import TABLES, csv_text, format_value

_HEADER = TABLES["evaluation"].header
_EXPERIMENT, _RUN, _VARIANT = (_HEADER.index(name) for name in ("experiment", "run", "variant"))
_KIND = _HEADER.index("learner_kind")
#: The columns of a run end here, and those that tell a learner and a bank there; then comes `in_distribution`.
_OF_RUN, _OF_BANK = _HEADER.index("learner"), _HEADER.index("in_distribution")


@dataclasses.dataclass
class _Answers:
    """The numbers of a learner on a bank, a line for each length and metric, and whose they are.

    ``runs``: the columns of each run that has them, by its name; ``inside``: by variant, for each line, whether the
    prompts are in distribution for it.
    """

    lines: list[str]
    runs: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    inside: dict[str, list[bool]] = dataclasses.field(default_factory=dict)

    def of(self, variant: str) -> list[list[str]]:
        return [run for run in self.runs.values() if run[_VARIANT] == variant]

    def rows(self, run: Iterable[str], bank: str, variants: Collection[str]) -> str:
        """The lines with these columns of a run, in distribution where they are for any of the variants."""
        start = f"{csv_text([[*run]])[:-1]},{bank}"
        known = zip(*(self.inside[variant] for variant in variants), strict=True)
        parts = zip(known, self.lines, strict=True)
        return "".join(f"{start},{format_value(any(inside))},{line}\n" for inside, line in parts)


def standing_once(runs: Iterable[str]) -> Iterator[str]:
    """The rows of an experiment's evaluation.csv, in parts, from the rows of each of its runs.

    First those of the models, run by run, then those of all other learners.
    """
    found: dict[str, dict[str, _Answers]] = {}
    variants: dict[str, set[str]] = {}
    for text in runs:
        models, others = _split(text)
        yield models
        for (run, bank), lines in others.items():
            variants.setdefault(run[_VARIANT], set()).add(run[_RUN])
            flags, numbers = zip(*(line.split(",", 1) for line in lines), strict=True)
            answers = found.setdefault(bank, {}).setdefault("\n".join(numbers), _Answers([*numbers]))
            answers.runs[run[_RUN]] = [*run]
            inside = [flag == format_value(True) for flag in flags]
            before = answers.inside.get(run[_VARIANT], inside)
            answers.inside[run[_VARIANT]] = [one or other for one, other in zip(before, inside, strict=True)]
    for bank, each in found.items():
        yield from _placed(bank, list(each.values()), variants)


def _placed(bank: str, found: list[_Answers], variants: Mapping[str, Collection[str]]) -> Iterator[str]:
    """The rows of a learner on a bank: of all runs, of each variant, or of each run."""
    first = found[0]
    (experiment,) = {run[_EXPERIMENT] for run in first.runs.values()} or {""}
    if len(found) == 1 and len(first.runs) == sum(map(len, variants.values())):
        yield first.rows([experiment, "", "", "", ""], bank, variants)
        return
    for variant, names in variants.items():
        having = [answers for answers in found if variant in answers.inside]
        if len(having) == 1 and len(having[0].of(variant)) == len(names):
            yield having[0].rows([experiment, "", variant, "", ""], bank, [variant])
            continue
        for answers in having:
            for run in answers.of(variant):
                yield answers.rows(run, bank, [variant])


def _split(text: str) -> tuple[str, dict[tuple[tuple[str, ...], str], list[str]]]:
    """A run's rows: those of its models, and what follows the columns of run and bank in those of others."""
    models: list[str] = []
    others: dict[tuple[tuple[str, ...], str], list[str]] = {}
    prefix, is_model = "", False
    lines: list[str] = []
    for line in text.split("\n")[:-1]:
        # Rows of one learner and bank follow each other, and parsing each of them would take a hundred times as long.
        if not prefix or not line.startswith(prefix):
            (row,) = csv.reader([line])
            prefix = csv_text([row[:_OF_BANK]])[:-1] + ","
            is_model = row[_KIND] == "model"
            if not is_model:
                bank = csv_text([row[_OF_RUN:_OF_BANK]])[:-1]
                lines = others.setdefault((tuple(row[:_OF_RUN]), bank), [])
        if is_model:
            models.append(f"{line}\n")
        else:
            lines.append(line[len(prefix) :])
    return "".join(models), others
