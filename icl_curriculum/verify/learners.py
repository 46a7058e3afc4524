"""Checks the errors of baselines and oracles on drawn banks against golden numbers.

Everything goes the way that users' errors go: a `Bank` draws, the learner predicts, and E f(q)^2 divides. All
learners of a case answer the same prompts.
Dimensions: n = prompts, points = K + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.prompts import Learner, Prompts
from icl_curriculum.core.registry import BASELINES, METRICS, SHIFTS
from icl_curriculum.evaluation import Bank, Oracle, answers
from icl_curriculum.metrics import Metric
from icl_curriculum.results.statistics.moments import estimate_of
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task
from icl_curriculum.verify.cases import Spec, named, task_of
from icl_curriculum.verify.checks import Check, CheckOutcome, Figure, measured

MetricName = Literal["normalized_error", "squared_error", "negative_log_likelihood"]

#: Stands in place of a baseline's name for the oracle of the class.
ORACLE = "oracle"
#: The metric of a figure that is not divided by E f(q)^2, and one of classes.
RAW: MetricName = "squared_error"
LIKELIHOOD: MetricName = "negative_log_likelihood"
#: The prompts of a case unless it says otherwise; those where an error is zero up to rounding; those drawn at once.
PROMPTS = 5 << 12
FEW = 1 << 10
ROUND = 1 << 12
#: An error of zero. The margin is what float32 labels and nearly dependent examples leave.
NONE = Figure(0.0, 1e-4)

#: The expected squared error of each prompt at k examples, given what is known of the prompt.
Reference = Callable[[Prompts, int], Float[Tensor, " n"]]


@dataclass(frozen=True)
class Golden:
    """Golden errors of a learner by the number of examples: numbers, or formulas in the inputs of the same prompts.

    ``metric``: divided by E f(q)^2 under the bank's own inputs, as in the tables, or raw; by the error of chance where
    labels are classes, or what they were said to be likely.
    """

    learner: Spec
    figures: Mapping[int, Figure | Reference]
    source: str
    metric: MetricName = "normalized_error"

    @property
    def id(self) -> str:
        return ORACLE if self.learner == ORACLE else BASELINES.build(self.learner).id

    @property
    def name(self) -> str:
        """The learner, and the metric where it is another one than an error."""
        return f"{self.id}, {self.metric}" if self.metric == LIKELIHOOD else self.id

    def on(self, task: Task) -> Learner:
        return Oracle(task.function_class) if self.learner == ORACLE else cast(Learner, BASELINES.build(self.learner))


@dataclass(frozen=True)
class Case:
    """A class under its reference inputs, perhaps shifted, and the golden errors of learners there."""

    spec: Spec
    dims: int
    golden: Sequence[Golden]
    shift: Spec | None = None
    prompts: int = PROMPTS

    def __str__(self) -> str:
        shift = "" if self.shift is None else f", {SHIFTS.build(self.shift).id}"
        return named(task_of(self.spec, self.dims).function_class, self.dims) + shift

    def banks(self) -> Iterator[Bank]:
        """Banks with seeds 0, 1, ...: of `ROUND` prompts each, and the last of those that remain."""
        shift = None if self.shift is None else cast(Shift, SHIFTS.build(self.shift))
        points = max(max(golden.figures) for golden in self.golden) + 1
        for seed, start in enumerate(range(0, self.prompts, ROUND)):
            yield Bank(task_of(self.spec, self.dims), shift, min(ROUND, self.prompts - start), points, seed)


def checks(cases: Sequence[Case]) -> Iterator[Check]:
    """One check for each learner and each number of examples."""
    for case in cases:
        errors = _Errors(case)
        for golden in case.golden:
            for k in golden.figures:
                yield Check(str(case), f"{golden.name}, k = {k}", partial(errors.outcome, golden, k))


@dataclass(frozen=True)
class _Answered:
    """The errors of all prompts at one k, what a formula expects of each, and what the metric divides them by."""

    errors: Float[Tensor, " n"]
    expected: Float[Tensor, " n"] | None
    scale: float


@dataclass(frozen=True)
class _Errors:
    """The errors of a case, computed when the first one is asked for."""

    case: Case

    def outcome(self, golden: Golden, k: int) -> CheckOutcome:
        answered = self._all[id(golden)]
        if isinstance(answered, Exception):
            raise answered
        found = answered[k]
        scale = found.scale
        estimate = estimate_of(found.errors / scale)
        if found.expected is None:
            return measured(cast(Figure, golden.figures[k]), estimate, golden.source)
        # The prompts are the same, so that only the difference is left to chance.
        error = estimate_of((found.errors - found.expected) / scale).error
        expected = Figure(float(found.expected.mean()) / scale)
        return measured(expected, replace(estimate, error=error), golden.source)

    @cached_property
    def _all(self) -> dict[int, dict[int, _Answered] | Exception]:
        """The answers to each golden entry by k, or its exception: if a learner fails, the others go on."""
        parts: dict[int, list[dict[int, _Answered]] | Exception] = {id(golden): [] for golden in self.case.golden}
        for bank in self.case.banks():
            asked = _Asked(bank, self.case.golden)
            for golden in self.case.golden:
                part = parts[id(golden)]
                if isinstance(part, list):
                    try:
                        part.append(asked.answered(golden))
                    except Exception as error:
                        parts[id(golden)] = error
        return {key: part if isinstance(part, Exception) else _joined(part) for key, part in parts.items()}


class _Asked:
    """The prompts of a bank and the answers of learners; each is asked once, at the lengths of its golden errors."""

    def __init__(self, bank: Bank, golden: Sequence[Golden]) -> None:
        self.bank, self.prompts = bank, bank.draw()
        self.hidden = self.prompts.without_truth()
        self.lengths: dict[str, set[int]] = {}
        for item in golden:
            self.lengths.setdefault(item.id, set()).update(item.figures)
        self.answers: dict[str, Float[Tensor, "n points *labels"]] = {}

    def answered(self, golden: Golden) -> dict[int, _Answered]:
        if golden.id not in self.answers:
            self.answers[golden.id] = self._answers(golden)
        found = self.answers[golden.id]
        metric = METRICS.build(golden.metric)
        assert isinstance(metric, Metric)
        task = self.bank.drawn_task
        targets = self.prompts.targets.double()[:, : found.shape[1]]
        errors, scale = metric.errors(found, targets, task), metric.scale(targets, task)
        return {
            k: _Answered(
                errors[:, k].clone(),
                None if isinstance(figure, Figure) else figure(self.hidden, k),
                scale,
            )
            for k, figure in golden.figures.items()
        }

    def _answers(self, golden: Golden) -> Float[Tensor, "n points *labels"]:
        prompts = self.prompts if golden.learner == ORACLE else self.hidden
        ks = sorted(self.lengths[golden.id])
        prompts = prompts.first_points(ks[-1] + 1)
        mask = torch.zeros(prompts.xs.shape[:2], dtype=torch.bool)
        mask[:, ks] = True
        if prompts.mask is not None and not bool((prompts.mask | ~mask).all()):
            raise ValueError(f"a golden number at a prompt length that {self.bank.shift_id} leaves undefined")
        return torch.from_numpy(answers(golden.on(self.bank.task), replace(prompts, mask=mask)))


def _joined(parts: Sequence[Mapping[int, _Answered]]) -> dict[int, _Answered]:
    return {
        k: _Answered(
            torch.cat([part[k].errors for part in parts]),
            None if first.expected is None else torch.cat([cast(Tensor, part[k].expected) for part in parts]),
            first.scale,
        )
        for k, first in parts[0].items()
    }
