"""Whether a training method trains on the prompts that it draws, or on others that it makes of them.

Dimensions: n = prompts, p = points.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models.base import Model

#: An input and its label, as bytes; and the input alone, for the last one of a prompt, whose label may be withheld.
_Pairs = dict[bytes, set[int]]


class WatchedModel:
    """What a model is given during an update, compared with the prompts that were drawn for it."""

    def __init__(self) -> None:
        self._given: list[tuple[Tensor, Tensor, bool]] = []

    @contextlib.contextmanager
    def watching(self, model: Model) -> Iterator[None]:
        """Note what `Model.forward` and `Model.backward` of a model and its copies are given within the block."""
        cls = type(model)
        own = {name: vars(cls).get(name) for name in ("forward", "backward")}
        for name in own:
            setattr(cls, name, self._noting(getattr(cls, name)))
        try:
            yield
        finally:
            for name, value in own.items():
                if value is None:
                    delattr(cls, name)
                else:
                    setattr(cls, name, value)

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(model: Model, xs: Tensor, ys: Tensor, *others: Any, **more: Any) -> Any:
            # What torch.func has wrapped has no values to look at.
            if not torch._C._functorch.is_functorch_wrapped_tensor(xs):
                separate = function.__name__ == "forward" and (others[:1] or (more.get("queries"),))[0] is not None
                self._given.append((xs.detach().clone(), ys.detach().clone(), separate))
            return function(model, xs, ys, *others, **more)

        return call

    def strange(self, drawn: list[Prompts]) -> str | None:
        """The first thing that the model was given and that is no part of a prompt that was drawn, in words.

        Pairs of one prompt may be left out or stand in another order, and the last label may be withheld.
        """
        pairs: _Pairs = {}
        inputs: _Pairs = {}
        number = 0
        for prompts in drawn:
            xs, ys = prompts.xs.cpu(), prompts.ys.cpu()
            for i in range(len(prompts)):
                for j in range(prompts.points):
                    x = xs[i, j].numpy().tobytes()
                    inputs.setdefault(x, set()).add(number)
                    pairs.setdefault(x + ys[i, j].numpy().tobytes(), set()).add(number)
                number += 1
        for xs, ys, separate in self._given:
            if separate:
                return "separate queries, which no prompt of training has"
            if xs.ndim != 3 or xs.shape[:2] != ys.shape[:2]:
                continue
            if not all(_from_one(x, y, pairs, inputs) for x, y in zip(xs.cpu(), ys.cpu(), strict=True)):
                return "inputs or labels that were not drawn, or not for one prompt"
        return None


def _from_one(xs: Tensor, ys: Tensor, pairs: _Pairs, inputs: _Pairs) -> bool:
    """Whether all pairs, and the last input, come from one prompt that was drawn."""
    last = len(xs) - 1
    found = inputs.get(xs[last].numpy().tobytes(), set())
    for x, y in zip(xs[:last], ys[:last], strict=True):
        found = found & pairs.get(x.numpy().tobytes() + y.numpy().tobytes(), set())
    return bool(found)
