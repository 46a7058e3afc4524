"""The contract of a baseline: a classical estimator that answers every prefix of every prompt."""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.function_classes.base import FunctionClass, labels_of

#: What labels may be: a number each, a vector of several, or one-hot classes.
Labels = Literal["numbers", "vectors", "classes"]


#: For `Baseline.answers`.
NUMBERS_AND_VECTORS: frozenset[Labels] = frozenset({"numbers", "vectors"})
ALL_LABELS: frozenset[Labels] = frozenset({"numbers", "vectors", "classes"})


class Baseline(Component):
    """A learner without training. It must not read ``prompts.truth``.

    Nobody reads the entries whose ``prompts.mask`` is False, so a costly baseline need not compute them.
    """

    #: Whether it is asked on few prompts and at few lengths, unless more are requested.
    costly: ClassVar[bool] = False
    #: Whether it reads the reasoning steps in ``prompts.steps`` by itself. Any other is asked for one after another,
    #: with those before as further inputs, so that it sees what a model sees.
    reads_steps: ClassVar[bool] = False
    #: What labels it can answer. It is left out, with the reason, of the banks of classes that have others.
    answers: ClassVar[frozenset[Labels]] = frozenset({"numbers"})

    def check_dims(self, dims: int) -> None:
        """Raise UserError if the baseline cannot answer prompts in ``dims`` dimensions."""

    @abstractmethod
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points *labels"]:
        """Entry k: the prediction at query k from the first k pairs. At k = 0 predict 0, or chance of classes.

        Where ``prompts.classes`` is true it is the logarithm of each class's probability. A baseline that knows the
        function classes, by `for_training_on`, may predict their mean at k = 0.
        """

    def for_training_on(self, function_classes: Sequence[FunctionClass]) -> Baseline:
        """The baseline to compare with models trained on these classes: itself, unless it depends on the classes.

        Raises UserError if the classes lack what it needs.
        """
        return self

    def why_not(self, function_class: FunctionClass) -> str | None:
        """Why it cannot answer prompts of a class; None: it can."""
        # Signs are answered as numbers are.
        kind = function_class.label_kind
        if ("numbers" if kind == "signs" else kind) in self.answers:
            return None
        able = " and ".join(sorted(self.answers))
        return f"the baseline {self.id} answers {able} alone, and the labels are {labels_of(function_class)}"


def each_number(predict: Callable[[Any, Prompts], Tensor]) -> Callable[[Any, Prompts], Tensor]:
    """Decorates a `Baseline.predict` that answers numbers: of a vector, each number is answered by itself."""

    @functools.wraps(predict)
    def answer(self: Any, prompts: Prompts) -> Tensor:
        if prompts.ys.ndim == 2:
            return predict(self, prompts)
        parts = [
            predict(self, replace(prompts, ys=prompts.ys[..., j], targets=prompts.targets[..., j]))
            for j in range(prompts.label_dims)
        ]
        return torch.stack(parts, dim=-1)

    return answer


def chance(prompts: Prompts) -> Float[Tensor, "batch points classes"]:
    """The log-probabilities of equally likely classes, in float64. ValueError where labels are no classes."""
    if not prompts.classes:
        raise ValueError(f"expected prompts whose labels are classes, found labels of {prompts.label_dims} numbers")
    return torch.full(prompts.ys.shape, -math.log(prompts.label_dims), dtype=torch.float64, device=prompts.ys.device)


register_baseline = BASELINES.of(Baseline)
