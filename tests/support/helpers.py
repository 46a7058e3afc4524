"""What several tests share: building tasks by name, and comparing means with exact values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.core.streams import Streams
from icl_curriculum.evaluation import Bank, ErrorRow, NamedLearner, score
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task

Spec = str | dict[str, Any]

STUDENT_T_10: Spec = {"name": "student_t", "df": 10.0}


def class_of(spec: Spec) -> FunctionClass:
    built = FUNCTION_CLASSES.build(spec)
    assert isinstance(built, FunctionClass)
    return built


def inputs_of(spec: Spec) -> InputDistribution:
    built = INPUTS.build(spec)
    assert isinstance(built, InputDistribution)
    return built


def shift_of(spec: Spec) -> Shift:
    built = SHIFTS.build(spec)
    assert isinstance(built, Shift)
    return built


def baseline_of(spec: Spec) -> Baseline:
    built = BASELINES.build(spec)
    assert isinstance(built, Baseline)
    return built


def task_of(function_class: Spec, inputs: Spec = "gaussian", dims: int = 5, label_noise: float | None = None) -> Task:
    return Task(class_of(function_class), inputs_of(inputs), dims, label_noise)


def draw(task: Task, n: int, points: int, seed: int = 0) -> Prompts:
    return task.draw(n, points, Streams(seed, "test"))


def errors_of(learner: Learner, prompts: Prompts) -> npt.NDArray[np.float64]:
    """Squared errors against the clean targets: (prompts, points)."""
    return (learner.predict(prompts).double() - prompts.targets.double()).square().numpy()


def assert_mean(
    values: Tensor | npt.NDArray[Any],
    expected: float | Sequence[float],
    *,
    rounding: float | Sequence[float] = 0.0,
    errors: float = 5.0,
) -> None:
    """The mean over axis 0 (independent rows) is ``expected`` within ``errors`` of its own standard errors.

    ``rounding``: how far the expected values may be off by themselves, e.g. one unit of their last printed digit.
    """
    array = np.asarray(values, dtype=np.float64)
    mean = array.mean(axis=0)
    tolerance = errors * array.std(axis=0, ddof=1) / np.sqrt(len(array)) + np.asarray(rounding) + 1e-12
    off = np.abs(mean - np.asarray(expected))
    assert (off <= tolerance).all(), f"mean {mean}, expected {expected}, tolerance {tolerance}"


def squares_of(values: Tensor) -> Tensor:
    """Squares in float64, summed over the numbers of a label: (prompts, points)."""
    squares = values.double().square()
    return squares if squares.ndim == 2 else squares.sum(dim=-1)


def same(one: Prompts, other: Prompts, *names: str) -> bool:
    """Whether the named tensors of two batches are equal bit by bit."""
    return all(getattr(one, name).equal(getattr(other, name)) for name in names)


def reference_task(function_class: Spec, label_noise: float | None = None, *, dims: int | None = None) -> Task:
    """A class under its own reference inputs; by default in 5 dimensions, or as many as it can have."""
    built = class_of(function_class)
    dims = dims or (1 if built.name == "chebyshev" else 5)
    return Task(built, inputs_of(built.reference(dims)), dims, label_noise)


def shifted(shift: Spec, task: Task, n: int, points: int, seed: int = 0) -> Prompts:
    return shift_of(shift).draw(task, n, points, Streams(seed, "test"))


def values_at(task: Task, prompts: Prompts, xs: Tensor) -> Tensor:
    """The clean raw values of the prompts' own functions at some inputs."""
    assert prompts.truth is not None
    return task.function_class.evaluate(dict(prompts.truth), xs)


def bank_of(
    function_class: Spec = "linear",
    shift: Spec | None = None,
    inputs: Spec | None = "gaussian",
    *,
    n: int = 8,
    points: int = 5,
    seed: int = 0,
    label_noise: float | None = None,
    purpose: Literal["evaluation", "learning"] = "evaluation",
) -> Bank:
    """A small bank; ``inputs = None``: the class's reference inputs, in the dimensions of `reference_task`."""
    if inputs is None:
        task = reference_task(function_class, label_noise)
    else:
        task = task_of(function_class, inputs, 5, label_noise)
    return Bank(task, None if shift is None else shift_of(shift), n, points, seed, purpose)


def rows_of(learner: Learner, bank: Bank, confidence: float | None = 0.9) -> list[ErrorRow]:
    return score([NamedLearner("learner", "baseline", learner)], bank, bank.draw(), confidence)


def values_of(rows: Sequence[ErrorRow], metric: str) -> list[float]:
    return [row.value for row in rows if row.metric == metric]
