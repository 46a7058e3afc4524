"""How far long work has come: bars on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from icl_curriculum.cli import flags, output
from icl_curriculum.core.printable import harmless
from icl_curriculum.core.progress import Tell

if TYPE_CHECKING:  # These import torch.
    from icl_curriculum.config.experiment import Run
    from icl_curriculum.evaluation import Bank
    from icl_curriculum.runs.execution import Progress as RunProgress
    from icl_curriculum.runs.launch import RunFailure

#: Seconds between lines where there is no terminal.
LINE_EVERY = 5.0
#: Seconds of work before the time left can be estimated.
ESTIMATE_AFTER = 2.0


class View:
    """One line for each run, with its phase, how far it has come, its loss and the time left; and one for all runs.

    ``work``: how much work each run's training is, by the run's name and in any unit; without it, all are alike.
    """

    def __init__(self, bars: Progress | None, work: Mapping[str, float] | None = None) -> None:
        self.bars = bars
        self.work = work or {}
        self.tasks: dict[str, TaskID] = {}
        self.overall: TaskID | None = None
        self.printed = time.monotonic()
        self.began: float | None = None
        self.latest: dict[str, str] = {}
        #: The share of each run's training that is done.
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
            self.overall = self.bars.add_task(
                "all", total=self._worth(dict.fromkeys(runs, 1.0)), detail=f"{len(runs)} runs"
            )

    def started(self, run: str) -> None:
        if self.bars is not None:
            self.bars.start_task(self.tasks[run])
            self.bars.update(self.tasks[run], detail="starting")
        else:
            output.progress(f"{run}: starting")

    def report(self, progress: RunProgress) -> None:
        if progress.warning:
            output.note(progress.warning, label="warning: ", style="yellow")
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
                output.progress(f"{run}: {text}")
            if len(self.shares) > 1:
                output.progress(f"all: {self._overall()}")
            self.latest.clear()

    def ended(self, run: str, failure: RunFailure | None) -> None:
        self.latest.pop(run, None)
        self.shares[run] = 1.0
        self.endings.append("done" if failure is None else "failed")
        text = "done" if failure is None else "failed"
        if self.bars is not None:
            self.bars.update(self.tasks[run], completed=1, total=1, detail=text)
            self._update_overall()
        else:
            output.progress(f"{run}: {text}")

    def stop(self) -> None:
        """Leave the bars as they are: what is printed from now on stands below them."""
        if self.bars is not None:
            self.bars.stop()

    def _update_overall(self) -> None:
        if self.bars is not None and self.overall is not None:
            self.bars.update(self.overall, completed=self._worth(self.shares), detail=self._overall())

    def _worth(self, shares: Mapping[str, float]) -> float:
        """The work that shares of the runs' training amount to."""
        return sum(share * self.work.get(run, 1.0) for run, share in shares.items())

    def _overall(self) -> str:
        """Returns ``1 of 3 runs done, 1 failed; about 2m05s of training left``, by how fast all runs have advanced.

        Evaluation comes after that, with an estimate in the line of each run.
        """
        done, failed = self.endings.count("done"), self.endings.count("failed")
        text = f"{done} of {len(self.shares)} runs done" + (f", {failed} failed" if failed else "")
        # What a resumed run had done before it was resumed says nothing about the speed now.
        advanced = self._worth(self.shares) - self._worth(self.shares_at_start)
        left = self._worth({run: 1.0 - share for run, share in self.shares.items()})
        seconds = time.monotonic() - self.began if self.began else 0.0
        estimate = time_left(advanced, left, seconds, " of training")
        return f"{text}; {estimate}" if estimate else text


def time_left(done: float, left: float, seconds: float, of: str = "") -> str:
    """``about 2m05s left``, if work goes on as it has gone for so many seconds; empty where these say nothing yet.

    ``of``: of what, as in ``about 2m05s of training left``.
    """
    if done <= 0 or left <= 0 or seconds <= ESTIMATE_AFTER:
        return ""
    return f"about {duration(seconds * left / done)}{of} left"


