"""What ``icl run NAME --dry-run`` prints: what would be done with each run, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table

from icl_curriculum.cli import output
from icl_curriculum.cli.costs import number_shown, telling, time_shown
from icl_curriculum.config.experiment import Run
from icl_curriculum.core.contracts import at_work
from icl_curriculum.launchers.base import Launcher
from icl_curriculum.runs.elsewhere import launch_of
from icl_curriculum.runs.parts import Work, run_of, slices_of
from icl_curriculum.runs.phases import first_works
from icl_curriculum.runs.planning import LaunchPlan, PlannedRun, plan_of, with_costs

#: The exit code where a run is left alone since a file of it is damaged.
_DAMAGED = 1


def show(
    runs: Sequence[Run],
    results: Path,
    device: str,
    *,
    fresh: bool,
    predictions: str | None = None,
    parts: int | None = None,
) -> int:
    """Print what `launch` would do with runs; the exit code. UserError, at the end, where it would start nothing.

    ``predictions``: the format in which what everyone answered is to be written, too. ``parts``: in how many parts
    each run is to be evaluated.
    """
    found = plan_of(runs, results, device, fresh=fresh)
    if found.error is None:
        with telling() as tell:
            found = with_costs(found, device, tell)
    output.show(plan_table(found.runs))
    output.put(plan=found.runs)
    for label, text in _notes(found):
        output.note(text, label=label)
    if found.error is None:
        output.note("nothing was trained or written; the same command without --dry-run does it")
    if predictions is not None and found.error is None:
        output.note(f"for --predictions {predictions}, all runs are asked once more, those that are kept, too")
    if parts is not None and found.error is None:
        _note_parts(found, parts)
    if found.error is not None:
        raise found.error
    return _DAMAGED if any(row.action == "damaged" for row in found.runs) else 0


def _note_parts(found: LaunchPlan, parts: int) -> None:
    """Say how the runs of a plan are evaluated in parts."""
    asked = {row.run for row in found.runs if row.action in ("train", "resume", "evaluate", "re-evaluate")}
    of_run = {run.name: slices_of(run, parts) for run in found.launched if run.name in asked}
    by_number: dict[tuple[int, int], list[str]] = {}
    for run, slices in of_run.items():
        by_number.setdefault((len(slices), sum(len(part.banks()) for part in slices)), []).append(run)
    for (number, banks), names in by_number.items():
        output.note(
            f"{', '.join(names)}: once trained, {banks} banks are answered in {number} "
            f"part{'s' * (number != 1)} of at most {-(-banks // number)}, and then put together"
        )


def show_launch(
    launcher: Launcher,
    runs: Sequence[Run],
    results: Path,
    device: str,
    *,
    jobs: int | None,
    fresh: bool,
    log: Sequence[str],
    parts: int | None = None,
) -> int:
    """Print what would be done with runs, and what a launcher would submit for those that are not finished.

    ``parts``: in how many parts each run is to be evaluated; what is submitted first is shown.
    """
    found = plan_of(runs, results, None, fresh=fresh)
    output.show(plan_table(found.runs))
    for label, text in _notes(found):
        output.note(text, label=label)
    if found.error is not None:
        raise found.error
    waiting = {row.run for row in found.runs if row.action not in ("keep", "damaged")}
    chosen = [run for run in found.launched if run.name in waiting]
    works: Sequence[Work] = chosen if parts is None else first_works(chosen, results, parts)
    text = ""
    if works:
        works = _not_under_way(launcher, works, results)
    if works:
        with at_work(launcher, "planned"):
            text = launcher.planned(launch_of(works, results, device=device, jobs=jobs, log=log))
    output.put(plan=found.runs, submitted=text)
    if text:
        output.show(text)
    if parts is not None:
        _note_parts(found, parts)
    output.note("nothing was submitted or written; the same command without --dry-run does it")
    return _DAMAGED if any(row.action == "damaged" for row in found.runs) else 0


def _not_under_way(launcher: Launcher, works: Sequence[Work], results: Path) -> list[Work]:
    """The works that would be submitted; the others are under way, and it is said that they would be attached to."""
    folder = results.resolve() / run_of(works[0]).experiment.name
    with at_work(launcher, "standings"):
        standings = launcher.standings(folder)
    attached = {
        name: standing for name, standing in standings.items() if standing.state in ("waiting", "running", "requeued")
    }
    for work in works:
        if work.name in attached:
            job = attached[work.name].job
            output.note(f"{work.name}: under way{f' in job {job}' if job else ''}, which is attached to")
    return [work for work in works if work.name not in attached]


def plan_table(rows: Sequence[PlannedRun]) -> Table:
    """A row for each run, and one for all where there are several."""
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("run", "what", "changed"):
        table.add_column(column)
    for column in ("updates", "prompts", "operations", "time"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.run, _what(row), ", ".join(row.changed), *_numbers([row]))
    if len(rows) > 1 and any(row.seconds for row in rows):
        table.add_row("all together", "", "", *_numbers(rows))
    return table


def _what(row: PlannedRun) -> str:
    return f"resume at {row.step:,} of {row.steps:,}" if row.action == "resume" else row.action


def _numbers(rows: Sequence[PlannedRun]) -> list[str]:
    """Updates, prompts, operations and time of some runs together; empty where nothing is computed or known."""
    if any(row.seconds is None for row in rows) or not any(row.seconds for row in rows):
        return ["", "", "", ""]
    updates = sum(row.steps - row.step for row in rows if row.prompts)
    prompts, operations = (sum(getattr(row, key) or 0 for row in rows) for key in ("prompts", "operations"))
    return [
        f"{updates:,}" if updates else "", number_shown(prompts) if prompts else "",
        f"{operations:.2e}" if operations else "", time_shown(sum(row.seconds or 0 for row in rows)),
    ]  # fmt: skip


def _notes(found: LaunchPlan) -> Iterator[tuple[str, str]]:
    """What is to be known beside the table, each with what stands first."""
    reasons: dict[str, list[str]] = {}
    for row in found.runs:
        if row.reason and not (row.action == "refused" and found.error is not None and row.reason == str(found.error)):
            reasons.setdefault(row.reason, []).append(row.run)
    for reason, runs in reasons.items():
        yield "", f"{', '.join(runs)}: {reason}"
    for notice in found.recorded:
        yield "note: ", str(notice)
    if any(row.seconds for row in found.runs):
        yield "", "time: by a few timed updates, for each run alone; without baselines, predictions, figures and report"
