"""The shards of an update: parts of it whose gradients are computed apart and summed in their order.

Their number is one of the config and decides the bytes. How many processes share them out decides nothing: every
process has the gradient of every shard before it adds them up.

Dimensions: rows = what an update consists of, its prompts or its tasks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import RunFailed
from icl_curriculum.models.base import Model

#: At every so many gradients it is looked whether the weights of all processes are equal.
_COMPARE_EVERY = 50


class Crew(Protocol):
    """The processes that train one run together, as one of them knows them.

    Each calls the same methods in the same order. One that fails says so by `fail`, in the place of what comes next;
    all others then leave by an exception that is no ``Exception``, so that no component is blamed for it.
    """

    rank: int
    processes: int

    def largest(self, numbers: Sequence[int]) -> list[int]:
        """The largest of the numbers that all processes give at each place."""
        ...

    def gathered(self, own: Float[Tensor, " numbers"]) -> list[Tensor]:
        """What each process gives, in the order of their ranks; as many numbers from each."""
        ...

    def texts(self, own: str | None) -> list[str | None]:
        """The text that each process gives, or None, in the order of their ranks."""
        ...

    def fail(self) -> None:
        """Say that this process has failed, for an error that it raises next."""
        ...


class Shards:
    """The ``number`` shards of every update of a run, those of this process among them.

    Row by row, the first shards have one more where the rows cannot be divided: 10 rows in 4 shards are 3, 3, 2, 2.
    """

    def __init__(self, number: int = 1, crew: Crew | None = None) -> None:
        if crew is not None and crew.processes > number:
            raise ValueError(f"{crew.processes} processes for {number} shards: each needs one of its own")
        self.number, self.crew = number, crew
        self._calls = 0

    def rows(self, n: int) -> list[slice]:
        """The rows of each shard, of ``n`` in all.

        >>> Shards(4).rows(10)
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None), slice(8, 10, None)]
        """
        return _divided(n, self.number)

    def gradients(
        self, model: Model, n: int, of: Callable[[slice], Float[Tensor, "rows ..."]]
    ) -> Float[Tensor, "n ..."]:
        """Add to ``.grad`` the gradients that ``of`` adds, shard after shard; what it returns for all rows.

        ``of`` is called with the rows of a shard, adds the gradients of their part of the loss to ``.grad``, and
        returns numbers for each of these rows, without a graph. The loss is a sum over the rows: what belongs to all of
        them together, as their number in a mean, is not to be taken from the rows of a shard. It must leave nothing in
        the model but gradients.
        """
        if self.number == 1:
            return of(slice(0, n))
        parameters = list(model.parameters())
        before = _taken(parameters)
        rows = self.rows(n)
        longest = max(part.stop - part.start for part in rows)
        found: list[_Part] = []
        try:
            for part in rows[self._own]:
                found.append(_computed(model, parameters, of, part))
        except Exception:
            if self.crew is not None:
                self.crew.fail()
            raise
        shape, width = found[0].results.shape[1:], found[0].results[0].numel()
        present = self._present(model, [part.present for part in found])
        sizes = [parameter.numel() for parameter in parameters]
        total = sum(sizes)
        messages = self._all([part.message(longest * width) for part in found], total + longest * width)
        summed = messages[0][:total].clone()
        for message in messages[1:]:
            summed += message[:total]
        for parameter, there, earlier, gradient in zip(
            parameters, present, before, torch.split(summed, sizes), strict=True
        ):
            if there:
                gradient = gradient.view_as(parameter)
                parameter.grad = gradient if earlier is None else earlier + gradient
            else:
                parameter.grad = earlier
        results = [
            message[total : total + (part.stop - part.start) * width].view(-1, *shape)
            for message, part in zip(messages, rows, strict=True)
        ]
        return torch.cat(results)

    def first(self, text: str | None) -> str | None:
        """The text of the first process that has one: what one process alone would have come to."""
        if self.crew is None:
            return text
        return next((found for found in self.crew.texts(text) if found is not None), None)

    @property
    def _own(self) -> slice:
        """The numbers of the shards of this process."""
        return (
            slice(0, self.number) if self.crew is None else _divided(self.number, self.crew.processes)[self.crew.rank]
        )

    def _present(self, model: Model, found: Sequence[Sequence[bool]]) -> list[bool]:
        """Whether each parameter has a gradient in any shard. RunFailed where processes have come to other weights."""
        own = [int(any(shard)) for shard in zip(*found, strict=True)]
        if self.crew is None:
            return [bool(number) for number in own]
        # Of a number and its negative, so that the largest of both show whether it is everybody's.
        code = _code(model) if self._calls % _COMPARE_EVERY == 0 else 0
        self._calls += 1
        largest, negative, *present = self.crew.largest([code, -code, *own])
        if largest != -negative:
            raise RunFailed(
                "the processes have come to different weights: they compute on different kinds of processors, or with "
                "other libraries; start it on processors that are alike"
            )
        return [bool(number) for number in present]

    def _all(self, own: Sequence[Tensor], size: int) -> list[Tensor]:
        """The messages of all shards, in their order, of this process's own ones."""
        if self.crew is None:
            return list(own)
        shares = _divided(self.number, self.crew.processes)
        most = shares[0].stop
        padding = [own[0].new_zeros((most - len(own)) * size)] if len(own) < most else []
        gathered = self.crew.gathered(torch.cat([*own, *padding]))
        return [
            message
            for share, of_one in zip(shares, gathered, strict=True)
            for message in torch.split(of_one, size)[: share.stop - share.start]
        ]


