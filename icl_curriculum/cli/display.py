"""What a command shows when it has ended: tables of errors, what failed, and where the results lie."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icl_curriculum.cli import output, rows
from icl_curriculum.cli.error_tables import error_table, grid_table, score_tables, step_table
from icl_curriculum.cli.head_tables import head_tables
from icl_curriculum.cli.similarity import TITLE, closest_table
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.notices import said_if_not_shown
from icl_curriculum.results.chosen_metric import choose_metric
from icl_curriculum.results.predictions import predictions_file
from icl_curriculum.results.shown_metric import USUAL, ShownMetric, showing

if TYPE_CHECKING:  # These import torch or matplotlib, which `icl list` does without.
    from icl_curriculum.evaluation.failures import Failures
    from icl_curriculum.pages import WrittenReport
    from icl_curriculum.runs.importing.command import WrittenImport
    from icl_curriculum.runs.launch import LaunchOutcome, RunFailure
    from icl_curriculum.scoring.grid import BankGrid
    from icl_curriculum.scoring.heads import WrittenHeads
    from icl_curriculum.scoring.run_evaluation import WrittenEvaluation
    from icl_curriculum.scoring.score_folder import WrittenScores


def show_evaluation(written: Sequence[WrittenEvaluation], grid: BankGrid) -> None:
    """Show the errors that were asked for, or at several steps those without a shift; why others are undefined, what
    failed, and where the files lie.
    """
    last, folder = written[-1], written[-1].table.parent
    metrics = (USUAL, *_asked(folder, last.metrics))
    for metric in metrics:
        with showing(metric):
            _show_models(written, grid)
    _show_undefined(grid)
    show_baseline_failures(last.failures)
    show_warnings(last.warnings)
    _show_tables(folder, grid, last.models)
    show_figures(last.figures)
    cells, steps = [bank.key for bank in grid.banks], [each.step for each in written]
    output.put(
        folder=folder,
        evaluation=lambda: rows.of_models(folder, cells, steps, last.models, metrics),
        prediction_differences=lambda: rows.closest_rows(folder, cells, last.models),
    )


def _asked(folder: Path, metrics: Sequence[str]) -> Iterator[ShownMetric]:
    """The metrics that were asked for, as far as there are any numbers."""
    for name in metrics:
        with contextlib.suppress(UserError):
            yield choose_metric(folder, name)


def _show_models(written: Sequence[WrittenEvaluation], grid: BankGrid) -> None:
    last, folder = written[-1], written[-1].table.parent
    if len(written) > 1:
        plain = [bank.key for bank in grid.banks if bank.shift is None]
        title, table = step_table(folder, plain, [each.step for each in written], last.models)
        output.show(title)
    else:
        table = grid_table(folder, [bank.key for bank in grid.banks], last.step, last.models)
    output.show(table)


def show_import(written: WrittenImport) -> None:
    """Show the model's errors, what to know of them, what failed, and where the run lies."""
    if written.kept:
        output.note("imported already, kept")
    output.show(error_table(written.directory))
    for text in written.notes:
        output.note(text, label="note: ")
    show_baseline_failures(written.failures)
    if written.left_out:
        output.note(f"imported with another config, left out of the tables: {', '.join(written.left_out)}")
    output.written("tables", f"{written.directory.parent}/*.csv")
    output.written("run", written.directory)
    output.put(folder=written.directory, evaluation=lambda: rows.without_shift(written.directory))


def _show_undefined(grid: BankGrid) -> None:
    """Say which of the cells that were asked for are undefined, and why."""
    for reason in grid.undefined:
        output.note(reason, label="undefined: ")


def _show_tables(folder: Path, grid: BankGrid, learners: Collection[str]) -> None:
    """Show whom the models among the learners answer most like, and where the tables lie."""
    table = closest_table(folder, [bank.key for bank in grid.banks], learners)
    if table is not None:
        output.show(TITLE)
        output.show(table)
    for name in ("evaluation", "prediction_differences"):
        output.written("table", folder / f"{name}.csv")


def show_scores(written: WrittenScores) -> None:
    """Show the errors of every learner, why cells are undefined, what failed, and where the files lie."""
    cells = [bank.key for bank in written.grid.banks]
    metrics = (USUAL, *_asked(written.folder, written.metrics))
    for metric in metrics:
        with showing(metric):
            for title, table in score_tables(written.folder, cells, written.learners):
                output.show(title)
                output.show(table)
    _show_undefined(written.grid)
    show_scored(written)
    _show_tables(written.folder, written.grid, written.learners)
    output.put(
        evaluation=lambda: rows.of_learners(written.folder, cells, written.learners, metrics),
        prediction_differences=lambda: rows.closest_rows(written.folder, cells, written.learners),
    )


