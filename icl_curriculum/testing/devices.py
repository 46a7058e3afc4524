"""An accelerator simulated on the CPU, to find tensors that would be made on the wrong device.

Tensors that come from the inputs, from the parameters, or from factories with an explicit device count as lying on
the accelerator, *at home*. A tensor that a factory makes without a device or with ``device="cpu"`` lies *away*, and so
do tensors kept in the author's modules. Mixing the two raises an error, as PyTorch would.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from icl_curriculum.testing.subject import AnySubject

_NAMES = (
    "arange as_tensor asarray bartlett_window blackman_window empty empty_strided eye full hamming_window hann_window "
    "kaiser_window linspace logspace normal ones rand randint randn randperm tensor "
    "tril_indices triu_indices zeros"
)
_FACTORIES: dict[object, str] = {getattr(torch, name): f"torch.{name}" for name in _NAMES.split()}
#: Calls in which a tensor on the CPU may meet one on an accelerator: copies, and indices.
_CROSSING: set[object] = {Tensor.copy_, Tensor.__getitem__, Tensor.__setitem__}
_TO_NUMPY: tuple[object, ...] = (Tensor.numpy, Tensor.__array__)
_MARK = "_lies_away"


class MixedDevices(RuntimeError):
    """A call mixed tensors on the CPU with tensors on the simulated accelerator."""


class PretendedAccelerator(TorchFunctionMode):
    """Marks tensors as lying at home or away while it is active. ``forgotten``: which were made away, and where."""

    def __init__(self, subject: AnySubject) -> None:
        super().__init__()
        self.subject = subject
        self.forgotten: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        tensors = list(_tensors((args, given)))
        away = [value for value in tensors if lies_away(value)]
        home = [value for value in tensors if value.dim() > 0 and not lies_away(value)]
        if func in _TO_NUMPY and home:
            raise MixedDevices("a tensor on an accelerator cannot become a numpy array; it would need .cpu() first")
        # A tensor without axes may meet any device, and so may one that only says where another is to go.
        if func not in _CROSSING and func is not Tensor.to and home and any(value.dim() > 0 for value in away):
            raise MixedDevices(f"{_name(func)} meets tensors on the inputs' device and on the CPU")
        result = func(*args, **given)
        if isinstance(result, Iterator):  # Made by Tensor.__iter__.
            result = list(result)
            _mark(result, bool(away))
            return iter(result)
        moved = self._lies_away_after(func, args, given)
        if moved is None:
            moved = lies_away(args[0]) if func in _CROSSING else bool(away) and not home
        elif isinstance(result, Tensor) and any(result is value for value in tensors):
            result = result.view_as(result)  # `to` returns its argument where nothing changes.
        _mark(result, moved)
        return result

    def _lies_away_after(self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]) -> bool | None:
        """Whether the result lies away, if the call itself decides that; None if its arguments decide."""
        if func is Tensor.cpu:
            return True
        device = given.get("device")
        if func is Tensor.to:
            for value in args[1:]:
                if isinstance(value, Tensor):
                    return lies_away(value)
                device = value if isinstance(value, str | torch.device) else device
            if "other" in given:
                return lies_away(given["other"])
        if isinstance(device, torch.device):
            return False
        if func not in _FACTORIES or any(True for _ in _tensors((args, given))):
            return True if isinstance(device, str) else None
        self.forgot(_FACTORIES[func])
        return True

    def forgot(self, factory: str) -> None:
        note = f"{factory} at {self.subject.where_called() or 'a place outside the class'}"
        if note not in self.forgotten:
            self.forgotten.append(note)


@contextmanager
def pretended_accelerator(subject: AnySubject, attributes: Iterable[object] = ()) -> Iterator[PretendedAccelerator]:
    """Run the class during the block as if its inputs and generators lay on an accelerator.

    ``attributes``: values that stay where they were made, whatever is moved there.
    """
    mode = PretendedAccelerator(subject)
    real = torch.from_numpy  # No torch function mode sees calls of this one.

    def from_numpy(array: Any) -> Tensor:
        made = real(array)
        mode.forgot("torch.from_numpy")
        _mark(made, True)
        return made

    kept = [value for name in subject.modules if name in sys.modules for value in vars(sys.modules[name]).values()]
    kept += [value for cls in {*subject.cls.__mro__, *subject.authored} for value in vars(cls).values()]
    constants = [value for value in [*kept, *attributes] if isinstance(value, Tensor)]
    try:
        _mark(constants, True)
        with mock.patch.object(torch, "from_numpy", from_numpy), mode:
            yield mode
    finally:
        _mark(constants, False)


def lies_away(value: Tensor) -> bool:
    return hasattr(value, _MARK)


def _mark(values: Any, away: bool) -> None:
    for value in _tensors(values):
        if away and value.dim() > 0:
            setattr(value, _MARK, True)
        elif lies_away(value):
            delattr(value, _MARK)


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _name(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", str(func))
