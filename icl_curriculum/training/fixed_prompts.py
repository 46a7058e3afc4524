"""Limited data: a fixed set of prompts of each cell, which training goes through again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor

from icl_curriculum.core.contracts import broken_contract
from icl_curriculum.core.machine import arithmetic
from icl_curriculum.core.prompts import Prompts, concatenate
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.core.transfers import sent
from icl_curriculum.tasks import Task

#: How often so many prompts are drawn before it is said that too few count.
_MOST_DRAWS = 100
#: A function class and an input distribution, by the ids that the tables show.
_Cell = tuple[str, str]


@dataclass(frozen=True)
class FixedPrompts:
    """``n`` prompts of each cell, a function of the run's seed alone, and orders to take them in.

    ``points``: of a whole prompt. They are drawn when they are first asked for, and kept on the device.
    """

    n: int
    seed: int
    points: int
    tasks: Mapping[_Cell, Task]
    stream_names: Mapping[_Cell, str]
    device: str
    _kept: dict[tuple[_Cell, int | None], Prompts] = field(default_factory=dict, repr=False, compare=False)

    def all_of(self, cell: _Cell, active_dims: int | None = None) -> Prompts:
        """The fixed prompts of a cell; with ``active_dims``, the same with coordinates from there on at zero.

        Something counts in each, for whole prompts with all coordinates; those in which nothing does are passed over.
        """
        if (cell, active_dims) not in self._kept:
            found: list[Prompts] = []
            counting = 0
            while counting < self.n and len(found) < _MOST_DRAWS:
                whole = self._drawn(cell, len(found), None)
                drawn = whole if active_dims is None else self._drawn(cell, len(found), active_dims)
                if whole.mask is not None:
                    drawn = drawn[whole.mask.any(dim=1).nonzero().squeeze(1)]
                found.append(drawn)
                counting += len(drawn)
            if counting < self.n:
                raise broken_contract(
                    self.tasks[cell].function_class, "counts", found=f"something that counts in {counting} prompts of "
                    f"{_MOST_DRAWS * self.n}", expected=f"that in the {self.n} fixed ones at least",
                )  # fmt: skip
            self._kept[cell, active_dims] = found[0] if len(found) == 1 else _joined(found)[: self.n]
        return self._kept[cell, active_dims]

    def _drawn(self, cell: _Cell, index: int, active_dims: int | None) -> Prompts:
        streams = Streams(self.seed, f"fixed/{self.stream_names[cell]}", index, self.device)
        with arithmetic("float32", self.device):
            return self.tasks[cell].draw(self.n, self.points, streams, active_dims=active_dims)

    def taken(
        self, cell: _Cell, n: int, step: int, number: int, first: int, *, active_dims: int | None = None
    ) -> Prompts:
        """``n`` of the prompts of a cell: those from ``first`` on, in the order number ``number`` of a step.

        An order goes through all prompts once, then through all of them in another way, and so on.
        """
        rows = torch.cat(
            [
                self._order(cell, step, number, turn)
                for turn in range(first // self.n, (first + n - 1) // self.n + 1)
            ]
        )  # fmt: skip
        start = first % self.n
        return self.all_of(cell, active_dims)[sent(rows[start : start + n], self.device)]

    def _order(self, cell: _Cell, step: int, number: int, turn: int) -> Int[Tensor, " n"]:
        made = generator(self.seed, f"fixed/order/{number}/{turn}/{self.stream_names[cell]}", step)
        return torch.randperm(self.n, generator=made)


def _joined(drawn: Sequence[Prompts]) -> Prompts:
    """Prompts of one task, drawn one after another; without the functions."""
    first = drawn[0]
    return replace(
        concatenate(drawn), loss_weights=None, function_class=first.function_class,
        input_distribution=first.input_distribution, label_noise=first.label_noise, scale=first.scale,
    )  # fmt: skip
