"""Prompts on which an oracle and the baselines of its class have answered, for the rules that compare them.

Dimensions: batch = prompts, points = K + 1; entry k has k examples before it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.evaluation.stepwise import predicted
from icl_curriculum.function_classes.base import OracleKind
from icl_curriculum.models.calling import entry_errors
from icl_curriculum.tasks import Task
from icl_curriculum.testing.function_classes.subject import FunctionClassSubject

#: The prompts; baselines that the class names beside `ALWAYS`, such as lasso paths, answer the first few of them.
PROMPTS, FEW = 4096, 256
#: Every class is asked these, too, whatever its own list says.
ALWAYS = ("zero", "averaging", "least_squares", "ridge", "knn")
#: The label noises, as shares of the root of the trivial error. Signs are flipped with one probability.
SHARES = (0.0, 0.3, 1.0)


@dataclass(frozen=True)
class OracleCase:
    """The dimensions and the label noise for which a class has an oracle, and the oracle's kind."""

    subject: FunctionClassSubject
    dims: int
    label_noise: float
    kind: OracleKind

    @property
    def how(self) -> str:
        return f"label noise {self.label_noise:.3g}, d = {self.dims}"

    def draw(self, n: int, points: int, purpose: str) -> Prompts:
        inputs = self.subject.inputs(self.dims)
        task = Task(self.subject.function_class, inputs, self.dims, self.label_noise)
        return task.draw(n, points, self.subject.streams(f"{purpose}/{self.dims}/{self.label_noise:.6g}"))

    def ask(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """The oracle's predictions, without the targets; an optimum is not shown the functions either."""
        self.subject.doing = f"oracle of prompts of shape {tuple(prompts.xs.shape)}"
        hidden = prompts.without_answers()
        shown = hidden if self.kind == "optimum" else replace(hidden, truth=prompts.truth)
        return self.subject.function_class.oracle(shown).detach().double()

    @functools.cached_property
    def prompts(self) -> Prompts:
        return self.draw(PROMPTS, self.dims + 5, "answered")

    @functools.cached_property
    def targets(self) -> Float[Tensor, "batch points *labels"]:
        return self.prompts.targets.double()

    @functools.cached_property
    def oracle(self) -> Float[Tensor, "batch points *labels"]:
        return self.ask(self.prompts)

    @functools.cached_property
    def baselines(self) -> dict[str, Float[Tensor, "batch points *labels"]]:
        """What baselines say to all prompts or the first `FEW`, by id: the class's own and `ALWAYS`, none costly."""
        function_class = self.subject.function_class
        everyone = self.prompts.without_answers()
        always = {BASELINES.build(spec).id for spec in ALWAYS}
        said: dict[str, Tensor] = {}
        for spec in (*function_class.baselines, *ALWAYS):
            baseline = BASELINES.build(spec, beside=function_class)
            assert isinstance(baseline, Baseline)
            if baseline.costly or baseline.id in said or baseline.why_not(function_class) is not None:
                continue
            shown = everyone if baseline.id in always else everyone[:FEW]
            self.subject.doing = f"the baseline {baseline.id}"
            try:
                baseline.check_dims(self.dims)
                said[baseline.id] = predicted(baseline.for_training_on([function_class]), shown).detach().double()
            except UserError:  # It is not for these dimensions or for this class.
                continue
        return said

    @functools.cached_property
    def trivial(self) -> float:
        """The error of predicting zero, in the units of the targets; of classes that of chance."""
        return float(errors_of(self.prompts, torch.zeros_like(self.targets)).mean())

    def errors(self, predictions: Float[Tensor, "batch points *labels"]) -> Float[Tensor, "batch points"]:
        """Squared errors to the first prompts' targets; of classes -log p of the right one."""
        return errors_of(self.prompts[: len(predictions)], predictions)

    def along(self, values: Float[Tensor, "batch points *labels"]) -> Float[Tensor, "batch points"]:
        """One number for each label: its part along a fixed direction; of log-probabilities that of the probabilities.

        What holds of the mean of a label holds of it along every direction.
        """
        return along(values, classes=self.prompts.classes)


def errors_of(prompts: Prompts, predictions: Float[Tensor, "batch points *labels"]) -> Float[Tensor, "batch points"]:
    """The squared error of each entry, in float64; of classes the cross-entropy."""
    return entry_errors(predictions.double(), prompts.targets.double(), classes=prompts.classes)


def along(
    values: Float[Tensor, "batch points *labels"], *, classes: bool, probabilities: bool = False
) -> Float[Tensor, "batch points"]:
    """The part of labels along a fixed direction; ``probabilities``: classes are such already, or one-hot."""
    if values.ndim == 2:
        return values
    size = values.shape[-1]
    direction = torch.cos(torch.arange(1, size + 1, dtype=torch.float64)) * math.sqrt(2 / size)
    return (values.exp() if classes and not probabilities else values).double() @ direction


def oracle_cases(subject: FunctionClassSubject) -> Iterator[OracleCase]:
    """The cases to look at: the fewest, the middle and the most dimensions of those with an oracle, noise by noise.

    They are kept, so that the rules which ask for them share the answers.
    """
    kept: dict[tuple[int, float], OracleCase] = subject.kept.setdefault("oracle cases", {})
    function_class = subject.function_class
    for share in SHARES:
        if (function_class.sign_valued or function_class.class_valued) and 0 < share < 1:
            continue
        known = []
        for dims in subject.dims:
            noise = 0.0 if share == 0 else subject.noise(dims, share)
            kind = subject.oracle_for(dims, noise)
            if kind is not None:
                known.append((dims, noise, kind))
        chosen = dict.fromkeys((known[0], known[len(known) // 2], known[-1])) if known else {}
        for dims, noise, kind in chosen:
            yield kept.setdefault((dims, noise), OracleCase(subject, dims, noise, kind))
