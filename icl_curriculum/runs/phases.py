"""Runs whose banks are answered in parts: trained, then asked by several units at once, then put together.

Each phase is a launch of its own, since a launcher takes its units all at once. The last one executes the runs as they
are without parts: it finds the answers and writes the tables, and answers whatever is missing, so that what a part
could not do costs time and no more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.execution import Progress, Report, directory_of
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.part_work import is_answerable
from icl_curriculum.runs.parts import RunPart, Work, run_name_of, slices_of

Started = Callable[[str], None]
Ended = Callable[[str, RunFailure | None], None]


class Execute(Protocol):
    """Executes units for some work, wherever that is, and returns the failures, each with the name of its unit."""

    def __call__(
        self, works: Sequence[Work], *, report: Report, started: Started, ended: Ended
    ) -> list[RunFailure]: ...


def execute_in_parts(
    runs: Sequence[Run],
    results: Path,
    parts: int,
    execute: Execute,
    *,
    report: Report,
    started: Started,
    ended: Ended,
    note: Callable[[str], None],
) -> list[RunFailure]:
    """Execute runs, each of which is evaluated by so many units; the failures, each with the name of its run.

    A part that fails is told of by ``note``, and the run itself then meets what made it fail.
    """
    view = _RunsView(report, started, ended)
    to_train = first_works(runs, results, parts, training=True)
    failed = {failure.run for failure in execute(to_train, **view.training())} if to_train else set()
    lost = {part.run.name for part in to_train if part.name in failed}
    trained = [run for run in runs if run.name not in lost]
    to_ask = [run for run in trained if is_answerable(run, directory_of(run, results))]
    slices = [part for run in to_ask for part in slices_of(run, parts)]
    for failure in execute(slices, **view.answering(slices)) if slices else ():
        note(f"{failure.message}; these banks are asked again by the run itself")
    return [*view.failures, *(execute(trained, **view.finishing()) if trained else ())]


def first_works(runs: Sequence[Run], results: Path, parts: int, *, training: bool = False) -> list[RunPart]:
    """What is executed first for runs that are not finished: the trainings, or where all are trained, the answers.

    ``training``: the trainings, even if there are none.
    """
    waiting = [run for run in runs if not is_answerable(run, directory_of(run, results))]
    if waiting or training:
        return [RunPart(run) for run in waiting]
    return [part for run in runs for part in slices_of(run, parts)]


class _RunsView:
    """Tells of runs while what is executed are parts of them: every run starts once and ends once.

    ``failures``: those of trainings, which are the runs' own.
    """

    def __init__(self, report: Report, started: Started, ended: Ended) -> None:
        self.report, self._started, self._ended = report, started, ended
        self.failures: list[RunFailure] = []
        self._known: set[str] = set()
        self._parts: dict[str, _Answering] = {}

    def training(self) -> dict[str, Callable[..., None]]:
        """Who is told of the units that train."""
        return {"report": self._of_training, "started": self._begin, "ended": self._trained}

    def answering(self, slices: Sequence[RunPart]) -> dict[str, Callable[..., None]]:
        """Who is told of the units that answer banks."""
        by_run: dict[str, list[RunPart]] = {}
        for part in slices:
            by_run.setdefault(part.run.name, []).append(part)
        self._parts = {part.name: told for own in by_run.values() for told in [_Answering(own)] for part in own}
        return {"report": self._of_answers, "started": self._begin, "ended": self._answered}

    def finishing(self) -> dict[str, Callable[..., None]]:
        """Who is told of the units that execute the runs themselves."""
        return {"report": self.report, "started": self._begin, "ended": self._ended}

    def _begin(self, unit: str) -> None:
        run = run_name_of(unit)
        if run not in self._known:
            self._known.add(run)
            self._started(run)

    def _of_training(self, progress: Progress) -> None:
        self.report(dataclasses.replace(progress, run=run_name_of(progress.run)))

    def _trained(self, unit: str, failure: RunFailure | None) -> None:
        run = run_name_of(unit)
        if failure is not None:
            self.failures.append(dataclasses.replace(failure, run=run))
            self._ended(run, self.failures[-1])
        else:
            self.report(Progress(run, "trained", 0, 0))

    def _of_answers(self, progress: Progress) -> None:
        told = self._parts[progress.run]
        if progress.warning or not progress.total:
            self.report(dataclasses.replace(progress, run=told.run))
        else:
            self.report(told.with_news(progress))

    def _answered(self, unit: str, failure: RunFailure | None) -> None:
        told = self._parts[unit]
        if failure is None:
            self.report(told.with_news(Progress(unit, "evaluation", told.banks[unit], told.banks[unit])))


class _Answering:
    """How far the parts that answer the banks of one run are, all together."""

    def __init__(self, parts: Sequence[RunPart]) -> None:
        self.run = parts[0].run.name
        self.banks = {part.name: len(part.banks()) for part in parts}
        self._latest: dict[str, Progress] = {}

    def with_news(self, progress: Progress) -> Progress:
        """How far the run is, after what one of its parts has said. The speeds of those at work add up."""
        self._latest[progress.run] = progress
        latest = self._latest.values()
        at_work = [item for item in latest if item.done < item.total]
        rate = sum(item.rate or 0.0 for item in at_work)
        detail = progress.detail or (f"{len(at_work)} parts at once" if len(at_work) > 1 else "")
        done = sum(item.done for item in latest)
        return Progress(self.run, "evaluation", done, sum(self.banks.values()), rate=rate or None, detail=detail)
