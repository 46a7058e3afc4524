"""Metrics: what is made of a learner's answers to a bank. Importing the package registers them."""

from icl_curriculum.metrics.base import Metric, register_metric
from icl_curriculum.metrics.of_classes import Accuracy, NegativeLogLikelihood
from icl_curriculum.metrics.of_numbers import (
    AbsoluteError,
    ErrorOverReference,
    MedianError,
    NormalizedError,
    SquaredError,
)
from icl_curriculum.metrics.usual import shown_first, usual_metrics

__all__ = [
    "AbsoluteError",
    "Accuracy",
    "ErrorOverReference",
    "MedianError",
    "Metric",
    "NegativeLogLikelihood",
    "NormalizedError",
    "SquaredError",
    "register_metric",
    "shown_first",
    "usual_metrics",
]
