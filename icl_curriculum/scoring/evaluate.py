"""``icl evaluate``: a trained model on any task and shift, also on those that its experiment never named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.evaluation import Bank
from icl_curriculum.results.predictions import AskedPredictions
from icl_curriculum.scoring.asked_models import asked_adaptations
from icl_curriculum.scoring.asked_run import EvaluationQuestions, Question
from icl_curriculum.scoring.bank_processes import expect_sent
from icl_curriculum.scoring.grid import BankGrid
from icl_curriculum.scoring.run_evaluation import WrittenEvaluation
from icl_curriculum.scoring.trained_runs import asked_steps


@contextlib.contextmanager
def unseen(run: str, banks: Sequence[Bank]) -> Iterator[Tell]:
    """Shows nobody how far the evaluation of a run has come."""
    yield tell_nobody


def evaluate_run(
    run_dir: Path,
    questions: EvaluationQuestions,
    *,
    output: Path | None = None,
    device: str = "cpu",
    plugins: Sequence[Path] = (),
    jobs: int = 1,
    view: Callable[[str, Sequence[Bank]], AbstractContextManager[Tell]] = unseen,
) -> tuple[list[WrittenEvaluation], BankGrid]:
    """Ask a finished run and write the answers into ``output``, by default ``run_dir``/evaluate; figures at the end.

    Returns what was written for each step, and the cells that were asked. ``jobs``: how many processes answer banks at
    once. ``view``: opens what is told how far the evaluation has come, given the name of the run and its banks. Raises
    what `Evaluation` and its methods raise, and UserError for a component that those processes could not find.
    """
    if jobs > 1:
        cells = questions.cells
        expect_sent([*cells.function_classes, *cells.inputs, *cells.shifts, *questions.metrics])
    written: list[WrittenEvaluation] = []
    predictions = None if questions.predictions is None else AskedPredictions(questions.predictions)
    adaptations = asked_adaptations(questions.adaptations)
    steps: list[int | None] = [*asked_steps(run_dir, questions.steps)] if questions.steps else [None]
    for step in steps:
        question = Question(run_dir, questions, device, step, tuple(plugins))
        asked = question.opened()
        evaluation, grid = asked.evaluation, asked.grid
        name = evaluation.run.name if step is None else f"{evaluation.run.name} at step {step}"
        into, last = output or run_dir / "evaluate", step == steps[-1]
        with view(name, grid.banks) as tell:
            written.append(
                evaluation.score(
                    grid, into, tell, asked.models, adaptations=adaptations, draw=last, metrics=asked.metrics,
                    predictions=predictions, elsewhere=asked.by_processes(question, jobs) if jobs > 1 else None,
                )
            )  # fmt: skip
    return written, grid
