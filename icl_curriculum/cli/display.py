"""What a command shows when it has ended: tables of errors, what failed, and where the results lie."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icl_curriculum.cli.error_tables import error_table, grid_table, print_whole, score_tables, step_table
from icl_curriculum.cli.head_tables import head_tables
from icl_curriculum.cli.screen import Screen
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
    from icl_curriculum.runs.launch import LaunchOutcome
    from icl_curriculum.scoring.evaluate import WrittenEvaluation
    from icl_curriculum.scoring.grid import BankGrid
    from icl_curriculum.scoring.heads import WrittenHeads
    from icl_curriculum.scoring.score_folder import WrittenScores

#: Standard output.
console = Screen()


def show_evaluation(written: Sequence[WrittenEvaluation], grid: BankGrid) -> None:
    """Show the errors that were asked for, or at several steps those without a shift; why others are undefined, what
    failed, and where the files lie.
    """
    last, folder = written[-1], written[-1].table.parent
    for metric in (USUAL, *_asked(folder, last.metrics)):
        with showing(metric):
            _show_models(written, grid)
    for reason in grid.undefined:
        console.print(f"undefined: {reason}", soft_wrap=True)
    show_baseline_failures(last.failures)
    show_warnings(last.warnings)
    _show_tables(folder, grid, last.models)
    show_figures(last.figures)


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
        console.print(title, soft_wrap=True)
    else:
        table = grid_table(folder, [bank.key for bank in grid.banks], last.step, last.models)
    if len(written) > 1 or len(last.models) > 1:
        print_whole(console, table)
    else:
        console.print(table)


def show_import(written: WrittenImport) -> None:
    """Show the model's errors, what to know of them, what failed, and where the run lies."""
    if written.kept:
        console.print("imported already, kept", soft_wrap=True)
    console.print(error_table(written.directory))
    for note in written.notes:
        console.print(f"note: {note}", soft_wrap=True)
    show_baseline_failures(written.failures)
    if written.left_out:
        others = ", ".join(written.left_out)
        console.print(f"imported with another config, left out of the tables: {others}", soft_wrap=True)
    console.print(f"tables:  {written.directory.parent}/*.csv", soft_wrap=True)
    console.print(f"run:     {written.directory}", soft_wrap=True)


def _show_tables(folder: Path, grid: BankGrid, learners: Collection[str]) -> None:
    """Show whom the models among the learners answer most like, and where the tables lie."""
    table = closest_table(folder, [bank.key for bank in grid.banks], learners)
    if table is not None:
        console.print(TITLE, soft_wrap=True)
        print_whole(console, table)
    for name in ("evaluation", "prediction_differences"):
        console.print(f"table:   {folder / name}.csv", soft_wrap=True)


def show_scores(written: WrittenScores) -> None:
    """Show the errors of every learner, why cells are undefined, what failed, and where the files lie."""
    cells = [bank.key for bank in written.grid.banks]
    for metric in (USUAL, *_asked(written.folder, written.metrics)):
        with showing(metric):
            for title, table in score_tables(written.folder, cells, written.learners):
                console.print(title, soft_wrap=True)
                console.print(table)
    for reason in written.grid.undefined:
        console.print(f"undefined: {reason}", soft_wrap=True)
    show_baseline_failures(written.failures)
    show_warnings(written.warnings)
    for name in written.silent:
        console.print(f"failed: {name} answered no prompt", style="red", soft_wrap=True)
    _show_tables(written.folder, written.grid, written.learners)
    show_figures(written.figures)


def show_heads(written: WrittenHeads) -> None:
    """Show the highest-scoring heads and the errors with masks, and where the files lie."""
    for table in head_tables(written.folder):
        print_whole(console, table)
    console.print(f"tables:  {written.folder}/*.csv", soft_wrap=True)
    show_figures(written.figures)


def show_baseline_failures(failures: Failures) -> None:
    """Show which prompts are missing from a baseline's errors, and which adaptations diverged."""
    from icl_curriculum.evaluation.failures import failure_sentences

    for sentence in failure_sentences(failures):
        console.print(sentence, soft_wrap=True)


def show_warnings(sentences: Sequence[str]) -> None:
    """Show what is to be doubted."""
    for text in sentences:
        console.print("warning: ", style="yellow", end="")
        console.print(text, soft_wrap=True)


def show_failures(outcome: LaunchOutcome, *, debug: bool) -> None:
    """Show which runs were kept, left out of the tables, or failed, and why."""
    if outcome.skipped:
        console.print(f"already finished, kept: {', '.join(outcome.skipped)}", soft_wrap=True)
    if outcome.kept:
        kept = ", ".join(outcome.kept)
        console.print(f"trained before and repeated alike, the training was kept: {kept}", soft_wrap=True)
    for keys, runs in _by_keys(outcome.reevaluated).items():
        console.print(f"trained before, evaluated anew ({', '.join(keys)} changed): {', '.join(runs)}", soft_wrap=True)
    show_baseline_failures(outcome.baseline_failures)
    show_warnings(outcome.warnings)
    if outcome.left_out:
        others = ", ".join(outcome.left_out)
        console.print(f"finished with another config, left out of the tables: {others}", soft_wrap=True)
    for failure in outcome.failures:
        console.print("failed: ", style="red", end="")
        console.print(failure.message, soft_wrap=True)
        if debug and failure.details:
            console.print(failure.details, soft_wrap=True)


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
        if table.columns[0].header == "variant":
            print_whole(console, table)
        else:
            console.print(table)
    console.print(f"tables:  {directory}/*.csv", soft_wrap=True)
    show_figures(figures)


def show_predictions(folder: Path, name: str | None) -> None:
    """Where the predictions lie that were asked for in the format of this ``name``, if they were."""
    if name is not None:
        console.print(f"answers: {predictions_file(folder, name)}", soft_wrap=True)


def show_report(written: WrittenReport) -> None:
    """What is missing of an experiment, and where its summary.csv and report.html lie."""
    for text in written.missing:
        console.print(f"note: {text}", soft_wrap=True)
    console.print(f"summary: {written.summary}", soft_wrap=True)
    console.print(f"report:  {written.page}", soft_wrap=True)


def show_note(text: str) -> None:
    console.print(text, soft_wrap=True)


def show_figures(figures: Sequence[Path]) -> None:
    for figure in figures:
        console.print(f"figure:  {figure}", soft_wrap=True)
