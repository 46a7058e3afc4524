"""What the command line shows: progress, what failed, and where the results lie."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from icl_curriculum.score_tables import score_tables
from icl_curriculum.statistics import THRESHOLD
from icl_curriculum.summaries import error_table, grid_table
from icl_curriculum.wide_tables import print_whole

if TYPE_CHECKING:  # these import torch, which `icl plot` does without
    from icl_curriculum.evaluating import Written
    from icl_curriculum.execution import Progress as RunProgress
    from icl_curriculum.experiment import Run
    from icl_curriculum.final_evaluation import Advanced
    from icl_curriculum.grids import Grid
    from icl_curriculum.launch import Failure, Outcome
    from icl_curriculum.scoring.command import Written as Scores

#: Seconds between lines where there is no terminal.
LINE_EVERY = 5.0
#: Seconds of training before the time that all runs need is worth an estimate.
ESTIMATE_AFTER = 2.0

# Names are the user's: nothing in them is markup.
console = Console(highlight=False, markup=False, soft_wrap=False)


class View:
    """One line per run: its phase, how far it is, its loss, the time left; and one for all of them."""

    def __init__(self, bars: Progress | None) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.overall: TaskID | None = None
        self.printed = time.monotonic()
        self.began: float | None = None
        self.latest: dict[str, str] = {}
        self.shares: dict[str, float] = {}
        self.shares_at_start: dict[str, float] = {}
        self.endings: list[str] = []

    def queued(self, runs: Sequence[str]) -> None:
        self.shares = dict.fromkeys(runs, 0.0)
        if self.bars is None:
            return
        for run in runs:
            self.tasks[run] = self.bars.add_task(run, start=False, total=1, detail="waiting for its turn")
        if len(runs) > 1:
            self.overall = self.bars.add_task("all", total=len(runs), detail=f"{len(runs)} runs")

    def started(self, run: str) -> None:
        if self.bars is not None:
            self.bars.start_task(self.tasks[run])
            self.bars.update(self.tasks[run], detail="starting")
        else:
            console.print(f"{run}: starting")

    def report(self, progress: RunProgress) -> None:
        if progress.warning:
            console.print(f"warning: {progress.warning}", style="yellow", soft_wrap=True)
            return
        run, detail = progress.run, progress.phase
        if progress.total:
            detail += f" {progress.done}/{progress.total}"
        if progress.detail:
            detail += f" ({progress.detail})"
        if progress.loss is not None:
            detail += f"  loss {progress.loss:.3f}"
        if progress.rate:
            unit = "steps" if progress.phase == "training" else "banks"
            left = duration((progress.total - progress.done - progress.share) / progress.rate)
            detail += f"  {left} left" + (f"  {progress.rate:.1f} {unit}/s" if progress.rate >= 0.05 else "")
        if progress.phase == "training":
            self.shares[run] = progress.done / progress.total
            self.shares_at_start.setdefault(run, self.shares[run])
            self.began = self.began or time.monotonic()
        if self.bars is not None:
            self.bars.update(self.tasks[run], completed=progress.done, total=progress.total or None, detail=detail)
            self._update_overall()
            return
        self.latest[run] = detail
        if time.monotonic() - self.printed >= LINE_EVERY:
            self.printed = time.monotonic()
            for run, text in self.latest.items():
                console.print(f"{run}: {text}", soft_wrap=True)
            if len(self.shares) > 1:
                console.print(f"all: {self._overall()}")
            self.latest.clear()

    def ended(self, run: str, failure: Failure | None) -> None:
        self.latest.pop(run, None)
        self.shares[run] = 1.0
        self.endings.append("done" if failure is None else "failed")
        text = "done" if failure is None else "failed"
        if self.bars is not None:
            self.bars.update(self.tasks[run], completed=1, total=1, detail=text)
            self._update_overall()
        else:
            console.print(f"{run}: {text}")

    def note(self, text: str) -> None:
        console.print(text)

    def _update_overall(self) -> None:
        if self.bars is not None and self.overall is not None:
            self.bars.update(self.overall, completed=sum(self.shares.values()), detail=self._overall())

    def _overall(self) -> str:
        """``1 of 3 runs done, 1 failed; about 2m05s left``, from how fast all runs together have advanced."""
        done, failed = self.endings.count("done"), self.endings.count("failed")
        text = f"{done} of {len(self.shares)} runs done" + (f", {failed} failed" if failed else "")
        # What a resumed run had done before is no sign of today's speed.
        advanced = sum(self.shares.values()) - sum(self.shares_at_start.values())
        left = len(self.shares) - sum(self.shares.values())
        seconds = time.monotonic() - self.began if self.began else 0.0
        if left > 0 and advanced > 0 and seconds > ESTIMATE_AFTER:
            text += f"; about {duration(seconds * left / advanced)} left"
        return text


def duration(seconds: float) -> str:
    """``75`` as ``1m15s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


