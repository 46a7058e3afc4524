"""One update of a training method on prompts that a test chooses, in float64, with the gradients that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import TransformerConfig
from icl_curriculum.models.base import Model
from icl_curriculum.training import TrainingMethod
from icl_curriculum.training.optimizers import Moments
from icl_curriculum.training.shards import WHOLE

CELLS = [("linear", "gaussian"), ("quadratic", "gaussian"), ("linear", "gaussian")]
WEIGHTS = {("linear", "gaussian"): 0.5, ("quadratic", "gaussian"): 2.0}
Parameters = dict[str, Tensor]


def tiny_model(**changes: Any) -> Model:
    config = TransformerConfig(width=4, layers=2, heads=2, attention="plain", activation="gelu", **changes)
    return config.build(dims=2, points=4, generator=torch.Generator().manual_seed(3)).double()


class OneUpdate:
    """A session whose prompts of a draw are kept in ``drawn`` by role; ``gradients`` are those of the update."""

    def __init__(self, method: TrainingMethod, model: Model, *, batch_size: int = 12, seed: int = 0) -> None:
        self.model, self.batch_size, self.state, self.shards = model, batch_size, {}, WHOLE
        self.generator = torch.Generator().manual_seed(seed)
        self.drawn: dict[str, list[Prompts]] = {}
        self.gradients: Parameters = {}
        self.moments = {id(value): self._moments(value) for value in model.parameters()}
        self.optimizers = SimpleNamespace(moments=lambda value: self.moments[id(value)])
        self.losses = method.update(self)  # type: ignore[arg-type]

    def _moments(self, value: Tensor) -> Moments:
        mean, square = (torch.randn(value.shape, generator=self.generator).double() for _ in range(2))
        return Moments(0.1 * mean, square.square(), torch.tensor(3.0), (0.9, 0.99))

    def choose(self, n: int, *, role: str) -> list[tuple[str, str]]:
        return CELLS[:n]

    def weight(self, cell: tuple[str, str]) -> float:
        return WEIGHTS[cell]

    def draw(self, cell: tuple[str, str], n: int, *, role: str, **how: Any) -> Prompts:
        xs, ys = (torch.randn(shape, generator=self.generator).double() for shape in ((n, 4, 2), (n, 4)))
        prompts = Prompts(xs=xs, ys=ys, targets=ys)
        self.drawn.setdefault(role, []).append(prompts)
        return prompts

    def step_optimizers(self) -> None:
        for name, value in self.model.named_parameters():
            if value.grad is not None:
                self.gradients[name] = value.grad
        self.model.zero_grad(set_to_none=True)

    @property
    def tasks(self) -> list[tuple[float, Prompts, Prompts]]:
        """Weight, support and query prompts of each task."""
        pairs = zip(CELLS, self.drawn["support"], self.drawn["query"], strict=False)
        return [(WEIGHTS[cell], support, query) for cell, support, query in pairs]


def error(model: Model, parameters: Parameters, prompts: Prompts) -> Tensor:
    found = torch.func.functional_call(model, parameters, (prompts.xs, prompts.ys))
    return ((found - prompts.targets) ** 2).mean()


Step = Callable[[Parameters, Sequence[Tensor]], Parameters]


def meta_loss(model: Model, own: Parameters, update: OneUpdate, step: Callable[[], Step], steps: int) -> Tensor:
    """The mean over tasks of the weighted query error after so many steps, one task after another."""
    total = torch.zeros((), dtype=torch.float64)
    for weight, support, query in update.tasks:
        adapted, take = own, step()
        for _ in range(steps):
            gradients = torch.autograd.grad(
                weight * error(model, adapted, support), list(adapted.values()), create_graph=True
            )
            adapted = take(adapted, gradients)
        total = total + weight * error(model, adapted, query) / len(update.tasks)
    return total
