"""The contract of a baseline: a classical estimator that answers every prefix of every prompt."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.function_classes.base import FunctionClass


class Baseline(Component):
    """A learner without training. It must not read ``prompts.truth``.

    Nobody reads the entries whose ``prompts.mask`` is False, so a costly baseline need not compute them.
    """

    #: Whether it is asked on few prompts and at few lengths, unless more are requested.
    costly: ClassVar[bool] = False

    def check_dims(self, dims: int) -> None:
        """Raise UserError if the baseline cannot answer prompts in ``dims`` dimensions."""

    @abstractmethod
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """Entry k: the prediction at query k from the first k pairs. At k = 0 predict 0.

        A baseline that knows the function classes, by `for_training_on`, may predict their mean there.
        """

    def for_training_on(self, function_classes: Sequence[FunctionClass]) -> Baseline:
        """The baseline to compare with models trained on these classes: itself, unless it depends on the classes.

        Raises UserError if the classes lack what it needs.
        """
        return self


register_baseline = BASELINES.of(Baseline)