@contextlib.contextmanager
def live_view(runs: Sequence[Run], device: str) -> Iterator[View]:
    """Announce the runs, then follow them: bars on a terminal, plain lines elsewhere."""
    from icl_curriculum.evaluation import undefined_cells

    experiment = runs[0].experiment
    config = experiment.training
    console.print(
        f"{experiment.name}: {len(runs)} {'run' if len(runs) == 1 else 'runs'} of {config.steps} steps, "
        f"{config.batch_size} prompts of {experiment.points} points in {experiment.dims} dimensions, on {device}"
    )
    for text in dict.fromkeys(text for run in runs for text in undefined_cells(run.experiment)):
        console.print(f"undefined: {text}", soft_wrap=True)
    with _view() as view:
        yield view


@contextlib.contextmanager
def _view() -> Iterator[View]:
    if not console.is_terminal:
        yield View(None)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=console) as bars:
        yield View(bars)


@contextlib.contextmanager
def bank_view(run: str, grid: Grid) -> Iterator[Advanced]:
    """Announce the banks of a run's evaluation; what it yields is told how far it is."""
    from icl_curriculum.execution import Progress as RunProgress

    first = grid.banks[0]
    banks = "bank" if len(grid.banks) == 1 else "banks"
    console.print(f"{run}: {len(grid.banks)} {banks} of {first.n_prompts} prompts of {first.points} points")
    with _view() as view:
        view.queued([run])
        if view.bars is not None:
            view.started(run)

        def advanced(done: int, total: int, rate: float, detail: str = "", share: float = 0.0) -> None:
            view.report(RunProgress(run, "evaluation", done, total, None, rate, detail, share))

        yield advanced


def show_evaluation(written: Written, grid: Grid) -> None:
    """The errors that were asked for, why others are undefined, what failed, and where the files lie."""
    console.print(grid_table(written.table.parent, [bank.key for bank in grid.banks]))
    for reason in grid.undefined:
        console.print(f"undefined: {reason}", soft_wrap=True)
    show_baseline_failures(written.failures)
    console.print(f"table:   {written.table}", soft_wrap=True)
    if written.figure is not None:
        show_figures([written.figure])


def show_scores(written: Scores) -> None:
    """The errors of every learner, why cells are undefined, what failed, and where the files lie."""
    for title, table in score_tables(written.folder, [bank.key for bank in written.grid.banks], written.learners):
        console.print(title, soft_wrap=True)
        console.print(table)
    for reason in written.grid.undefined:
        console.print(f"undefined: {reason}", soft_wrap=True)
    show_baseline_failures(written.failures)
    for name in written.silent:
        console.print(f"failed: {name} answered no prompt", style="red", soft_wrap=True)
    console.print(f"table:   {written.table}", soft_wrap=True)
    show_figures(written.figures)


def show_baseline_failures(failures: Sequence[str]) -> None:
    """Prompts that are missing from a baseline's errors."""
    for text in failures:
        console.print(f"left out: {text}", soft_wrap=True)


def show_failures(outcome: Outcome, *, debug: bool) -> None:
    """What was kept, left out, and failed and why."""
    if outcome.skipped:
        console.print(f"already finished, kept: {', '.join(outcome.skipped)}", soft_wrap=True)
    show_baseline_failures(outcome.baseline_failures)
    if outcome.left_out:
        others = ", ".join(outcome.left_out)
        console.print(f"finished with another config, left out of the tables: {others}", soft_wrap=True)
    for failure in outcome.failures:
        console.print("failed: ", style="red", end="")
        console.print(failure.message, soft_wrap=True)
        if debug and failure.details:
            console.print(failure.details, soft_wrap=True)


def show_results(directory: Path, figures: Sequence[Path]) -> None:
    """The table of errors, and where the files lie."""
    table = error_table(directory)
    if table.columns[0].header == "variant":
        print_whole(console, table)
    else:
        console.print(table)
    console.print(f"tables:  {directory}/*.csv", soft_wrap=True)
    show_figures(figures)


def show_report(directory: Path, threshold: float = THRESHOLD) -> None:
    """Write summary.csv and report.html of an experiment, and say what is missing and where they lie."""
    from icl_curriculum.comparison import command
    from icl_curriculum.report import write_report

    compared = command.describe(directory, threshold=threshold)
    page = write_report(compared)
    for text in compared.sources[0].missing:
        console.print(f"note: {text}", soft_wrap=True)
    console.print(f"summary: {compared.path}", soft_wrap=True)
    console.print(f"report:  {page}", soft_wrap=True)


def show_note(text: str) -> None:
    console.print(text, soft_wrap=True)


def show_figures(figures: Sequence[Path]) -> None:
    for figure in figures:
        console.print(f"figure:  {figure}", soft_wrap=True)
