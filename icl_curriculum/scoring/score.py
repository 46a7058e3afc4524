"""Any learner on any task, without training: its errors and whom it answers like, in the tables of an evaluated run."""

from __future__ import annotations

import reprlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
from pydantic import ValidationError

from icl_curriculum.config.mistakes import problems
from icl_curriculum.core.arguments import plain, whole_number
from icl_curriculum.core.component import LARGEST
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.named_components import as_component
from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation import Bank, BaselineFailure
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.metrics import Metric
from icl_curriculum.models import Model
from icl_curriculum.results.columns import TABLES, of_run
from icl_curriculum.scoring.asked_bank import AskedBank
from icl_curriculum.scoring.asked_metrics import asked_metrics
from icl_curriculum.scoring.grid import usual_points
from icl_curriculum.scoring.learners import Contender, contenders, for_training_on, read_dims
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task


def score(
    learners: Any,
    tasks: Task | Sequence[Task],
    *,
    shifts: str | Shift | Sequence[str | Shift] = (),
    points: int | None = None,
    n_prompts: int = 1280,
    bank_seed: int = 0,
    costly_prompts: int = 128,
    lengths: Literal["all"] | Sequence[int] | None = None,
    confidence: float = 0.9,
    metrics: str | Metric | Sequence[str | Metric] = (),
) -> pd.DataFrame:
    """The errors of learners and of the class's oracle on frozen prompts, as a table like ``evaluation.csv``.

    ``learners``: one, a list, or a dict by name, of anything that `scoring.contender` takes: names of baselines,
    folders of finished runs, scikit-learn regressors, functions ``(xs, ys, x_query) -> y``, objects with ``predict``.
    ``tasks``: asked without a shift and under each of ``shifts``, each by name, by id or itself. ``points``: of a
    prompt, by default 4 dims + 1. The prompts are those of an experiment with the same ``n_prompts``, ``points`` and
    ``bank_seed``.

    What fits every prompt anew (regressors, functions, costly baselines) is asked on the first ``costly_prompts`` of
    them and with d/2, d, 2 d and 4 d examples, or the numbers in ``lengths``, or ``"all"``. Prompts that a learner
    fails on are left out of its errors, with a warning that counts them; so is a warning what cannot be true of the
    prompts or the answers. ComponentFailed for a learner whose answers follow from more than they may.

    ``metrics``: beside those that every evaluation has, `usual_metrics`, by name or as a `Metric`. ``in_distribution``
    is that of the trained runs.
    Raises UserError for what cannot be meant.
    """
    asking = _Asking.of(
        shifts, points, n_prompts, bank_seed, costly_config(costly_prompts, lengths), confidence, metrics
    )
    with own_settings():
        rows = [row for _, found in asking.answered(learners, tasks) for row in found]
    return pd.DataFrame(rows, columns=TABLES["evaluation"].header)


def prediction_differences(
    learners: Any,
    tasks: Task | Sequence[Task],
    *,
    shifts: str | Shift | Sequence[str | Shift] = (),
    points: int | None = None,
    n_prompts: int = 1280,
    bank_seed: int = 0,
    costly_prompts: int = 128,
    lengths: Literal["all"] | Sequence[int] | None = None,
    confidence: float = 0.9,
) -> pd.DataFrame:
    """How far the answers of learners are apart on frozen prompts, as a table like ``prediction_differences.csv``.

    Every model and every other learner, the class's oracle included; where no model is among the ``learners``, every
    two. What is compared and how it is normalised is what `evaluation.prediction_differences` says. The arguments are
    those of `score`, with the same prompts, lengths and warnings. Raises UserError for what cannot be meant.
    """
    asking = _Asking.of(shifts, points, n_prompts, bank_seed, costly_config(costly_prompts, lengths), confidence)
    with own_settings():
        rows = [
            row
            for bank, _ in asking.answered(learners, tasks)
            for columns, found in bank.differences()
            for row in of_run(columns, found)
        ]
    return pd.DataFrame(rows, columns=TABLES["prediction_differences"].header)


