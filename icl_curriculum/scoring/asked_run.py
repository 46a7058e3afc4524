"""What a finished run is asked, in words, and the same opened: in this process, or in several that share the banks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.log import LOG
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.progress import Tell, tell_nobody
from icl_curriculum.evaluation import NamedLearner
from icl_curriculum.metrics import Metric
from icl_curriculum.models import Adaptation
from icl_curriculum.results.predictions import BankPredictions
from icl_curriculum.runs.evaluation import Scored
from icl_curriculum.scoring.asked_metrics import asked_metrics
from icl_curriculum.scoring.asked_models import asked_adaptations
from icl_curriculum.scoring.bank_processes import answered_by_processes
from icl_curriculum.scoring.grid import AskedCells, BankGrid
from icl_curriculum.scoring.run_evaluation import AnsweredBank, Elsewhere, Evaluation


@dataclass(frozen=True)
class EvaluationQuestions:
    """What a finished run is asked, in the words of the command line.

    ``cells``: classes, inputs and shifts, by default the run's own classes and inputs under every shift, on
    ``n_prompts`` prompts each, by default as many as the run had. ``masks``, ``instructions``: in which ways the model
    is asked beside as it is, see `asked_models`; ``adaptations``: how it is adapted, see `Adaptation.parse`.
    ``metrics``: beside those that every evaluation has. ``steps``: those whose kept weights are asked, numbers or
    ``all``; by default the last. ``predictions``: the format in which what everyone answers is written, too.
    """

    cells: AskedCells = field(default_factory=AskedCells)
    n_prompts: int | None = None
    masks: Sequence[str] = ()
    instructions: Sequence[str] = ()
    adaptations: Sequence[str] = ()
    metrics: Sequence[str | Metric] = ()
    steps: Sequence[str] = ()
    predictions: str | None = None


@dataclass(frozen=True)
class Question:
    """What a run is asked, by its files, so that any process of this machine can open it."""

    run_dir: Path
    questions: EvaluationQuestions
    device: str
    step: int | None
    plugins: tuple[Path, ...]
    #: What was found in these files by the process that sends it; None: nobody has looked.
    found: tuple[Any, ...] | None = None

    def opened(self) -> AskedRun:
        """The run and what it is asked. UserError where the files are not those of the process that has sent it."""
        evaluation = Evaluation(self.run_dir, plugins=self.plugins, device=self.device, step=self.step)
        questions = self.questions
        grid = evaluation.grid(questions.cells, questions.n_prompts)
        asked = AskedRun(
            evaluation, grid, evaluation.models(masks=questions.masks, instructions=questions.instructions),
            asked_adaptations(questions.adaptations),
            asked_metrics(
                questions.metrics, [bank.drawn_task for bank in grid.banks],
                evaluation.run.experiment.evaluation.metrics,
            ),
        )  # fmt: skip
        if self.found is not None and asked.found != self.found:
            raise UserError(f"{self.run_dir}, or a plugin, was changed while it was asked; ask again")
        return asked


@dataclass(frozen=True)
class AskedRun:
    """A run that was opened, with all that it is asked."""

    evaluation: Evaluation
    grid: BankGrid
    models: list[NamedLearner]
    adaptations: list[Adaptation]
    metrics: Sequence[Metric]

    @property
    def found(self) -> tuple[Any, ...]:
        """What tells these files from others: the weights, config and plugins of the run, and what is asked."""
        manifest, plugins = self.evaluation.manifest, self.evaluation.plugins
        return (
            manifest.get("weights"), manifest["config_hash"], *plugins.values(), *(bank.key for bank in self.grid.banks)
        )  # fmt: skip

    def by_processes(self, question: Question, jobs: int) -> Elsewhere:
        """What has so many processes answer the banks."""

        def ask(tell: Tell) -> Iterator[AnsweredBank]:
            banks, done = self.grid.banks, 0
            sent = replace(question, found=self.found)
            for number, (values, predictions) in answered_by_processes(_answering, sent, len(banks), jobs):
                done, scored = done + 1, Scored(banks[number], *values)
                LOG.info("bank %s: %s prompts, hash %s", scored.name, scored.bank.n_prompts, scored.content)
                yield AnsweredBank(scored, predictions)
                tell(done / len(banks))

        return ask


def _answering(question: Question) -> Callable[[int], tuple[tuple[Any, ...], Sequence[BankPredictions]]]:
    """What answers banks in a process of its own, by their numbers: the fields of `Scored` but the bank, predictions.

    The bank stays where it is, as it may be of classes that only the files of the question define.
    """
    asked = question.opened()
    evaluation, plugins = asked.evaluation, asked.evaluation.plugins_of(asked.grid)
    predictions = question.questions.predictions is not None

    def answer(number: int) -> tuple[tuple[Any, ...], Sequence[BankPredictions]]:
        with computing_threads(evaluation.run.experiment.threads):
            (found,) = evaluation.ask(
                asked.grid.banks[number : number + 1], tell_nobody, asked.models, asked.adaptations, asked.metrics,
                predictions, plugins,
            )  # fmt: skip
        scored = found.scored
        return (scored.content, scored.rows, scored.failures, scored.differences, scored.doubts), found.predictions

    return answer
