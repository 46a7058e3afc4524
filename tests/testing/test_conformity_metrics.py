"""The conformity check of metrics: those of plugins pass, and one broken for every rule."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from places import EVERY_KIND
from testing_classes import finding_of
from torch import Tensor

from icl_curriculum.core.plugins import load_plugin
from icl_curriculum.metrics import Metric
from icl_curriculum.tasks import Task
from icl_curriculum.testing import check_component


@pytest.mark.parametrize("name", ["far_off", "accuracy", "median_error"])
def test_right_metrics_keep_the_contract(name: str, fresh_registries: None) -> None:
    load_plugin(EVERY_KIND)
    check_component(name, kind="metrics")


class Fourth(Metric):
    """The fourth power of the error of single numbers."""

    power = 4

    def undefined(self, task: Task) -> str | None:
        return "its labels are no single numbers" if task.function_class.label_dims > 1 else None

    def errors(self, predictions: Tensor, targets: Tensor, task: Task) -> Tensor:
        return (predictions - targets) ** 4


def broken(**members: Any) -> type[Metric]:
    return type("Broken", (Fourth,), {"__doc__": "Broken.", "__module__": __name__, **members})


def by(change: Any) -> type[Metric]:
    """The metric with other errors."""
    return broken(errors=lambda self, predictions, targets, task: change((predictions - targets) ** 4, predictions))


class Counting(Fourth):
    """Gives other numbers at every call."""

    calls: ClassVar[int] = 0

    def errors(self, predictions: Tensor, targets: Tensor, task: Task) -> Tensor:
        type(self).calls += 1
        return super().errors(predictions, targets, task) * self.calls


def doubling(fourth: Tensor, predictions: Tensor) -> Tensor:
    predictions.mul_(2)
    return fourth


BROKEN: list[tuple[type[Metric], str, str, str]] = [
    (broken(improves="higher"), "statements", "'down' or 'up' in improves", "'higher'"),
    (broken(middle="mode"), "statements", "'mean' or 'median' in middle", "'mode'"),
    (broken(power=-1), "statements", "a finite number of at least 0 in power", "-1"),
    (broken(undefined=lambda self, task: True), "statements", "a reason in words, or None", "True"),
    (by(lambda fourth, _: fourth.mean(dim=1)), "errors", "(prompts, lengths) = (24, 5) in float64", "shape (24,)"),
    (by(lambda fourth, _: fourth.float()), "errors", "in float64", "torch.float32"),
    (by(lambda fourth, _: fourth / 0), "errors", "finite numbers from errors", "infinite or NaN ones"),
    (by(doubling), "purity", "predictions and targets as they were before errors", "changed in place"),
    (Counting, "purity", "equal numbers from two equal calls", "numbers that differ by up to"),
    (by(lambda fourth, _: fourth / fourth.mean()), "own entry", "the same numbers for some prompts", "differ by up to"),
    (broken(improves="up"), "direction", "the greatest number for perfect answers", "0 for perfect answers"),
    (broken(trivial=lambda self, task: 1.0), "trivial level", "what zeros, or equal chances, are given", "1.0"),
    (broken(trivial=lambda self, task: math.nan), "trivial level", "what zeros, or equal chances, are given", "nan"),
    (by(lambda fourth, _: torch.nan_to_num(fourth)), "missing answers", "NaN for an answer that is NaN", "0 for it"),
]  # fmt: skip


@pytest.mark.parametrize(("metric", "rule", "expected", "found"), BROKEN, ids=[f"{row[1]} {row[3]}" for row in BROKEN])
def test_a_broken_metric_breaks_its_rule(metric: type[Metric], rule: str, expected: str, found: str) -> None:
    finding = finding_of(metric, rule)
    assert expected in finding.expected
    assert found in finding.found
