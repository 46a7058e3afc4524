"""Executes runs: here one after another, each in a worker process of its own, or elsewhere by a launcher.

A launch unit is one resolved run, serialised as TOML; a `worker` executes one. Collecting the tables
afterwards is idempotent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.files import check_writable
from icl_curriculum.core.locks import Locked
from icl_curriculum.core.log import LOG
from icl_curriculum.core.machine import available_cores, resolve_device
from icl_curriculum.core.notices import warn_of
from icl_curriculum.core.options import option
from icl_curriculum.core.temporary import remove_abandoned
from icl_curriculum.evaluation.failures import Failures, failures_in, together
from icl_curriculum.launchers.base import Launcher
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.device_kinds import device_of_run, mixed_devices
from icl_curriculum.results.doubts import doubts_in, worded
from icl_curriculum.results.manifests import STAGE, DamagedFile, read_manifest
from icl_curriculum.results.staging import finish_renewing
from icl_curriculum.runs.answered_banks import forget
from icl_curriculum.runs.banks import check_banks
from icl_curriculum.runs.cadence import as_begun
from icl_curriculum.runs.elsewhere import execute_elsewhere
from icl_curriculum.runs.execution import (
    Report,
    directory_of,
    in_use,
    keep_if_trained,
    move_aside,
)
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.live_logging import chosen
from icl_curriculum.runs.part_work import work_on
from icl_curriculum.runs.parts import Work, run_of
from icl_curriculum.runs.phases import Ended, Started, execute_in_parts
from icl_curriculum.runs.pool import UNITS, WorkerPool
from icl_curriculum.runs.recorded import as_recorded
from icl_curriculum.runs.reevaluation import check_askable
from icl_curriculum.runs.slots import visible_devices
from icl_curriculum.runs.standing import standing_of

__all__ = ["LaunchOutcome", "RunFailure", "default_jobs", "launch", "resolve_device"]


@dataclasses.dataclass(frozen=True)
class LaunchOutcome:
    """What a launch did."""

    directory: Path
    finished: list[str]
    skipped: list[str]
    failures: list[RunFailure]
    left_out: list[str]
    #: What baselines failed on in the evaluation of runs that are finished.
    baseline_failures: Failures
    #: Runs that were trained under another config and were evaluated anew, not trained.
    kept: list[str] = dataclasses.field(default_factory=list)
    #: What is to be doubted of the runs that are finished, as sentences.
    warnings: list[str] = dataclasses.field(default_factory=list)
    #: Finished runs that were evaluated anew, not trained, each with the keys that had changed.
    reevaluated: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def launch(
    runs: Sequence[Run],
    results: Path,
    *,
    jobs: int | None = None,
    device: str = "cpu",
    fresh: bool = False,
    log: Sequence[str] = (),
    on: Launcher | None = None,
    parts: int | None = None,
    report: Report,
    queued: Callable[[list[str]], None] = lambda runs: None,
    started: Callable[[str], None] = lambda run: None,
    ended: Callable[[str, RunFailure | None], None] = lambda run, failure: None,
    note: Callable[[str], None] = lambda text: None,
) -> LaunchOutcome:
    """Execute the runs that are not finished yet and collect the experiment's tables.

    Finished ones of another evaluation are evaluated anew, and what a variant records stays as it is (`as_recorded`).
    ``jobs`` worker processes at a time, by default as many as keep all cores busy, and on several CUDA devices one for
    each; 0: in this process, run after run. ``on``: a launcher that executes the runs elsewhere instead, so many at
    once; ``device`` is then that of the machines that execute them, and ``note`` is told what the launcher says.
    Checks every run's directory before starting any. A failed run does not stop the others, and neither does one whose
    files are damaged, which is left as it is. A run that another process takes up in the meantime is waited for.
    ``parts``: in how many parts the banks of each run are answered, each by a worker or unit of its own, see `phases`.
    ``log`` names `live_logging.BACKENDS`.
    Raises UserError for a directory that holds another config (unless ``fresh``, which moves it aside, or its training
    can be kept, see `standing_of` and `mending`), is in use, or cannot be written to, and for a logger that is unknown
    or not installed.
    """
    log = chosen(log)
    if on is not None:
        with at_work(on, "check"):
            on.check()
    for run in {run.variant: run for run in runs}.values():
        check_banks(run.experiment)
    check_writable(results / runs[0].experiment.name)
    # One that a launcher is executing is no obstacle: the same command attaches to it.
    for run in runs if on is None else ():
        if holder := in_use(run, results):
            raise Locked(
                f"{run.name} of {runs[0].experiment.name} is being executed by {holder}; wait for it, or use "
                f"{option('--results')}"
            )
    for run in runs:
        directory = directory_of(run, results)
        if (directory.path / STAGE).exists() and not in_use(run, results):
            with directory.locked():
                finish_renewing(directory)
    runs = as_begun(runs, results)
    if fresh:
        for run in runs:
            move_aside(run, results)
    else:
        runs, not_anew = as_recorded(runs, results)
        for notice in not_anew:
            warn_of(notice)
    of_variant = {run.variant: run for run in runs}
    reevaluated: dict[str, tuple[str, ...]] = {}
    skipped: list[str] = []
    kept: list[str] = []
    damaged: dict[str, RunFailure] = {}
    for run in runs:
        with _naming_damage(run.name, damaged):
            directory = directory_of(run, results)
            standing = standing_of(run, directory)
            if standing.to_do == "keep":
                directory.check_intact()
                skipped.append(run.name)
            elif standing.to_do == "re-evaluate":
                check_askable(directory)
                reevaluated[run.name] = standing.changes.evaluation
    there = {*skipped, *damaged}
    waiting = [run for run in runs if run.name not in there]
    # Also where there is nothing left to execute, and so no worker that would clear them away.
    remove_abandoned(UNITS)
    # A hash takes a while where there are thousands of seeds.
    for run in runs if LOG.isEnabledFor(logging.INFO) else ():
        LOG.info("%s: config hash %s, in %s", run.name, run.hash(), directory_of(run, results).path)
    queued([run.name for run in waiting])
    # Here, so that what trains otherwise is refused before any run is started. Elsewhere there may be another device.
    for run in waiting if on is None else ():
        with _naming_damage(run.name, damaged):
            kept += [run.name] * keep_if_trained(run, results, device, report)
    waiting = [run for run in waiting if run.name not in damaged]

    def executed(works: Sequence[Work], *, report: Report, started: Started, ended: Ended) -> list[RunFailure]:
        if not works:
            return []
        if on is not None:
            return execute_elsewhere(
                on, works, results, device=device, jobs=jobs, log=log, report=report, started=started, ended=ended,
                note=note,
            )  # fmt: skip
        if jobs == 0:
            return _execute_here(works, results, device, log, report, started, ended)
        at_once = _jobs_for(works, device) if jobs is None else jobs
        return WorkerPool(results, device, report, started, ended, log).execute(works, at_once)

    if parts is None:
        failures = executed(waiting, report=report, started=started, ended=ended)
    else:
        failures = execute_in_parts(
            waiting, results, parts, executed, report=report, started=started, ended=ended, note=note
        )
    folder = results / runs[0].experiment.name
    failures = [*damaged.values(), *failures]
    failed = {failure.run for failure in failures}
    finished = [run.name for run in waiting if run.name not in failed]
    left_out: list[str] = []
    if finished or skipped:
        try:
            collected = collect(folder, {variant: run.hash() for variant, run in of_variant.items()})
            left_out = collected.left_out
            others = {name: problem for name, problem in collected.damaged.items() if name not in failed}
            failures += [RunFailure(name, f"{name}: {problem}") for name, problem in others.items()]
        except (UserError, OSError) as error:
            # Named beside the runs that failed, not instead of them.
            failures.append(RunFailure("tables", f"the tables were not collected: {error}", traceback.format_exc()))
            return LaunchOutcome(folder, [], [], failures, left_out, {}, kept)
    well = {*finished, *skipped}
    ended_well = [run for run in runs if run.name in well]
    for run in ended_well:
        # What a part has left that went on when the run was finished.
        forget(directory_of(run, results).path)
    return LaunchOutcome(
        folder, finished, skipped, failures, left_out, _baseline_failures(ended_well, results), kept,
        _doubts(ended_well, results),
        {run: keys for run, keys in reevaluated.items() if run in well},
    )  # fmt: skip


@contextlib.contextmanager
def _naming_damage(run: str, damaged: dict[str, RunFailure]) -> Iterator[None]:
    """Note a run whose files are damaged: it is left alone, and does not keep the others from being executed."""
    try:
        yield
    except DamagedFile as error:
        damaged[run] = RunFailure.of(run, error)


def _jobs_for(works: Sequence[Work], device: str) -> int:
    """How many units to execute at once where nobody says."""
    threads = max(run_of(work).experiment.threads for work in works)
    jobs = default_jobs(len(works), max(1, available_cores() // threads)) if device == "cpu" else 1
    return max(jobs, len(visible_devices())) if device == "cuda" else jobs


def _execute_here(
    works: Sequence[Work],
    results: Path,
    device: str,
    log: Sequence[str],
    report: Report,
    started: Callable[[str], None],
    ended: Callable[[str, RunFailure | None], None],
) -> list[RunFailure]:
    """What a pool of workers does, run after run in this process.

    An error of the suite itself, or of the caller's callbacks, is no failure of a run: it passes, for the caller to
    see where it arose.
    """
    failures = []
    for work in works:
        started(work.name)
        failure = None
        try:
            work_on(work, results, device=device, report=report, log=log)
        except (UserError, RunFailed) as error:
            failure = dataclasses.replace(RunFailure.of(run_of(work).name, error), run=work.name)
            failures.append(failure)
        ended(work.name, failure)
    return failures


def _doubts(runs: Sequence[Run], results: Path) -> list[str]:
    """What is to be doubted of runs, and that they were made on different kinds of device if they were, in words."""
    manifests = {run.name: read_manifest(directory_of(run, results).path) or {} for run in runs}
    kinds = {(run.variant, run.seed): device_of_run(manifests[run.name]) for run in runs}
    known = {run: kind for run, kind in kinds.items() if kind is not None}
    return [*worded({name: doubts_in(manifest) for name, manifest in manifests.items()}), *mixed_devices(known)]


def _baseline_failures(runs: Sequence[Run], results: Path) -> Failures:
    return together(failures_in(read_manifest(directory_of(run, results).path) or {}) for run in runs)


def default_jobs(runs: int, cores: int) -> int:
    """How many runs to execute at once so that no core idles in the last round.

    Three runs on two cores share them and take 1.5 times one run; two at a time would take twice.

    >>> [default_jobs(runs, 2) for runs in (1, 2, 3, 4, 5)]
    [1, 2, 3, 2, 3]
    """
    rounds = max(1, runs // cores)
    return max(1, -(-runs // rounds))
