"""An experiment from start to end: its runs, its tables, its figures, its summary and its report.

The command line and Python's `run` both go through `carry_out`, so they leave the same files.
"""

from __future__ import annotations

import dataclasses
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum import figures
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import AnyExperiment, load
from icl_curriculum.core.arguments import as_path, as_texts, whole_number
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.machine import resolve_device
from icl_curriculum.core.notebook import ProgressBoard
from icl_curriculum.core.notices import LeftOut, said_if_not_shown
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation.benchmark_banks import drawn_alike
from icl_curriculum.launchers.base import Launcher
from icl_curriculum.pages import WrittenReport, report_on
from icl_curriculum.results.predictions import check_format
from icl_curriculum.results.scorecard.command import write_scorecard
from icl_curriculum.results.transfer.command import write_if_methods_differ
from icl_curriculum.runs.execution import Progress, Report, only_warnings
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.launch import LaunchOutcome, launch
from icl_curriculum.runs.launchers import chosen_launcher
from icl_curriculum.runs.leading import leading
from icl_curriculum.runs.predictions import predictions_of_run
from icl_curriculum.runs.results import Results

#: The seconds without a word after which it is said what is being drawn.
SAY_EVERY = 3.0


@dataclasses.dataclass(frozen=True)
class ExperimentOutcome:
    """What became of the runs, the figures that were drawn, and the report; none where no run is finished.

    Nor is there a report where it could not be written of results that are whole, which is warned of (`NotShown`).
    """

    launched: LaunchOutcome
    figures: list[Path] = dataclasses.field(default_factory=list)
    report: WrittenReport | None = None


@own_settings(training=True)
def carry_out(
    runs: Sequence[Run],
    results: Path,
    *,
    jobs: int | None = None,
    processes: int | None = None,
    device: str = "cpu",
    fresh: bool = False,
    log: Sequence[str] = (),
    predictions: str | None = None,
    on: Launcher | None = None,
    parts: int | None = None,
    report: Report = only_warnings,
    queued: Callable[[list[str]], None] = lambda runs: None,
    started: Callable[[str], None] = lambda run: None,
    ended: Callable[[str, RunFailure | None], None] = lambda run, failure: None,
    launched: Callable[[LaunchOutcome], None] = lambda outcome: None,
    note: Callable[[str], None] = lambda text: None,
) -> ExperimentOutcome:
    """Execute the runs that are not finished yet, collect the tables, draw the figures, write summary and report.

    The runs that failed are left out of all of these, and nothing is drawn where none is finished. ``launched`` is
    told of what became of the runs before anything is drawn, ``note`` in words of what is being done after that. What
    cannot be drawn or written of finished runs is warned of (`NotShown`) and keeps nothing else from being shown.
    ``predictions``: the format in which what everyone answered is written, too, see `results.predictions`; those of
    runs that were finished before are written without training them again. ``processes``: how many train each run
    together (`leading`). The other arguments, and what is raised before a run starts, are those of `launch`.
    """
    if predictions is not None:
        check_format(predictions)
    with leading(processes) as leader:
        if leader is not None:
            leader.check(runs, jobs, None if on is None else on.id)
            jobs, device, report = 0, leader.device_for(device), leader.watched(report)
        outcome = launch(
            runs, results, jobs=jobs, device=device, fresh=fresh, log=log, on=on, parts=parts,
            report=report, queued=queued, started=started, ended=ended, note=note,
        )  # fmt: skip
    launched(outcome)
    if not outcome.finished and not outcome.skipped:
        return ExperimentOutcome(outcome)
    if predictions is not None:
        outcome = _with_predictions(outcome, runs, results, predictions, device, note)
    note("drawing figures")
    try:
        # Runs that are damaged have been named among the failures.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LeftOut)
            return ExperimentOutcome(outcome, *_shown(outcome.directory, note))
    except (UserError, OSError) as error:
        if not outcome.failures:
            raise
        # Named beside the runs that failed, not instead of them.
        failure = RunFailure("figures", f"figures and report were not finished: {error}", traceback.format_exc())
        return ExperimentOutcome(dataclasses.replace(outcome, failures=[*outcome.failures, failure]))


def _with_predictions(
    outcome: LaunchOutcome, runs: Sequence[Run], results: Path, name: str, device: str, note: Callable[[str], None]
) -> LaunchOutcome:
    """Write the predictions of all runs that are finished; what became of those whose could not be is a failure."""
    failures = list(outcome.failures)
    for run in runs:
        if run.name not in {*outcome.finished, *outcome.skipped}:
            continue
        note(f"{run.name}: predictions")
        try:
            # Where the runs were executed elsewhere, "auto" was theirs.
            predictions_of_run(run, results, name, device=resolve_device(device))
        except (UserError, RunFailed, OSError) as error:
            failures.append(RunFailure(run.name, f"{run.name}: its predictions were not written: {error}"))
            note(failures[-1].message)
    return dataclasses.replace(outcome, failures=failures)


def _shown(directory: Path, note: Callable[[str], None]) -> tuple[list[Path], WrittenReport | None]:
    """Draw and write what shows an experiment's tables."""
    tell = _every_few_seconds(note)
    drawn: list[Path] = []
    written: WrittenReport | None = None
    with said_if_not_shown("transfer.csv", "written"):
        _write_transfer(directory, note)
    with said_if_not_shown("scorecard.csv", "written"):
        _write_scorecard(directory, note)
    with said_if_not_shown("the figures"):
        drawn = figures.draw_all(directory, say=note, tell=lambda name: tell(f"drawing {name}"))
    tell("writing summary and report")
    with said_if_not_shown("summary and report", "written"):
        written = report_on(directory)
    return drawn, written


