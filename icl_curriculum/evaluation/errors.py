"""Errors at every prompt length, normalised as the suite defines it.

Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from icl_curriculum.core.contracts import as_number, at_work, expect_shape
from icl_curriculum.core.progress import Tell, tell_nobody, within
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation.asking import CostlyConfig, Reply, answered_entries, ask, defined_lengths
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.failures import BaselineFailure
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.metrics import Metric, usual_metrics
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


def metric_rows(
    entry: NamedLearner,
    predictions: Array,
    bank: Bank,
    prompts: Prompts,
    confidence: float | None,
    metrics: Sequence[Metric] | None = None,
) -> list[ErrorRow]:
    """Metrics of a learner at every defined prompt length, from its ``predictions`` (n, points).

    Each is over the prompts whose entry at that length is defined, and that the learner answered. ``metrics``: by
    default the `usual_metrics` of what the prompts are of. Intervals are empty (NaN) where the error has no finite
    variance, and where ``confidence`` is None.
    """
    # Undefined entries are no part of any figure, so nothing is computed of them.
    ks = defined_lengths(prompts)
    asked, targets = predictions[:, ks], prompts.targets.double().cpu().numpy()[:, ks]
    chosen = usual_metrics(bank.drawn_task) if metrics is None else metrics
    rows = [
        row
        for kept, columns in _answered(entry, asked, prompts.defined().cpu().numpy()[:, ks])
        for row in _rows(
            entry,
            [ks[i] for i in columns],
            asked[kept][:, columns],
            targets[kept][:, columns],
            bank,
            confidence,
            chosen,
        )
    ]
    order = {metric.id: number for number, metric in enumerate(chosen)}
    return sorted(rows, key=lambda row: (order[row.metric], row.n_context))


def _answered(
    entry: NamedLearner, predictions: Array, defined: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], list[int]]]:
    """Which prompts count, and for which columns: where an entry is ``defined``, and no baseline has failed."""
    known = defined & answered_entries(predictions) if entry.kind == "baseline" else defined
    groups: dict[bytes, list[int]] = {}
    for column in range(predictions.shape[1]):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    for columns in groups.values():
        kept = known[:, columns[0]]
        if kept.any():
            yield kept, columns


def _rows(
    entry: NamedLearner,
    ks: Sequence[int],
    predictions: Array,
    targets: Array,
    bank: Bank,
    confidence: float | None,
    metrics: Sequence[Metric],
) -> Iterator[ErrorRow]:
    # Several metrics scale the same errors.
    summaries: dict[tuple[bytes, str, bool], tuple[Array, Array, Array]] = {}
    task = bank.drawn_task
    given = torch.from_numpy(predictions), torch.from_numpy(targets)
    for metric in metrics:
        with at_work(metric, "errors"):
            found = metric.errors(*given, task)
        expect_shape(metric, "errors", found, predictions.shape[:2], "prompts, lengths", torch.float64)
        errors: Array = found.numpy()
        spread = confidence if metric.exists(task, interval=True) else None
        key = (errors.tobytes(), metric.middle, spread is None)
        if key not in summaries:
            summaries[key] = _summary(errors, metric.middle, spread)
        with at_work(metric, "scale"):
            scale = as_number(metric, "scale", metric.scale(given[1], task))
        values, low, high = (numbers / scale for numbers in summaries[key])
        for i, k in enumerate(ks):
            yield ErrorRow(entry.id, entry.kind, k, metric.id, values[i], low[i], high[i], len(targets))


def _summary(errors: Array, middle: str, confidence: float | None) -> tuple[Array, Array, Array]:
    """The mean or median over prompts and its interval, not yet divided by the scale."""
    values: Array = lower_median(errors) if middle == "median" else errors.mean(axis=0)
    low = high = np.full_like(values, np.nan)
    if confidence is not None:
        low, high = (median_interval if middle == "median" else mean_interval)(errors, confidence)
    return values, low, high


def score(
    entries: Sequence[NamedLearner],
    bank: Bank,
    prompts: Prompts,
    confidence: float | None,
    *,
    metrics: Sequence[Metric] | None = None,
    costly: CostlyConfig | None = None,
    tell: Tell = tell_nobody,
    failed: Callable[[BaselineFailure], None] = lambda failure: None,
    replied: Callable[[NamedLearner, Reply], None] = lambda entry, reply: None,
) -> list[ErrorRow]:
    """Every learner on the same prompts. Learners other than oracles never see the functions' parameters.

    ``metrics``: as `metric_rows` takes them. ``failed`` is told of prompts that a baseline could not answer; ``tell``
    of how far a costly one is; ``replied`` of what each learner answered.
    """
    rows: list[ErrorRow] = []
    for number, entry in enumerate(entries):
        reply = ask(entry, prompts, costly or CostlyConfig(), within(tell, number, len(entries)))
        replied(entry, reply)
        rows += metric_rows(entry, reply.predictions, bank, reply.prompts, confidence, metrics)
        for failure in reply.failures:
            failed(failure)
    return rows
