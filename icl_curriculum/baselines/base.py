"""The contract of a baseline: a classical estimator that answers every prefix of every prompt."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float
from torch import Tensor

from icl_curriculum.prompts import Prompts
from icl_curriculum.registry import BASELINES, Component


class Baseline(Component):
    """A learner without training. It must not read ``prompts.truth``."""

    @abstractmethod
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """Entry k: the prediction at query k from the first k pairs. At k = 0 predict 0."""


register_baseline = BASELINES.of(Baseline)