#: One shard, which this process computes: an update that is not divided.
WHOLE = Shards()


class _Part:
    """What was computed of one shard: its gradients, which parameters have one, and the numbers of its rows."""

    def __init__(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None], results: Tensor) -> None:
        self.present = [gradient is not None for gradient in gradients]
        # Copied here: the next shard may be computed in the same memory.
        self.results = results.detach().float().clone()
        self._gradients = torch.cat(
            [
                torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()
                for parameter, gradient in zip(parameters, gradients, strict=True)
            ]
        )

    def message(self, size: int) -> Tensor:
        """Gradients and numbers in one tensor, the numbers filled up to ``size`` of them."""
        padding = self.results.new_zeros(size - self.results.numel())
        return torch.cat([self._gradients, self.results.flatten(), padding])


def _computed(model: Model, parameters: Sequence[Tensor], of: Callable[[slice], Tensor], rows: slice) -> _Part:
    versions = _versions(model)
    results = of(rows)
    changed = [name for name, version in _versions(model).items() if versions.get(name) != version]
    if changed:
        raise RuntimeError(
            f"{changed[0]} of {type(model).__name__} was changed while gradients were computed, so that they depend on "
            "how many processes do it; expected training.shards = 1, or a model that changes only in before_update "
            "and after_update"
        )
    return _Part(parameters, _taken(parameters), results)


def _versions(model: Model) -> dict[str, tuple[int, int]]:
    """Which tensor each buffer is, and how often it was changed in place."""
    return {name: (id(value), value._version) for name, value in model.named_buffers()}


def _taken(parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients in ``.grad``, which are cleared."""
    found = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return found


def _divided(n: int, parts: int) -> list[slice]:
    """``n`` things in so many parts one after another, the first with one more where they cannot be divided."""
    each, more = divmod(n, parts)
    starts = [part * each + min(part, more) for part in range(parts + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(starts)]


@torch.no_grad()
def _code(model: Model) -> int:
    """A number that is the same for equal weights, and hardly ever for others."""
    words = torch.cat([value.detach().flatten() for value in model.parameters()]).cpu().view(torch.int32).long()
    # Weighted by the place, so that weights that were exchanged are seen.
    return int((words * (torch.arange(len(words)) % 8191 + 1)).sum() % (2**62))
