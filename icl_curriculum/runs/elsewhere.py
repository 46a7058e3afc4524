"""Executes runs by a launcher, on other machines, and sees to it that what they left is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.log import LOG
from icl_curriculum.core.visibility import look_anew
from icl_curriculum.launchers.base import Launch, Launcher, UnitProblem
from icl_curriculum.runs.execution import Progress, Report, directory_of
from icl_curriculum.runs.failures import RunFailure
from icl_curriculum.runs.part_work import is_done
from icl_curriculum.runs.parts import Work, run_of
from icl_curriculum.runs.units import expect_seen, starter, unit_of

#: Seconds for which the files of a run that has ended elsewhere are waited for: a shared file system shows them late.
SEEN_WITHIN = 60.0


class LaunchedRuns:
    """The runs that a launcher executes, and what has become of them: who it tells of its way (`LaunchWatch`)."""

    def __init__(
        self,
        runs: Sequence[Work],
        results: Path,
        report: Report,
        started: Callable[[str], None],
        ended: Callable[[str, RunFailure | None], None],
        note: Callable[[str], None],
    ) -> None:
        self.runs = {run.name: run for run in runs}
        self.results, self.report, self.note = results, report, note
        self._started, self._ended = started, ended
        self.failures: dict[str, RunFailure] = {}
        self.told_of: set[str] = set()

    def started(self, unit: str) -> None:
        self._started(unit)

    def heard(self, unit: str, message: Mapping[str, Any]) -> None:
        if "progress" in message:
            self.report(Progress(**message["progress"]))
        elif "detail" in message:
            LOG.info("%s: %s", unit, message["detail"])

    def waiting(self, unit: str, why: str) -> None:
        self.report(Progress(unit, f"waiting ({why})" if why else "waiting", 0, 0))

    def ended(self, unit: str, problem: UnitProblem | None) -> None:
        self.told_of.add(unit)
        failure = None if problem is None else RunFailure(unit, problem.message, problem.details)
        if failure is None and not self._is_here(self.runs[unit]):
            run = run_of(self.runs[unit])
            done = "finished" if self.runs[unit] is run else "trained"
            folder = directory_of(run, self.results).path
            failure = RunFailure(
                unit, f"{run.name}: it is said to be {done}, and {folder} does not hold it {done}; the results must "
                f"lie on a file system that all machines share",
            )  # fmt: skip
        if failure is not None:
            self.failures[unit] = failure
        self._ended(unit, failure)

    def _is_here(self, work: Work) -> bool:
        """Whether a run's folder holds what was done, as soon as this machine sees that."""
        deadline = time.monotonic() + SEEN_WITHIN
        while True:
            look_anew(directory_of(run_of(work), self.results).path)
            try:
                if is_done(work, self.results):
                    return True
            except UserError:
                # Half of what was written may be seen.
                pass
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)


def launch_of(
    runs: Sequence[Work], results: Path, *, device: str, jobs: int | None = None, log: Sequence[str] = ()
) -> Launch:
    """What a launcher is to execute for runs, by absolute paths."""
    expect_seen(runs)
    results = results.resolve()
    units = [unit_of(run, results, device=device, log=log, elsewhere=True) for run in runs]
    experiment = run_of(runs[0]).experiment.name
    return Launch(experiment, results / experiment, units, starter(), jobs)


def execute_elsewhere(
    launcher: Launcher,
    runs: Sequence[Work],
    results: Path,
    *,
    device: str,
    jobs: int | None,
    log: Sequence[str],
    report: Report,
    started: Callable[[str], None],
    ended: Callable[[str, RunFailure | None], None],
    note: Callable[[str], None],
) -> list[RunFailure]:
    """Execute runs by a launcher; the failures. UserError where it cannot be used, or breaks its contract."""
    watch = LaunchedRuns(runs, results, report, started, ended, note)
    given = launch_of(runs, results, device=device, jobs=jobs, log=log)
    with at_work(launcher, "execute"):
        launcher.execute(given, watch)
    for run in runs:
        if run.name not in watch.told_of:
            watch.ended(run.name, None)
    return list(watch.failures.values())
