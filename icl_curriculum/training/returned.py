"""What a training method returns and keeps, held to its contract: what breaks it is named instead of trained on."""

from __future__ import annotations

import math
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from icl_curriculum.core.component import Component
from icl_curriculum.core.contracts import at_work, broken_contract
from icl_curriculum.models.base import Model
from icl_curriculum.training.methods import TrainingMethod
from icl_curriculum.training.session import Cell, Draw


@dataclass(frozen=True)
class Loss:
    """A mean squared error (a tensor not yet waited for) over the prompts of a cell that were drawn under a role."""

    role: str
    cell: Cell
    value: Tensor
    n_prompts: int


def losses_of(
    method: TrainingMethod, step: int, drawn: Sequence[Draw], cells: Iterable[Cell], returned: Any
) -> Iterator[Loss]:
    """The losses that an update returned, by role and then in the order of ``cells``.

    ComponentFailed unless it is a mean error of every cell drawn under the role `TrainingMethod.signal`, and of no
    cell that was not drawn under its role.
    """
    counts: Counter[tuple[str, Cell]] = Counter()
    for draw in drawn:
        counts[draw.role, draw.cell] += draw.counting
    doing, signal = f"update at step {step}", method.signal
    wanted = {cell for role, cell in counts if role == signal}
    if not wanted:
        found = f"without drawing prompts under the role {signal!r}, its signal"
        raise broken_contract(method, doing, found=found, expected="some at every step")
    well_formed = isinstance(returned, Mapping) and all(isinstance(inner, Mapping) for inner in returned.values())
    if not well_formed or not wanted <= {*returned.get(signal, {})}:
        expected = f"losses by role and cell, of {signal!r} for {_listed(wanted)}"
        raise broken_contract(method, doing, found=reprlib.repr(returned), expected=expected)
    for role, by_cell in returned.items():
        strangers = [cell for cell in by_cell if (role, cell) not in counts]
        if strangers:
            found = f"a loss of {role!r} for {_listed(strangers)}"
            expected = "losses of cells that were drawn under their role"
            raise broken_contract(method, doing, found=found, expected=expected)
        for cell in cells:
            if cell in by_cell:
                yield Loss(role, cell, _scalar(method, by_cell[cell]), counts[role, cell])


def expect_no_gradients(method: TrainingMethod, step: int, model: Model) -> None:
    """ComponentFailed if an update left gradients behind: no checkpoint holds them, so a resumed run would differ."""
    left = [name for name, parameter in model.named_parameters() if parameter.grad is not None]
    if left:
        raise broken_contract(
            method,
            f"update at step {step}",
            found=f"with gradients left in {left[0]}",
            expected="a call of session.step_optimizers, which clears them, after the last of them",
        )


def operations_of(method: TrainingMethod, role: str, forward: int) -> int:
    """The operations that an update spends on a prompt of a role; ComponentFailed for what is no amount."""
    with at_work(method, "operations"):
        found = float(method.operations(role, forward))
    if not 0 <= found < math.inf:
        raise broken_contract(method, "operations", found=found, expected="a finite number of at least 0")
    return round(found)


def expect_plain(keeper: Component, state: object) -> None:
    """ComponentFailed unless a checkpoint can hold what a method or a curriculum keeps."""
    found = outside_plain(state, "state")
    if found is not None:
        expected = "tensors without a graph and plain values (numbers, text, None, lists, dicts)"
        raise broken_contract(keeper, "its state", found=found, expected=expected)


_PLAIN = (bool, int, float, str, type(None))


def outside_plain(value: object, place: str, within: tuple[int, ...] = ()) -> str | None:
    """The first place of a state that holds anything but tensors and plain values, in words; None if there is none.

    ``place``: what the state is called; ``within``: the ids of the containers around it.
    """
    if isinstance(value, Tensor):
        return f"{place} holds a tensor with a graph" if value.grad_fn is not None else None
    if type(value) in _PLAIN:
        return None
    if id(value) in within:
        return f"{place} holds what holds it"
    if not isinstance(value, dict | list | tuple) or type(value) not in (dict, list, tuple):
        return f"{place} holds something of the type {type(value).__name__}"
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if type(key) not in _PLAIN:
            return f"{place} has a key of the type {type(key).__name__}"
        found = outside_plain(inner, f"{place}[{key!r}]", (*within, id(value)))
        if found is not None:
            return found
    return None


def _listed(cells: Iterable[Any]) -> str:
    return ", ".join(sorted("/".join(map(str, cell)) if isinstance(cell, tuple) else repr(cell) for cell in cells))


def _scalar(method: TrainingMethod, loss: object) -> Tensor:
    """A loss without its graph; ComponentFailed for anything but a real number in a tensor."""
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        what = f"a tensor of shape {tuple(loss.shape)} and type {loss.dtype}" if isinstance(loss, Tensor) else None
        found = f"{what or f'a {type(loss).__name__}'} as a loss"
        raise broken_contract(method, "update", found=found, expected="a scalar tensor of a floating type")
    return loss.detach()
