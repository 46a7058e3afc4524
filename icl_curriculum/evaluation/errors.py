"""Errors at every prompt length, normalised as the suite defines it.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_curriculum.core.progress import Tell, tell_nobody, within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation.asking import CostlyConfig, Reply, ask, defined_lengths
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.failures import BaselineFailure
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.results.columns import EvaluationRow
from icl_curriculum.results.statistics.prompts import Array, lower_median, mean_interval, median_interval


@dataclass(frozen=True)
class ErrorRow:
    """One number of evaluation.csv: an error of a learner at a prompt length, with its interval over prompts."""

    learner: str
    learner_kind: str
    n_context: int
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_prompts: int


def evaluation_rows(errors: Sequence[ErrorRow], bank: Bank, *, step: int, trained_points: int) -> list[EvaluationRow]:
    """The rows of evaluation.csv that the errors on a bank make.

    ``step``: of the model that was asked; ``trained_points``: up to which points it was trained on such prompts, 0 for
    a bank that is out of distribution.
    """
    function_class, inputs, shift = bank.key
    return [
        EvaluationRow(
            step=step, learner=error.learner, learner_kind=error.learner_kind, function_class=function_class,
            input_distribution=inputs, shift=shift, in_distribution=error.n_context < trained_points,
            n_context=error.n_context, metric=error.metric, value=error.value, ci_low=error.ci_low,
            ci_high=error.ci_high, n_prompts=error.n_prompts,
        )
        for error in errors
    ]  # fmt: skip


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


def metric_rows(
    entry: NamedLearner, predictions: Array, bank: Bank, prompts: Prompts, confidence: float | None
) -> list[ErrorRow]:
    """All metrics of a learner at every defined prompt length, from its ``predictions`` (n, points).

    Each is over the prompts whose entry at that length is defined, and that the learner answered.

    - ``squared_error``: mean of (prediction - f(q))^2 in the units of the targets.
    - ``normalized_error``: over E f(q)^2 under the bank's own inputs, in closed form or from one fixed
      Monte Carlo; 1 is the zero predictor. For sign-valued classes: misclassification over 1/2.
    - ``accuracy``: for sign-valued classes, the share of queries whose sign is right; a prediction of 0 is half right.
    - ``error_over_reference``: the squared error over the class's trivial error under its reference inputs.
    - ``median_error``: median squared error over the median of f(q)^2; given alone, where E f(q)^2 is infinite.

    Intervals are empty (NaN) where the squared error has no finite variance, and where ``confidence`` is None.
    """
    # Undefined entries are no part of any figure, so nothing is computed of them.
    ks = defined_lengths(prompts)
    asked, targets = predictions[:, ks], prompts.targets.double().cpu().numpy()[:, ks]
    rows = [
        row
        for kept, columns in _answered(entry, asked, prompts.defined().cpu().numpy()[:, ks])
        for row in _rows(
            entry, [ks[i] for i in columns], asked[kept][:, columns], targets[kept][:, columns], bank, confidence
        )
    ]
    metrics = list(dict.fromkeys(row.metric for row in rows))
    return sorted(rows, key=lambda row: (metrics.index(row.metric), row.n_context))


def _answered(
    entry: NamedLearner, predictions: Array, defined: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], list[int]]]:
    """Which prompts count, and for which columns: where an entry is ``defined``, and no baseline has failed."""
    known = defined & np.isfinite(predictions) if entry.kind == "baseline" else defined
    groups: dict[bytes, list[int]] = {}
    for column in range(predictions.shape[1]):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    for columns in groups.values():
        kept = known[:, columns[0]]
        if kept.any():
            yield kept, columns


def _rows(
    entry: NamedLearner, ks: Sequence[int], predictions: Array, targets: Array, bank: Bank, confidence: float | None
) -> Iterator[ErrorRow]:
    # Several metrics scale the same errors.
    summaries: dict[int, tuple[Array, Array, Array]] = {}
    for metric in _metrics(predictions, targets, bank):
        if id(metric.errors) not in summaries:
            summaries[id(metric.errors)] = metric.summary(confidence)
        values, low, high = (numbers / metric.scale for numbers in summaries[id(metric.errors)])
        for i, k in enumerate(ks):
            yield ErrorRow(entry.id, entry.kind, k, metric.name, values[i], low[i], high[i], len(targets))


def _metrics(predictions: Array, targets: Array, bank: Bank) -> list[_Metric]:
    task = bank.drawn_task
    squared: Array = np.square(predictions - targets)
    if not task.has_second_moment():
        # A class that is zero on half of its inputs has no such error: empty.
        median = float(np.median(np.square(targets))) or math.nan
        return [_Metric("median_error", squared, median, lower_median, median_interval)]
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


def score(
    entries: Sequence[NamedLearner],
    bank: Bank,
    prompts: Prompts,
    confidence: float | None,
    *,
    costly: CostlyConfig | None = None,
    tell: Tell = tell_nobody,
    failed: Callable[[BaselineFailure], None] = lambda failure: None,
    replied: Callable[[NamedLearner, Reply], None] = lambda entry, reply: None,
) -> list[ErrorRow]:
    """Every learner on the same prompts. Learners other than oracles never see the functions' parameters.

    ``failed`` is told of prompts that a baseline could not answer; ``tell`` of how far a costly one is; ``replied`` of
    what each learner answered.
    """
    rows: list[ErrorRow] = []
    for number, entry in enumerate(entries):
        reply = ask(entry, prompts, costly or CostlyConfig(), within(tell, number, len(entries)))
        replied(entry, reply)
        rows += metric_rows(entry, reply.predictions, bank, reply.prompts, confidence)
        for failure in reply.failures:
            failed(failure)
    return rows
