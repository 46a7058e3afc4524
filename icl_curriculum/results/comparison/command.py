"""What `icl compare` and `icl report` do before they show it: open, hold side by side, write summary.csv."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from icl_curriculum.core.arguments import as_finite, as_path, as_paths, whole_number
from icl_curriculum.core.component import LARGEST
from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.files import check_writable
from icl_curriculum.core.notices import NotShown, said_if_not_shown
from icl_curriculum.core.options import option
from icl_curriculum.results.chosen_metric import choose_metric
from icl_curriculum.results.collecting import COLLECTED
from icl_curriculum.results.comparison import comparable
from icl_curriculum.results.comparison.answers import Answer, answers
from icl_curriculum.results.comparison.differing import differing_settings
from icl_curriculum.results.comparison.outcomes import Outcomes
from icl_curriculum.results.comparison.sources import Source, open_source
from icl_curriculum.results.comparison.summary import Numbers, as_table, summary_rows, write_summary
from icl_curriculum.results.device_kinds import mixed_devices
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.shown_metric import USUAL, ShownMetric, showing, shown_metric
from icl_curriculum.results.surveying import survey
from icl_curriculum.results.tables import read_table


@dataclass(frozen=True)
class Compared:
    """Everything that experiments say together, and where it was written."""

    sources: list[Source]
    found: Outcomes
    numbers: Numbers
    answers: list[Answer]
    path: Path
    #: What could not be said of them.
    missed: tuple[NotShown, ...] = ()
    #: The metric that it is all about.
    shown: ShownMetric = USUAL

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """The table summary.csv: every number that is said."""
        return read_table(self.path.parent, "summary")

    @property
    def missing(self) -> tuple[str, ...]:
        """Sentences on what the experiments lack, on what keeps them from being paired, and on all they differ in."""
        own = dict.fromkeys(text for source in self.sources for text in source.missing)
        together = (*mixed_devices(self.found.devices), *differing_settings(self.sources))
        return (*own, *(text for text in together if text not in own))

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on what the experiments lack, and on what could not be said of them."""
        return (*self.missing, *map(str, self.missed))

    def __repr__(self) -> str:
        named = ", ".join(source.name_beside for source in self.sources)
        said = [line for answer in self.answers for line in (answer.heading, *answer.sentences)]
        return "\n".join([f"Comparison of {named}, in {self.path}", *(line.replace("`", "") for line in said)])


def compare(
    names: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    against: str | None = None,
    threshold: float | None = None,
    examples: int | None = None,
    metric: str | None = None,
    all_pairs: bool = False,
    output: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] = "results",
) -> Compared:
    """Set experiments side by side, or the variants of one, as ``icl compare`` does, and write summary.csv.

    ``names``: one or several experiments, by name in ``results`` or by folder. ``threshold``: the error that counts as
    learned, by default 0.5; the other arguments are those of `set_side_by_side`, and so is what is raised. Returns
    what is said of them: ``summary``, the table, ``answers`` in words, ``notes`` on what is missing, and the ``path``
    of summary.csv.
    """
    return set_side_by_side(
        [os.fsdecode(name) for name in as_paths(names, "names")],
        as_path(results, "results"),
        threshold=as_finite(threshold, "threshold"),
        metric=metric,
        output=None if output is None else as_path(output, "output"),
        against=against,
        examples=None if examples is None else whole_number(examples, "examples", least=0, most=LARGEST),
        all_pairs=all_pairs,
    )