def duration(seconds: float) -> str:
    """Words a number of seconds, 75 as ``1m15s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


@contextlib.contextmanager
def live_view(runs: Sequence[Run], device: str) -> Iterator[View]:
    """Announce the runs, then follow them: bars on a terminal, plain lines elsewhere."""
    from icl_curriculum.runs.banks import undefined_cells

    # Seeds differ in nothing that is said here.
    experiments = list({id(run.experiment): run.experiment for run in runs}.values())
    steps, prompts = (_range(getattr(item.training, key) for item in experiments) for key in ("steps", "batch_size"))
    points, dims = (_range(getattr(item, key) for item in experiments) for key in ("points", "dims"))
    output.progress(
        f"{experiments[0].name}: {len(runs)} {'run' if len(runs) == 1 else 'runs'} of {steps} steps, "
        f"{prompts} prompts of {points} points in {dims} dimensions, on {device}"
    )
    for text in dict.fromkeys(text for item in experiments for text in undefined_cells(item)):
        output.note(text, label="undefined: ")
    work = {run.name: run.experiment.training.steps * run.experiment.training.batch_size for run in runs}
    with _view(work) as view:
        yield view


def _range(values: Iterable[int]) -> str:
    """Words the range of some numbers: ``300–1200``, or ``1200`` where all are equal."""
    ordered = sorted(set(values))
    return f"{ordered[0]}–{ordered[-1]}" if len(ordered) > 1 else str(ordered[0])


@contextlib.contextmanager
def _view(work: Mapping[str, float] | None = None) -> Iterator[View]:
    if not _shows_bars():
        yield View(None, work)
        return
    with _bars(_Words("{task.description}"), *_columns()) as bars:
        yield View(bars, work)


def _shows_bars() -> bool:
    return output.messages.is_terminal and not flags.quiet()


@contextlib.contextmanager
def _bars(*columns: ProgressColumn, transient: bool = False) -> Iterator[Progress]:
    """Bars on standard error. What is printed on the same terminal meanwhile goes above them."""
    # Otherwise what goes into a file or a pipe would be drawn above the bars instead.
    proxied = output.results.is_terminal
    with (
        output.bars_drawn(),
        Progress(*columns, console=output.messages, transient=transient, redirect_stdout=proxied) as bars,
    ):
        yield bars


class _Words(TextColumn):
    """A column of text, with nothing in it that the terminal would obey."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)

    def render(self, task: Task) -> Text:
        return Text(harmless(super().render(task).plain), style=self.style, justify=self.justify)


def _columns() -> tuple[BarColumn, TextColumn]:
    return BarColumn(bar_width=12), _Words("{task.fields[detail]}")


@contextlib.contextmanager
def passing_bar(detail: str) -> Iterator[Tell | None]:
    """Yield what moves a progress bar that disappears when the block ends; None where there is no terminal.

    ``detail``: what stands beside the bar at first.
    """
    if not _shows_bars():
        yield None
        return
    with _bars(*_columns(), transient=True) as bars:
        task = bars.add_task("", total=1.0, detail=detail)

        def tell(share: float, detail: str = "") -> None:
            bars.update(task, completed=share, detail=detail)

        yield tell


@contextlib.contextmanager
def bank_view(run: str, banks: Sequence[Bank]) -> Iterator[Tell]:
    """Announce the banks of a run's evaluation, and yield a function that is told how far it has come."""
    from icl_curriculum.runs.execution import telling_of_banks

    number = f"{len(banks)} {'bank' if len(banks) == 1 else 'banks'}"
    output.progress(f"{run}: {number} of {banks[0].n_prompts} prompts of {banks[0].points} points")
    with _view() as view:
        view.queued([run])
        if view.bars is not None:
            view.started(run)
        yield telling_of_banks(run, len(banks), view.report)


@contextlib.contextmanager
def share_view(label: str) -> Iterator[Tell]:
    """Yield what shows how much of some work is done: a bar on a terminal, a plain line every few seconds elsewhere."""
    began = last = time.monotonic()

    def line(share: float, detail: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY:
            last = now
            output.progress(f"{label}: {share:.0%}  {detail}  {time_left(share, 1 - share, now - began)}")

    with passing_bar(label) as bar:
        yield bar or line
