"""The contract of a metric: how wrong an answer is, and what is made of that over the prompts of a bank.

Dimensions: n = prompts, lengths = prompt lengths, labels = the numbers of a label, an axis that is only there if they
are several.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.registry import METRICS
from icl_curriculum.tasks import Task


class Metric(Component):
    """One column of numbers on what learners answer: its id is what stands in the tables' column ``metric``.

    A subclass gives `errors`; the rest has defaults. Register it with ``@register_metric("name")``; its pydantic fields
    become parameters in experiment files. It is computed where ``evaluation.metrics``, or ``--metric``, names it. In
    the tables stands the mean, or median, over prompts of what `errors` gives, divided by `scale`, with its interval::

        @register_metric("sign_error")
        class SignError(Metric):
            "The share of answers with the wrong sign; an answer of 0 counts half."

            title = "wrong signs"
            power = 0

            def undefined(self, task):
                return "its labels are no single numbers" if task.function_class.label_dims > 1 else None

            def errors(self, predictions, targets, task):
                wrong = (1 - predictions.sign() * targets.sign()) / 2
                return torch.where(predictions.isnan(), torch.nan, wrong)

            def trivial(self, task):
                return 0.5
    """

    #: What figures and tables call it.
    title: ClassVar[str] = ""
    #: Whether a smaller or a larger number is the better one.
    improves: ClassVar[Literal["down", "up"]] = "down"
    #: What is taken over prompts.
    middle: ClassVar[Literal["mean", "median"]] = "mean"
    #: The power of the functions' values that is averaged: 2 of squared errors, 0 of what is bounded. Under inputs with
    #: heavy tails there is no mean where that moment is infinite, and no interval where its square's is.
    power: ClassVar[float] = 2

    @abstractmethod
    def errors(
        self,
        predictions: Float[Tensor, "n lengths *labels"],
        targets: Float[Tensor, "n lengths *labels"],
        task: Task,
    ) -> Float[Tensor, "n lengths"]:
        """The number of each prompt at each length, in float64 as what it is given; NaN for answers that are NaN.

        ``targets``: the clean values in the units of the task's outputs, or one-hot classes, of which predictions are
        log-probabilities. ``task``: what the prompts are of, with its trivial errors and second moments.
        """

    def undefined(self, task: Task) -> str | None:
        """Why it means nothing for a task, as accuracy does for real numbers; None: it means something."""
        return None

    def scale(self, targets: Float[Tensor, "n lengths *labels"], task: Task) -> float:
        """What the mean or median over prompts is divided by."""
        return 1.0

    def trivial(self, task: Task) -> float | None:
        """The value of a learner that knows nothing, predicting zero or chance; None where that is not known."""
        return None

    def exists(self, task: Task, *, interval: bool = False) -> bool:
        """Whether its mean under the task's inputs is finite; with ``interval``, whether its variance is, too."""
        if self.middle == "median":
            return True
        power = self.power * (2 if interval else 1)
        return power == 0 or task.inputs.tail_index > power * task.function_class.growth

    @classmethod
    def wording(cls) -> str:
        """What figures call it: the ``title``, by default the name in words."""
        return cls.title or cls.name.replace("_", " ")


register_metric = METRICS.of(Metric)