def set_side_by_side(
    names: Sequence[str],
    results: Path,
    *,
    threshold: float | None = None,
    metric: str | None = None,
    output: Path | None = None,
    against: str | None = None,
    examples: int | None = None,
    all_pairs: bool = False,
) -> Compared:
    """Set experiments side by side, or the variants of one, and write summary.csv.

    It goes into ``output``, by default the experiment's own folder, or of several ``results``/compare. ``examples``:
    the prompt length at which errors are taken, by default the longest; another one has a folder of its own within,
    ``examples_K``. ``metric``: the id of one that is compared in the place of the normalized error, in a folder of its
    own, too, ``metric_<id>``. ``threshold``: what counts as learned, 0.5 of the normalized error. ``all_pairs``:
    compare each variant with each of the others, also where `compared_with` would leave some out. Raises UserError,
    before anything is written, if a table is missing or damaged, if no variant has the name ``against``, and, saying
    why, for what is not comparable.
    """
    folders = [find_results(name, results) for name in names]
    for number, folder in enumerate(folders):
        if any(folder.resolve() == other.resolve() for other in folders[:number]):
            raise UserError(f"{folder} is named twice; expected every experiment once")
    folder = folders[0] if len(folders) == 1 else results / "compare"
    if output is None and len(folders) > 1 and _is_experiment(folder):
        raise UserError(
            f"{folder} is the folder of an experiment; say by {option('--output')} where the comparison is to go"
        )
    labels = told_apart(folders)
    sources = [
        dataclasses.replace(open_source(folder), label=label) for folder, label in zip(folders, labels, strict=True)
    ]
    chosen = [choose_metric(source.directory, metric) for source in sources]
    if any(other != chosen[0] for other in chosen):
        chosen = [dataclasses.replace(chosen[0], trivial=None)]
    with showing(chosen[0]):
        comparable.check(sources)
        if examples is not None:
            folder /= f"examples_{examples}"
        folder /= chosen[0].folder
        return _compared(sources, threshold, output or folder, against, examples, all_pairs=all_pairs)


def told_apart(folders: Sequence[Path]) -> list[str]:
    """The names of folders, with as many of the folders that they lie in as tell those of one name apart.

    >>> told_apart([Path("/old/results/mixed"), Path("/new/results/mixed"), Path("/new/results/random")])
    ['old/results/mixed', 'new/results/mixed', 'random']
    """
    parts = [folder.resolve().parts for folder in folders]
    labels = []
    for own in parts:
        others = [other for other in parts if other is not own and other != own]
        length = next(n for n in range(1, len(own) + 1) if all(own[-n:] != other[-n:] for other in others))
        labels.append("/".join(own[-length:]))
    return labels


def _is_experiment(folder: Path) -> bool:
    """Whether a folder holds runs, or tables that were collected from some."""
    found = survey(folder)
    return bool(found.finished or found.unfinished or found.damaged or (folder / COLLECTED).is_file())


def describe(directory: Path, *, threshold: float | None = None) -> Compared:
    """The same of one experiment's folder; variants that are not comparable are a notice in its report, no error.

    By the metric that is shown at this moment.
    """
    return _compared([open_source(directory)], threshold, directory / shown_metric().folder)


def _compared(
    sources: list[Source], threshold: float | None, folder: Path, against: str | None = None,
    examples: int | None = None,
    *, all_pairs: bool = False,
) -> Compared:  # fmt: skip
    least = shown_metric().least
    if threshold is not None and not least < threshold < math.inf:
        expected = "a number above 0" if least == 0 else "a finite number"
        raise UserError(f"{option('--error')}: expected {expected}, found {threshold:g}")
    found = comparable.together(sources, threshold=threshold, examples=examples)
    variants = set(found.rows["variant"])
    if against is not None and against not in variants:
        raise UserError(f"{option('--against')}: no variant {against!r}{did_you_mean(against, variants)}")
    check_writable(folder)
    found = dataclasses.replace(found, named=(against,) if against else ())
    rows = list(summary_rows(found, against=against))
    path = folder / "summary.csv"
    # All pairs are not held, as nothing but the file has them.
    write_summary(path, summary_rows(found, against=against, all_pairs=True) if all_pairs else rows)
    numbers = Numbers(as_table(rows))
    missed: list[NotShown] = []
    said: list[Answer] = []
    with said_if_not_shown("the answers in words", "given", missed=missed.append):
        said = answers(found, numbers)
    shown = shown_metric().of(sources[0].evaluation)
    return Compared(sources, found, numbers, said, path, tuple(missed), shown)
