"""Errors at every prompt length, normalised as the suite defines it.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.baselines import pool_posterior_mean
from icl_curriculum.contracts import at_work
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.prompts import Learner, Prompts
from icl_curriculum.registry import Component
from icl_curriculum.statistics import Array, mean_interval, median_interval

#: Of larger pools the posterior mean is computed where it is asked for by name, as the baseline `dmmse`.
LARGEST_POOL = 8192


@dataclass(frozen=True)
class Entry:
    """A learner as the tables name it; ``component`` is what answers for it where it fails."""

    id: str
    kind: str
    learner: Learner
    component: Component | None = None


@dataclass(frozen=True)
class Oracle:
    """The oracle of a function class as a learner; for a class with a pool, the posterior mean over it."""

    function_class: FunctionClass

    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        if self.function_class.pool_size is not None:
            return pool_posterior_mean(self.function_class, prompts, prompts.scale)
        return self.function_class.oracle(prompts)


def oracle_entry(bank: Bank) -> list[Entry]:
    """The class's oracle: ``oracle`` where it is the attainable optimum, ``informed_oracle`` for a lower bound.

    For a pool of up to `LARGEST_POOL` functions it is the posterior mean over them, the optimum for who knows the
    pool; not where inputs tell of the function, and noise keeps the labels from telling it alone.
    """
    task = bank.drawn_task
    function_class = task.function_class
    kind = function_class.oracle_for(task.dims, task.raw_noise)
    if function_class.pool_size is not None:
        told_by_inputs = function_class.owns_inputs and task.raw_noise > 0
        kind = "optimum" if function_class.pool_size <= LARGEST_POOL and not told_by_inputs else None
    if kind is None:
        return []
    name = "oracle" if kind == "optimum" else "informed_oracle"
    return [Entry(name, "oracle", Oracle(task.function_class), task.function_class)]


def answers(learner: Learner, prompts: Prompts) -> Array:
    """A learner's predictions in float64: (n, points). ValueError for predictions of another shape."""
    predictions = learner.predict(prompts)
    if predictions.shape != prompts.targets.shape:
        expected = f"{tuple(prompts.targets.shape)} (prompts, points)"
        raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
    array: Array = predictions.detach().double().cpu().numpy()
    return array


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


@dataclass(frozen=True)
class _Metric:
    """Errors of every prompt, what they are divided by, and the interval of their mean or median."""

    name: str
    errors: Array
    scale: float
    middle: Callable[[Array], Array]
    interval: Callable[[Array, float], tuple[Array, Array]] | None

    def summary(self, confidence: float | None) -> tuple[Array, Array, Array]:
        """The mean or median over prompts and its interval, not yet divided by the scale."""
        values = self.middle(self.errors)
        low = high = np.full_like(values, np.nan)
        if self.interval is not None and confidence is not None:
            low, high = self.interval(self.errors, confidence)
        return values, low, high


def metric_rows(entry: Entry, predictions: Array, bank: Bank, prompts: Prompts, confidence: float | None) -> list[Row]:
    """All metrics of a learner at every defined prompt length, from its ``predictions`` (n, points).

    - ``squared_error``: mean of (prediction - f(q))^2 in the units of the targets.
    - ``normalized_error``: over E f(q)^2 under the bank's own inputs, in closed form or from one fixed
      Monte Carlo; 1 is the zero predictor. For sign-valued classes: misclassification over 1/2.
    - ``accuracy``: for sign-valued classes, the share of queries whose sign is right; a prediction of 0 is half right.
    - ``error_over_reference``: the squared error over the class's trivial error under its reference inputs.
    - ``median_error``: median squared error over the median of f(q)^2; given alone, where E f(q)^2 is infinite.

    Intervals are empty (NaN) where the squared error has no finite variance, and where ``confidence`` is None.
    """
    mask = None if prompts.mask is None else prompts.mask.cpu().numpy()
    ks = [k for k in range(predictions.shape[1]) if mask is None or mask[:, k].all()]
    # Undefined lengths are no part of any figure, so nothing is computed of them.
    targets = prompts.targets.double().cpu().numpy()[:, ks]
    rows = []
    # Several metrics scale the same errors.
    summaries: dict[int, tuple[Array, Array, Array]] = {}
    metrics = _metrics(predictions[:, ks], targets, bank)
    for metric in metrics:
        if id(metric.errors) not in summaries:
            summaries[id(metric.errors)] = metric.summary(confidence)
        values, low, high = summaries[id(metric.errors)]
        rows += [
            Row(
                entry.id, entry.kind, k, metric.name,
                values[i] / metric.scale, low[i] / metric.scale, high[i] / metric.scale, len(targets),
            )
            for i, k in enumerate(ks)
        ]  # fmt: skip
    return rows


def _metrics(predictions: Array, targets: Array, bank: Bank) -> list[_Metric]:
    task = bank.drawn_task
    squared: Array = np.square(predictions - targets)
    if not task.has_second_moment():
        # A class that is zero on half of its inputs has no such error: empty.
        median = float(np.median(np.square(targets))) or math.nan
        return [_Metric("median_error", squared, median, _lower_median, median_interval)]
    interval = mean_interval if task.has_error_variance() else None

    def mean_of(name: str, errors: Array, scale: float) -> _Metric:
        return _Metric(name, errors, scale, _mean, interval)

    reference = mean_of("error_over_reference", squared, bank.reference_error)
    if task.function_class.sign_valued:
        right: Array = np.where(np.isnan(predictions), np.nan, (1 + np.sign(predictions) * np.sign(targets)) / 2)
        return [
            mean_of("squared_error", squared, 1.0),
            mean_of("normalized_error", 1 - right, 0.5),
            reference,
            mean_of("accuracy", right, 1.0),
        ]
    return [
        mean_of("squared_error", squared, 1.0),
        mean_of("normalized_error", squared, bank.second_moment),
        reference,
    ]


def _mean(errors: Array) -> Array:
    mean: Array = errors.mean(axis=0)
    return mean


def _lower_median(errors: Array) -> Array:
    median: Array = np.percentile(errors, 50, axis=0, method="lower")
    return median


def score(entries: Sequence[Entry], bank: Bank, prompts: Prompts, confidence: float | None) -> list[Row]:
    """Every learner on the same prompts. Learners other than oracles never see the functions' parameters."""
    rows: list[Row] = []
    hidden = prompts.without_truth()
    for entry in entries:
        with at_work(entry.component, "predict"):
            predictions = answers(entry.learner, prompts if entry.kind == "oracle" else hidden)
        rows += metric_rows(entry, predictions, bank, prompts, confidence)
    return rows