def show_scored(written: WrittenScores) -> None:
    """Show what failed, and where the files lie."""
    show_baseline_failures(written.failures)
    show_warnings(written.warnings)
    for name in written.silent:
        output.failure(f"{name} answered no prompt")
    show_figures(written.figures)
    output.put(folder=written.folder)


def show_heads(written: WrittenHeads) -> None:
    """Show the highest-scoring heads and the errors with masks, and where the files lie."""
    for table in head_tables(written.folder):
        output.show(table)
    output.written("tables", f"{written.folder}/*.csv")
    show_figures(written.figures)
    output.put_all(lambda: {"folder": written.folder, **rows.of_heads(written.folder)})


def show_baseline_failures(failures: Failures) -> None:
    """Show which prompts are missing from a baseline's errors, and which adaptations diverged."""
    from icl_curriculum.evaluation.failures import failure_sentences

    for sentence in failure_sentences(failures):
        output.note(sentence)


def show_warnings(sentences: Sequence[str]) -> None:
    """Show what is to be doubted."""
    for text in sentences:
        output.note(text, label="warning: ", style="yellow")


def show_launched(outcome: LaunchOutcome, *, debug: bool) -> None:
    """Show which runs were kept, left out of the tables, or failed, and why."""
    if outcome.skipped:
        output.note(f"already finished, kept: {', '.join(outcome.skipped)}")
    if outcome.kept:
        output.note(f"trained before and repeated alike, the training was kept: {', '.join(outcome.kept)}")
    for keys, runs in _by_keys(outcome.reevaluated).items():
        output.note(f"trained before, evaluated anew ({', '.join(keys)} changed): {', '.join(runs)}")
    show_baseline_failures(outcome.baseline_failures)
    show_warnings(outcome.warnings)
    if outcome.left_out:
        output.note(f"finished with another config, left out of the tables: {', '.join(outcome.left_out)}")
    output.put(folder=outcome.directory, finished=outcome.finished, kept=outcome.skipped, left_out=outcome.left_out)
    output.put(reevaluated=outcome.reevaluated)
    output.put(evaluation=[])
    show_failures(outcome.failures, debug=debug)


def show_failures(failures: Sequence[RunFailure], *, debug: bool) -> None:
    """Show what failed and why, but for what has been shown already."""
    for failure in failures:
        shown = output.failure(failure.message)
        if shown and debug and failure.details:
            output.messages.print(failure.details, soft_wrap=True)
    output.put(failures=[{"run": failure.run, "message": failure.message} for failure in failures])


def _by_keys(reevaluated: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], list[str]]:
    """The runs that were evaluated anew, by the keys that had changed."""
    found: dict[tuple[str, ...], list[str]] = {}
    for run, keys in reevaluated.items():
        found.setdefault(keys, []).append(run)
    return found


def show_results(directory: Path, figures: Sequence[Path]) -> None:
    """Show the table of errors, and where the files lie."""
    with said_if_not_shown("the table of errors", "shown"):
        table = error_table(directory)
        output.show(table)
    output.written("tables", f"{directory}/*.csv")
    show_figures(figures)
    output.put(evaluation=lambda: rows.without_shift(directory))


def show_predictions(folder: Path, name: str | None) -> None:
    """Say where the predictions lie that were asked for in the format of this ``name``, if they were."""
    if name is not None:
        output.written("answers", predictions_file(folder, name))


def show_report(written: WrittenReport, *, asked: bool = False) -> None:
    """Say what is missing of an experiment, and where its summary.csv and report.html lie.

    ``asked``: these are what the command was asked for.
    """
    for text in written.missing:
        output.note(text, label="note: ")
    output.written("summary", written.summary, asked=asked)
    output.written("report", written.page, asked=asked)


def show_note(text: str) -> None:
    """Say what is being done."""
    output.progress(text)


def show_figures(figures: Sequence[Path], *, asked: bool = False) -> None:
    """Say where figures lie. ``asked``: these are what the command was asked for."""
    for figure in figures:
        output.written("figure", figure, asked=asked)