@dataclass(frozen=True)
class _Asking:
    """What learners are asked."""

    shifts: Sequence[Shift]
    points: int | None
    n_prompts: int
    bank_seed: int
    costly: CostlyConfig
    confidence: float
    metrics: Any = ()

    @classmethod
    def of(
        cls, shifts: Any, points: Any, n_prompts: Any, bank_seed: Any, costly: CostlyConfig, confidence: Any,
        metrics: Any = (),
    ) -> _Asking:  # fmt: skip
        """What was asked, in Python's own numbers. UserError, naming the argument, for what cannot be meant."""
        several = [shifts] if isinstance(shifts, Shift | str | dict) else shifts
        if not isinstance(several, Iterable):
            raise UserError(f'expected shifts, such as "scaled_inputs/2", found {reprlib.repr(shifts)}', key="shifts")
        shifts = [as_component(shift, SHIFTS, "shifts") for shift in several]
        confidence = plain(confidence)
        if not isinstance(confidence, float) or not 0 < confidence < 1:
            raise UserError(f"expected a number between 0 and 1, found {reprlib.repr(confidence)}", key="confidence")
        return cls(
            tuple(shifts),
            None if points is None else whole_number(points, "points", least=2, most=LARGEST),
            whole_number(n_prompts, "n_prompts", least=2, most=LARGEST),
            whole_number(bank_seed, "bank_seed", least=0),
            costly,
            confidence,
            [metrics] if isinstance(metrics, str | Metric) else metrics,
        )

    def answered(
        self, learners: Any, tasks: Task | Sequence[Task]
    ) -> Iterator[tuple[AskedBank, list[tuple[Any, ...]]]]:
        """The bank of every task, without a shift and under each, that all have answered, and their errors' rows.

        Prompts that a learner failed on are a warning.
        """
        all_tasks = [tasks] if isinstance(tasks, Task) else list(tasks)
        for task in all_tasks:
            if not isinstance(task, Task):
                raise UserError(f"expected tasks, such as Task(function_class, inputs, 5), found {task!r}", key="tasks")
        classes, dims = [task.function_class for task in all_tasks], read_dims(all_tasks)
        found = for_training_on(contenders(learners), classes, dims)
        for item in found:
            reasons = [item.why_not(function_class) for function_class in classes]
            if reasons and None not in reasons:
                raise UserError(str(reasons[0]), key="learners")
        metrics = asked_metrics(self.metrics, all_tasks)
        probed: set[tuple[str, str]] = set()
        for task in all_tasks:
            task.check()
            for shift in (None, *self.shifts):
                reason = None if shift is None else why_undefined(shift, task)
                if shift is not None and reason is not None:
                    raise UserError(f"{task.function_class.id} under {shift.id}: {reason}")
                bank = Bank(task, shift, self.n_prompts, self.points or usual_points(task.dims), self.bank_seed)
                _expect_readable(found, bank)
                self.costly.check((bank.points if shift is None else shift.points(bank.points)) - 1, "lengths")
                failures: list[BaselineFailure] = []
                asked = AskedBank(
                    bank, found, self.confidence, self.costly, failures.append, probed=probed, metrics=metrics
                )
                rows = [row for item in asked.everyone() for row in of_run(item.columns, asked.rows(item))]
                for said in (*failures, *asked.doubts()):
                    # Where the caller of the public function stands.
                    warnings.warn(f"{'/'.join(bank.key)}: {said}", stacklevel=4)
                yield asked, rows


def _expect_readable(found: Sequence[Contender], bank: Bank) -> None:
    """UserError for prompts that a model cannot read: of other dimensions than it was trained in, or too long."""
    for item in found:
        trained = None if item.trained is None else item.trained.run.experiment.dims
        if trained not in (None, bank.task.dims):
            raise UserError(
                f"{item.entry.id}: the model was trained in {trained} dimensions, found {bank.task.dims}", key="tasks"
            )
        if not isinstance(item.entry.learner, Model):
            continue
        most, steps = item.entry.learner.max_points, bank.drawn_task.function_class.shown_steps
        if bank.length * (steps + 1) > most:
            with_steps = f" with {steps} reasoning step{'s' * (steps > 1)} each" if steps else ""
            raise UserError(
                f"{item.entry.id}: prompts of {bank.length} points{with_steps}, the model reads at most {most}",
                key="points",
            )


def costly_config(n_prompts: int, lengths: Any) -> CostlyConfig:
    """How costly learners are asked: on so many prompts, at these lengths. UserError for what is none."""
    try:
        found: Any = plain(lengths)
        found = list(found) if isinstance(found, range) else found
        return CostlyConfig.model_validate({"n_prompts": n_prompts, "lengths": found})
    except ValidationError as error:
        raise UserError("; ".join(problems(error))) from None
