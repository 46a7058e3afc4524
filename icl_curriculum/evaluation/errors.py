"""Errors at every prompt length, normalised as the suite defines it.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.contracts import at_work
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.prompts import Learner, Prompts
from icl_curriculum.registry import Component
from icl_curriculum.statistics import Array, mean_interval, median_interval


@dataclass(frozen=True)
class Entry:
    """A learner as the tables name it; ``component`` is what answers for it where it fails."""

    id: str
    kind: str
    learner: Learner
    component: Component | None = None


class Oracle:
    """The oracle of a function class as a learner."""

    def __init__(self, function_class: Any) -> None:
        self.function_class = function_class

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        predicted: Tensor = self.function_class.oracle(prompts)
        return predicted


def oracle_entry(bank: Bank) -> list[Entry]:
    """The class's oracle: ``oracle`` where it is the attainable optimum, ``informed_oracle`` for a lower bound.

    None for a pool of functions, about which it knows nothing: there it is neither.
    """
    kind = bank.task.function_class.oracle_kind
    if kind is None or bank.task.function_class.pool_size is not None:
        return []
    name = "oracle" if kind == "optimum" else "informed_oracle"
    return [Entry(name, "oracle", Oracle(bank.task.function_class), bank.task.function_class)]


def squared_errors(learner: Learner, prompts: Prompts) -> Array:
    """(prediction - clean target)^2 in float64: (n, points). ValueError for predictions of another shape."""
    predictions = learner.predict(prompts)
    if predictions.shape != prompts.targets.shape:
        expected = f"{tuple(prompts.targets.shape)} (prompts, points)"
        raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
    difference = predictions.double() - prompts.targets.double()
    errors: Array = difference.square().cpu().numpy()
    return errors


@dataclass(frozen=True)
class Row:
    """One number of evaluation.csv: an error of a learner at a prompt length, with its interval over prompts."""

    learner: str
    learner_kind: str
    n_context: int
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_prompts: int


def metric_rows(entry: Entry, errors: Array, bank: Bank, prompts: Prompts, confidence: float | None) -> list[Row]:
    """All metrics of a learner at every defined prompt length.

    - ``squared_error``: mean of (prediction - f(q))^2 in the units of the targets.
    - ``normalized_error``: over E f(q)^2 under the bank's own inputs, in closed form or from one fixed
      Monte Carlo; 1 is the zero predictor.
    - ``error_over_reference``: over the class's trivial error under its reference inputs.
    - ``median_error``: median squared error over the median of f(q)^2; given alone, where E f(q)^2 is infinite.

    Intervals are empty (NaN) where the squared error has no finite variance, and where ``confidence`` is None.
    """
    task = bank.drawn_task
    mask = None if prompts.mask is None else prompts.mask.cpu().numpy()
    if task.has_second_moment():
        value = errors.mean(axis=0)
        scales = {
            "squared_error": 1.0,
            "normalized_error": bank.second_moment,
            "error_over_reference": bank.task.trivial_error(),
        }
        interval = mean_interval if task.has_error_variance() else None
    else:
        value = np.percentile(errors, 50, axis=0, method="lower")
        # A class that is zero on half of its inputs has no such error: empty.
        median = float(np.median(prompts.targets.double().square().cpu().numpy()))
        scales = {"median_error": median or math.nan}
        interval = median_interval
    low = high = np.full_like(value, np.nan)
    if interval is not None and confidence is not None:
        low, high = interval(errors, confidence)
    return [
        Row(entry.id, entry.kind, k, metric, value[k] / scale, low[k] / scale, high[k] / scale, len(errors))
        for metric, scale in scales.items()
        for k in range(errors.shape[1])
        if mask is None or mask[:, k].all()
    ]


def score(entries: Sequence[Entry], bank: Bank, prompts: Prompts, confidence: float | None) -> list[Row]:
    """Every learner on the same prompts. Learners other than oracles never see the functions' parameters."""
    rows: list[Row] = []
    hidden = prompts.without_truth()
    for entry in entries:
        with at_work(entry.component, "predict"):
            errors = squared_errors(entry.learner, prompts if entry.kind == "oracle" else hidden)
        rows += metric_rows(entry, errors, bank, prompts, confidence)
    return rows
