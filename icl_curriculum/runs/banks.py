"""The banks that an experiment asks: of its evaluation, and of the errors while it learns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from icl_curriculum.config.experiment import Experiment
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.core.errors import UserError
from icl_curriculum.evaluation import (
    Bank,
)
from icl_curriculum.shifts import Shift, why_undefined
from icl_curriculum.tasks import Task


def check_banks(experiment: Experiment) -> None:
    """UserError for a shift whose rows could not be told from those of other prompts."""
    for _ in (*evaluation_banks(experiment), *learning_banks(experiment)):
        pass


def evaluation_banks(experiment: Experiment) -> Iterator[Bank]:
    """Every cell of the experiment as it is, then under every shift that is defined for it, each once."""
    config = experiment.evaluation
    return _banks(experiment, config.shifts, config.n_prompts, "evaluation")


def learning_banks(experiment: Experiment) -> Iterator[Bank]:
    """The small banks behind learning.csv: every cell as it is, then under the learning shifts, each once."""
    config = experiment.evaluation
    return _banks(experiment, config.learning_shifts, config.learning_prompts, "learning")


def _banks(
    experiment: Experiment, shifts: Sequence[Shift], n_prompts: int, purpose: Literal["evaluation", "learning"]
) -> Iterator[Bank]:
    seen: dict[tuple[str, str, str], Bank] = {}
    for shift in (None, *shifts):
        for task in experiment.tasks().values():
            if shift is not None and why_undefined(shift, task) is not None:
                continue
            bank = Bank(task, shift, n_prompts, experiment.points, experiment.evaluation.bank_seed, purpose)
            if shift is not None:
                _expect_columns(shift, task)
            if bank.key not in seen:
                seen[bank.key] = bank
                yield bank
            elif not bank.same_prompts(seen[bank.key]):
                known, key = seen[bank.key], "learning_shifts" if purpose == "learning" else "shifts"
                what = "prompts without a shift" if known.shift is None else f"the shift {known.shift.id!r}"
                raise UserError(
                    f"{bank.shift_name!r} would stand in the tables as {'/'.join(bank.key)}, as {what} do; expected "
                    f"names of its own",
                    key=f"evaluation.{key}",
                    way_out="let its columns tell it apart, or give it an id",
                )


def _expect_columns(shift: Shift, task: Task) -> None:
    """ComponentFailed unless a shift gives two texts that tables can hold."""
    with at_work(shift, "columns"):
        columns = shift.columns(task)
    texts = isinstance(columns, tuple) and len(columns) == 2 and all(isinstance(text, str) for text in columns)
    if not texts or not all(text and text.isprintable() for text in columns):
        raise broken_contract(
            shift, "columns", found=repr(columns), expected="the ids of inputs and of the shift, two printable texts"
        )


def undefined_cells(experiment: Experiment) -> list[str]:
    """``parity under random_quadrants: <reason>``: the shifts of the experiment that a class is not evaluated under."""
    config = experiment.evaluation
    reasons = {
        f"{task.function_class.id} under {shift.id}: {reason}": None
        for shift in (*config.shifts, *config.learning_shifts)
        for task in experiment.tasks().values()
        if (reason := why_undefined(shift, task)) is not None
    }
    return list(reasons)
