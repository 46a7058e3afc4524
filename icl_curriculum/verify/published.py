"""Sets published results of trained transformers beside those of our own finished runs, of that size and of others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean

from icl_curriculum.results import printed as numbers
from icl_curriculum.results.printed import OVER_REFERENCE, Printed
from icl_curriculum.verify.checks import NOT_RUN, Check, CheckOutcome, ModelBesidePrinted
from icl_curriculum.verify.runs import Damaged, RunBesidePrinted, runs_trained_as_printed

#: Where runs are looked for, unless another folder is given.
RESULTS = Path("results")


def checks(results: Path) -> Iterator[Check]:
    """A row for each printed number and each of our experiments that trained such a model. None is judged.

    Under a heading of its own, which tells its size and what its training took, stands each model of another size.
    """
    runs, damaged = runs_trained_as_printed(results)
    for trained_on, group in groupby(numbers.PRINTED, key=lambda printed: printed.trained_on):
        of_class = list(group)
        trained = [run for run in runs if run.trained_on == trained_on]
        of_size = [run for run in trained if run.has_published_size]
        for printed in of_class:
            beside = list(_beside(printed, of_size)) or [_not_run(printed, of_size)]
            for outcome in beside:
                yield Check(f"trained on {trained_on}", str(printed), partial(_same, outcome))
        yield from _of_other_sizes(of_class, [run for run in trained if not run.has_published_size])
    for item in damaged:
        yield Check("damaged, skipped", str(item.path), partial(_same, _skipped(item)))


def _same(outcome: CheckOutcome) -> CheckOutcome:
    return outcome


def _beside(printed: Printed, runs: Sequence[RunBesidePrinted]) -> Iterator[CheckOutcome]:
    """Our errors beside a printed one: the mean over seeds of each experiment and variant that was asked the same."""
    for name, group in groupby(runs, key=lambda run: run.family):
        asked = [run for run in group if printed.asked in run.errors]
        if asked:
            yield _measured(printed, asked, name, f"{max(run.steps for run in asked):,} steps")


def _of_other_sizes(of_class: Sequence[Printed], runs: Sequence[RunBesidePrinted]) -> Iterator[Check]:
    """The rows of models of other sizes: those of one experiment, variant, size and length of training together."""
    alike = sorted(runs, key=lambda run: (run.family, run.size, run.steps, run.seed))
    for _, group in groupby(alike, key=lambda run: (run.family, run.size, run.steps)):
        own = list(group)
        heading = f"trained on {own[0].trained_on}, another size: {_model_of(own)}"
        for printed in of_class:
            if asked := [run for run in own if printed.asked in run.errors]:
                yield Check(heading, str(printed), partial(_same, _measured(printed, asked)))


def _measured(printed: Printed, runs: Sequence[RunBesidePrinted], *notes: str) -> CheckOutcome:
    """Our mean over seeds beside a printed error, with the interval of one seed or the range of several.

    ``notes``: what stands in the note before the seeds, and after their interval.
    """
    found = [run.errors[printed.asked] for run in runs]
    several = len(found) > 1
    low = min(each.value for each in found) if several else found[0].low
    high = max(each.value for each in found) if several else found[0].high
    interval = None if math.isnan(low) or math.isnan(high) else (low, high)
    seeds = f"seed{'s' if several else ''} {', '.join(str(run.seed) for run in runs)}"
    said = [printed.note, *notes[:1], seeds]
    if interval is not None:
        said.append(f"{low:.3g} to {high:.3g}" + ("" if several else " over prompts"))
    return CheckOutcome(
        None, printed.value, _source(printed), fmean(each.value for each in found),
        note=", ".join(part for part in (*said, *notes[1:]) if part), interval=interval,
        expected_interval=printed.interval, model=_model_of(runs),
    )  # fmt: skip


def _model_of(runs: Sequence[RunBesidePrinted]) -> ModelBesidePrinted:
    """The model that some runs trained alike, with what one of them took on average."""

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    prompts, operations = mean([run.prompts for run in runs]), mean([run.operations for run in runs])
    return ModelBesidePrinted(
        runs[0].family, runs[0].size, runs[0].has_published_size, tuple(run.seed for run in runs),
        max(run.steps for run in runs), None if prompts is None else round(prompts),
        None if operations is None else round(operations), mean([run.seconds for run in runs]),
    )  # fmt: skip


def _not_run(printed: Printed, runs: Sequence[RunBesidePrinted]) -> CheckOutcome:
    notes = [printed.note] if printed.note else []
    if runs:
        notes.append(f"{', '.join(dict.fromkeys(run.family for run in runs))}: not asked this")
    return CheckOutcome(
        None, printed.value, _source(printed), NOT_RUN, note=", ".join(notes), expected_interval=printed.interval
    )


def _source(printed: Printed) -> str:
    over = ", over the unscaled trivial error" if printed.metric == OVER_REFERENCE else ""
    return f"Garg et al., {printed.interval_in_words}{over}"


def _skipped(item: Damaged) -> CheckOutcome:
    return CheckOutcome(None, "a finished run", "", item.reason)