def _every_few_seconds(note: Callable[[str], None]) -> Callable[[str], None]:
    """What passes on a word of what is being done where nothing was said for `SAY_EVERY` seconds."""
    said = time.monotonic()

    def tell(text: str) -> None:
        nonlocal said
        if time.monotonic() - said >= SAY_EVERY:
            said = time.monotonic()
            note(text)

    return tell


def _write_transfer(directory: Path, note: Callable[[str], None]) -> None:
    """Write transfer.csv where there are several training methods; runs that cannot be compared are no failure."""
    try:
        write_if_methods_differ(directory)
    except UserError as error:
        note(f"transfer.csv was not written: {error}")


def _write_scorecard(directory: Path, note: Callable[[str], None]) -> None:
    """Write scorecard.csv where the runs were asked what the benchmark asks, and say who has no place in it."""
    written = write_scorecard(directory, drawn_alike)
    for learner, reason in {} if written is None else written.refused.items():
        note(f"{learner} has no scores: {reason}")


def run(
    experiment: AnyExperiment,
    *,
    overrides: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    results: str | Path = "results",
    device: str = "auto",
    plugins: Sequence[str | Path] = (),
    sweep: Mapping[str, Any] | None = None,
    fresh: bool = False,
    jobs: int | None = 0,
    processes: int | None = None,
    log: Sequence[str] = (),
    predictions: str | None = None,
    on: str | Mapping[str, Any] | Launcher | None = None,
    parts: int | None = None,
    report: Report | None = None,
    progress: bool | None = None,
) -> Results:
    """Train, evaluate and plot an experiment as ``icl run`` does, with the same files; returns its `Results`.

    ``experiment`` is a name or a TOML file, what such a file says as a dict, or an `Experiment`, as for `load`;
    ``overrides`` are ``key=value`` strings as for ``--set``, ``log`` is as for ``--log``, e.g. ``("tensorboard",)``.
    ``sweep``: values to try, by dotted key, as in ``{"model.width": [8, 16]}``, as for ``--sweep``.
    ``jobs``: 0 executes run after run in this process; a number, so many worker processes at a time; None, as many as
    keep all cores busy. ``processes``: how many train each run together, on this machine, at most ``training.shards``.
    ``on``: a launcher that executes the runs on other machines, by its name, as a dict such as
    ``{"name": "slurm", "options": "--time=4:00:00"}``, or itself; ``jobs`` is then the most of them at once, and 0 or
    None as many as there is room for. ``parts``: in how many parts the evaluation of each
    run is answered, by as many processes or machines at once as ``jobs`` or ``on`` has; the tables are the same.
    Finished runs are kept; ``fresh`` is as for ``--fresh``. ``predictions``: ``"parquet"`` or ``"csv"``, in which what
    everyone answered to each prompt is written into the folder of each run. ``report`` is told how far a run is.
    ``progress``: whether that is shown; None: in a notebook alone; True: elsewhere, too, as lines on standard error.

    Raises UserError for a bad config, before anything starts. A run that fails does not stop the others: RunFailed
    is raised at the end, when the tables, figures and report of those that finished are written, and names every run
    that failed, with why; its ``results`` are those of the runs that finished, or None where there are none.
    """
    runs = load(experiment, overrides=overrides, seeds=seeds, plugins=plugins, sweep=sweep)
    board, heard = ProgressBoard(progress), report or only_warnings
    launcher = chosen_launcher(on)

    def reported(told: Progress) -> None:
        if not told.warning:
            board.set(told.run, _worded(told))
        heard(told)

    def ended(name: str, failure: RunFailure | None) -> None:
        board.set(name, "done" if failure is None else "failed", now=True)

    outcome = carry_out(
        runs, as_path(results, "results"),
        # Elsewhere there is nothing that run after run in this process could mean.
        jobs=None if jobs is None else whole_number(jobs, "jobs", least=0) or (0 if launcher is None else None),
        processes=None if processes is None else whole_number(processes, "processes", least=1),
        device=resolve_device(device) if launcher is None else device, fresh=fresh, log=as_texts(log, "log"),
        on=launcher, parts=None if parts is None else whole_number(parts, "parts", least=1), report=reported,
        ended=ended,
        predictions=None if predictions is None else check_format(predictions),
        note=lambda text: board.set(runs[0].experiment.name, text, now=True),
    ).launched  # fmt: skip
    if outcome.failures:
        finished = Results(outcome.directory) if outcome.finished or outcome.skipped else None
        raise RunFailed("\n".join(failure.message for failure in outcome.failures), results=finished)
    board.set(runs[0].experiment.name, f"results in {outcome.directory}", now=True)
    return Results(outcome.directory)


def _worded(progress: Progress) -> str:
    """How far a run is, in one line: ``training 120/300  loss 0.412``."""
    text = progress.phase + (f" {progress.done}/{progress.total}" if progress.total else "")
    text += f" ({progress.detail})" if progress.detail else ""
    return text if progress.loss is None else f"{text}  loss {progress.loss:.3f}"
