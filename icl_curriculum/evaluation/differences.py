"""How far the answers of two learners to the same prompts are apart: whom does a learner answer like?

Dimensions: n = prompts, points = K + 1, columns = lengths of pairs of learners.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation.asking import Reply, answered_entries, defined_lengths
from icl_curriculum.evaluation.banks import Bank
from icl_curriculum.evaluation.learners import NamedLearner
from icl_curriculum.results.differences import PredictionDifferenceRow
from icl_curriculum.results.statistics.prompts import Array, lower_median, mean_interval, median_interval


@dataclass(frozen=True, eq=False)
class LearnerAnswers:
    """What a learner answered to the first prompts of a bank: ``predictions`` (n, points), or with an axis of labels.

    NaN where it was not asked, and where a baseline failed. Kept in single precision, so that what is compared at once
    and what is read from a file first give the same numbers.
    """

    learner: str
    learner_kind: str
    predictions: NDArray[np.float32]

    @classmethod
    def of(cls, entry: NamedLearner, reply: Reply) -> LearnerAnswers:
        """The answers in a reply."""
        ks = defined_lengths(reply.prompts)
        kept = np.full(reply.predictions.shape, np.nan, dtype=np.float32)
        # What exceeds single precision is infinite, like any overflow.
        with np.errstate(over="ignore"):
            kept[:, ks] = reply.predictions[:, ks]
        if entry.kind == "baseline":
            kept[~answered_entries(kept)] = np.nan
        kept[~reply.prompts.defined().cpu().numpy()] = np.nan
        return cls(entry.id, entry.kind, kept)


@dataclass(frozen=True)
class LearnerDifference:
    """One number of prediction_differences.csv: how far two learners are apart at a prompt length."""

    one: LearnerAnswers
    other: LearnerAnswers
    n_context: int
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_prompts: int

    def row(
        self, bank: Bank, *, step: int, trained_points: int, other_run: str | None = None
    ) -> PredictionDifferenceRow:
        """The row that it makes. ``step`` and ``trained_points`` are those of `evaluation_rows`.

        ``other_run``: the run of the other learner, if it is a trained run's model.
        """
        function_class, inputs, shift = bank.key
        return PredictionDifferenceRow(
            step=step, learner=self.one.learner, learner_kind=self.one.learner_kind,
            other_learner=self.other.learner, other_kind=self.other.learner_kind, other_run=other_run,
            function_class=function_class, input_distribution=inputs, shift=shift,
            in_distribution=self.n_context < trained_points, n_context=self.n_context, metric=self.metric,
            value=self.value, ci_low=self.ci_low, ci_high=self.ci_high, n_prompts=self.n_prompts,
        )  # fmt: skip


def prediction_differences(
    pairs: Sequence[tuple[LearnerAnswers, LearnerAnswers]], bank: Bank, prompts: Prompts, confidence: float | None
) -> list[LearnerDifference]:
    """All metrics of every pair at every prompt length at which both were asked. With a and b for their predictions:

    - ``normalized_difference``: the mean of (a - b)^2, the squared prediction difference of Akyürek et al. 2023 (arXiv
      2211.15661), over E f(q)^2 under the bank's own inputs, as errors are. Where b is the posterior mean, as of an
      oracle that is the optimum, it is by how much the expected error of a exceeds that of b. Of vectors the squares
      are summed; where labels are classes they are of the probabilities, beside one-hot labels, whose E |f(q)|^2 is 1.
    - ``disagreement``: for signs and classes the share of queries that get different ones, where a prediction of 0 is
      half of each sign, and of classes the most probable ones count. Their normalized difference compares the numbers,
      or probabilities, that were answered.
    - ``median_difference``: the median of (a - b)^2 over the median of f(q)^2; given alone, where E f(q)^2 is infinite.

    All are taken over the prompts that both have answered: a costly baseline was asked fewer, and one may have failed.
    They are empty (NaN) after an overflow. Intervals are by the same bootstrap over prompts as those of errors, and
    empty where the squared error has no finite variance, and where ``confidence`` is None.
    """
    lengths = defined_lengths(prompts)
    defined = prompts.defined().cpu().numpy()[:, lengths]
    metrics = _metrics(bank, prompts.targets.double().cpu().numpy()[:, lengths][defined])
    made: list[tuple[int, int, LearnerDifference]] = []
    for kept, columns in _answered_together(pairs, lengths, defined):
        a, b = (_side([pairs[pair][side].predictions for pair, _ in columns], kept, columns) for side in (0, 1))
        for number, metric in enumerate(metrics):
            found = [(numbers / metric.scale).tolist() for numbers in metric.summary(a, b, confidence)]
            for (pair, k), value, low, high in zip(columns, *found, strict=True):
                one, other = pairs[pair]
                made.append((pair, number, LearnerDifference(one, other, k, metric.name, value, low, high, len(a))))
    made.sort(key=lambda item: (item[0], item[1], item[2].n_context))
    return [difference for _, _, difference in made]


def _answered_together(
    pairs: Sequence[tuple[LearnerAnswers, LearnerAnswers]], lengths: Sequence[int], defined: NDArray[np.bool_]
) -> Iterator[tuple[NDArray[np.bool_], list[tuple[int, int]]]]:
    """Which of the first prompts count, and the pairs with their lengths of which that is true.

    Those count whose entry is ``defined``, without those that a baseline failed on; a model and an oracle fail on none.
    """
    groups: dict[bytes, list[tuple[int, int]]] = {}
    for number, pair in enumerate(pairs):
        n = min(len(answers.predictions) for answers in pair)
        kept = defined[:n].copy()
        for answers in pair:
            missing = np.isnan(answers.predictions[:n][:, lengths])
            known = ~(missing if missing.ndim == 2 else missing.any(axis=-1))
            # A learner that never answers at a length was not asked there.
            kept &= known if answers.learner_kind == "baseline" else known.any(axis=0)
        for column, k in enumerate(lengths):
            if kept[:, column].any():
                groups.setdefault(kept[:, column].tobytes(), []).append((number, k))
    for key, columns in groups.items():
        yield np.frombuffer(key, dtype=bool), columns


def _side(
    predictions: Sequence[NDArray[np.float32]], kept: NDArray[np.bool_], columns: Sequence[tuple[int, int]]
) -> Array:
    """The kept predictions of one side of pairs, in float64: (n, columns), or with an axis of labels."""
    chosen = [answers[: len(kept), k][kept] for answers, (_, k) in zip(predictions, columns, strict=True)]
    return np.stack(chosen, axis=1).astype(np.float64)


@dataclass(frozen=True)
class _DifferenceMetric:
    """What is taken of two predictions, what its mean or median is divided by, and how to find it and its interval."""

    name: str
    of: Callable[[Array, Array], Array]
    scale: float
    middle: Callable[[Array], Array]
    interval: Callable[[Array, float], tuple[Array, Array]] | None

    def summary(self, a: Array, b: Array, confidence: float | None) -> tuple[Array, Array, Array]:
        """The mean or median of every column and its interval, not yet divided by the scale."""
        with np.errstate(invalid="ignore", over="ignore"):
            values = self.of(a, b)
            middles = self.middle(values)
        low, high = np.full((2, len(middles)), np.nan)
        finite = np.isfinite(values).all(axis=0)
        if self.interval is not None and confidence is not None and finite.any():
            low[finite], high[finite] = self.interval(values[:, finite], confidence)
        return middles, low, high


def _metrics(bank: Bank, targets: Array) -> list[_DifferenceMetric]:
    task = bank.drawn_task
    if task.function_class.class_valued:
        return [
            _DifferenceMetric(name, of, 1.0, lambda values: values.mean(axis=0), mean_interval)
            for name, of in (("normalized_difference", _probabilities), ("disagreement", _other_class))
        ]
    if not task.has_second_moment():
        median = float(np.median(_summed(np.square(targets), 1))) or math.nan
        return [_DifferenceMetric("median_difference", _squared, median, lower_median, median_interval)]
    interval = mean_interval if task.has_error_variance() else None

    def mean_of(name: str, of: Callable[[Array, Array], Array], scale: float) -> _DifferenceMetric:
        return _DifferenceMetric(name, of, scale, lambda values: values.mean(axis=0), interval)

    made = [mean_of("normalized_difference", _squared, bank.second_moment)]
    if task.function_class.sign_valued:
        made.append(mean_of("disagreement", lambda a, b: (1 - np.sign(a) * np.sign(b)) / 2, 1.0))
    return made


def _squared(a: Array, b: Array) -> Array:
    return _summed(np.square(a - b), 2)


def _summed(values: Array, axes: int) -> Array:
    """Values summed over the numbers of a label, if there is an axis of them beside so many others."""
    found: Array = values if values.ndim == axes else values.sum(axis=-1)
    return found


def _probabilities(a: Array, b: Array) -> Array:
    return _squared(np.exp(a), np.exp(b))


def _other_class(a: Array, b: Array) -> Array:
    differ: Array = (a.argmax(axis=-1) != b.argmax(axis=-1)).astype(np.float64)
    return np.where(np.isnan(a + b).any(axis=-1), np.nan, differ)
