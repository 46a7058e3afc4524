"""The baseline under check, set beside models of some classes, and prompts to ask it.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.function_classes import FunctionClass, Linear, LinearClassification, LinearMap, MulticlassLinear
from icl_curriculum.inputs import Gaussian
from icl_curriculum.tasks import Task
from icl_curriculum.testing.dimensions import InDimensions

#: The classes that models are trained on, to try in turn until the baseline has what it needs.
TRAINED: tuple[tuple[FunctionClass, ...], ...] = ((Linear(),), (Linear(pool_size=16),))
#: Points of a prompt, and the numbers of examples at which a costly baseline is asked.
POINTS, COSTLY_LENGTHS = 6, (0, 2, 5)
#: Prompts of a batch, and those of a costly baseline.
N, COSTLY_N = 3, 2
NOISE, FLIPS = 0.3, 0.1
#: By what their labels are, the functions that baselines are asked about.
ASKED: dict[str, FunctionClass] = {
    "numbers": Linear(label_noise=NOISE),
    "signs": LinearClassification(label_noise=FLIPS),
    "vectors": LinearMap(label_dims=3, label_noise=NOISE),
    "classes": MulticlassLinear(n_classes=3, label_noise=FLIPS),
}


class BaselineSubject(InDimensions[Baseline]):
    """A baseline under check."""

    registry = BASELINES
    base = Baseline
    # As runs do. What is so small takes longer on more, where others compute too.
    threads = 1
    example_summary = "The mean label so far."

    @functools.cached_property
    def failures(self) -> dict[int, Exception]:
        """By the number of examples, what a costly baseline raised at it."""
        return {}

    @functools.cached_property
    def learner(self) -> Baseline:
        """The baseline as it is set beside models of the first classes of `TRAINED` that have what it needs.

        Raises UserError if none have.
        """
        refusals = []
        for classes in TRAINED:
            try:
                return self.set_beside(classes)
            except UserError as error:
                refusals.append(error)
        raise refusals[-1]

    def set_beside(self, classes: Sequence[FunctionClass]) -> Baseline:
        self.doing = f"for_training_on([{', '.join(item.id for item in classes)}])"
        return self.as_given.for_training_on(classes)

    @property
    def size(self) -> int:
        """The dimensions that most rules are checked in: few, and more than one where that is allowed."""
        return min(self.dims, key=lambda dims: abs(dims - 3))

    @property
    def n(self) -> int:
        """The prompts of a batch."""
        return COSTLY_N if self.learner.costly else N

    @property
    def valued(self) -> tuple[str, ...]:
        """The labels of the prompts to ask, keys of `ASKED`; a costly baseline is asked about one kind alone."""
        able = [labels for labels, of in ASKED.items() if self.learner.why_not(of) is None]
        return tuple(able[:1] if self.learner.costly else able)

    def prompts(self, n: int, points: int, dims: int, index: int = 0, *, labels: str = "") -> Prompts:
        """Noisy prompts with the functions' parameters; ``labels``: one of `valued`, by default the first."""
        labels = labels or self.valued[0]
        return Task(ASKED[labels], Gaussian(), dims).draw(n, points, self.streams(f"prompts/{labels}", index))

    def predict(self, prompts: Prompts) -> Tensor:
        """The answers of one call of the baseline."""
        more = [
            word
            for word, given in (("separate queries", prompts.queries), ("a mask", prompts.mask))
            if given is not None
        ]
        self.doing = f"predict of prompts of shape {tuple(prompts.xs.shape)}{' with ' * bool(more)}{' and '.join(more)}"
        return self.learner.predict(prompts)

    def answers(self, prompts: Prompts) -> Tensor:
        """The answers at every length; of a costly baseline at each by itself, and NaN where it raises.

        Raises what it raised if it answered nothing.
        """
        if not self.learner.costly:
            return self.predict(prompts)
        found = torch.full(prompts.ys.shape, torch.nan, dtype=torch.float64)
        wanted = prompts.defined()
        lengths = [k for k in range(prompts.points) if bool(wanted[:, k].any())]
        failed: dict[int, Exception] = {}
        for k in lengths:
            try:
                found[:, k] = self.predict(at(prompts, [k])).double()[:, k]
            except Exception as error:
                failed[k] = error
        self.failures.update(failed)
        if failed and len(failed) == len([k for k in lengths if k > 0] or lengths):
            raise failed[max(failed)]
        return torch.where(wanted if found.ndim == 2 else wanted.unsqueeze(-1), found, torch.nan)

    def answered(self, found: Tensor) -> Tensor:
        """Which entries (n, points) have finite answers."""
        finite = found.isfinite()
        return finite if finite.ndim == 2 else finite.all(dim=-1)

    def lengths(self, points: int) -> list[int]:
        """The numbers of examples at which it is asked in prompts of so many points."""
        asked = range(points) if not self.learner.costly else COSTLY_LENGTHS
        return [k for k in asked if k < points]


def at(prompts: Prompts, lengths: Sequence[int]) -> Prompts:
    """The prompts with a mask that leaves these lengths of what was asked."""
    chosen = torch.zeros(prompts.xs.shape[:2], dtype=torch.bool)
    chosen[:, list(lengths)] = True
    return replace(prompts, mask=chosen if prompts.mask is None else chosen & prompts.mask)
