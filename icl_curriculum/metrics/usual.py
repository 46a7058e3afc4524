"""The metrics that every evaluation computes, by what the labels are."""

from __future__ import annotations

from collections.abc import Sequence

from icl_curriculum.metrics.base import Metric
from icl_curriculum.metrics.of_classes import Accuracy, NegativeLogLikelihood
from icl_curriculum.metrics.of_numbers import ErrorOverReference, MedianError, NormalizedError, SquaredError
from icl_curriculum.tasks import Task

_NUMBERS = (SquaredError(), NormalizedError(), ErrorOverReference())
_SIGNS = (*_NUMBERS, Accuracy())
_CLASSES = (NormalizedError(), Accuracy(), NegativeLogLikelihood())
_INFINITE = (MedianError(),)


def usual_metrics(task: Task, more: Sequence[Metric] = ()) -> list[Metric]:
    """The metrics of a task's bank: those that every evaluation has, then ``more`` that were asked for.

    Where E|f(q)|^2 is infinite only the median error is usual. Of those asked for it has the ones that are defined, and
    whose mean is finite.
    """
    if task.function_class.class_valued:
        usual: Sequence[Metric] = _CLASSES
    elif not task.has_second_moment():
        usual = _INFINITE
    else:
        usual = _SIGNS if task.function_class.sign_valued else _NUMBERS
    known = {metric.id for metric in usual}
    wanted = [metric for metric in more if metric.id not in known]
    return [*usual, *(metric for metric in wanted if metric.undefined(task) is None and metric.exists(task))]


def shown_first(task: Task) -> Metric:
    """The metric that figures and comparisons show unless another is asked for: 1 is knowing nothing, 0 perfect."""
    return _INFINITE[0] if not task.function_class.class_valued and not task.has_second_moment() else _NUMBERS[1]
