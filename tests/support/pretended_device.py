"""A device that is no device: tensors that say that they lie there, hold their numbers on the CPU, and tell who waits.

It stands for a GPU where there is none. What runs on it meets what it would meet on CUDA: numbers of two devices in one
operation are an error, and each call that would make the program wait for the device is noted. Operations have the
CPU's results, by autograd's way through a model. torch has room for one device type of others' making; its name here is
`PRETENDED`.
"""

from __future__ import annotations

import contextlib
import functools
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from icl_curriculum.core import streams
from icl_curriculum.inputs import gaussian

PRETENDED = "pretended:0"
_HOME = Path(__file__).parents[2]
_ATEN = torch.ops.aten

#: Operations whose result the program must know before it goes on: a number, or how many there are of something.
_WAITING = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique_consecutive", "_unique2",
    "unique_dim", "bincount", "_linalg_check_errors", "argwhere", "allclose",
}  # fmt: skip
_COPIES = {"_to_copy", "copy_", "lift_fresh", "lift_fresh_copy"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}


class _Backend(_DummyBackendModule):
    """What torch wants to know of a device type."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@functools.cache
def register() -> None:
    """Tell torch of the device, before anything is differentiated in this process: then it starts a thread for each."""
    _setup_privateuseone_for_python_backend("pretended", _Backend())


class PretendedTensor(Tensor):
    """A tensor that says that it lies on the pretended device; ``numbers`` are those of the CPU."""

    numbers: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: Tensor) -> PretendedTensor:
        made: PretendedTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, numbers.size(), strides=numbers.stride(), storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype, device=torch.device(PRETENDED),
        )  # fmt: skip
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} outside of the pretended device")


class PretendedGenerator(torch.Generator):
    """A generator that says that it lies on a device, and draws as on the CPU."""

    def __new__(cls, device: Any = "cpu") -> PretendedGenerator:
        made: PretendedGenerator = super().__new__(cls)
        made.place = torch.device(device)
        return made

    def __init__(self, device: Any = "cpu") -> None:
        self.place = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self.place


class PretendedDevice(TorchDispatchMode):
    """Runs operations of `PretendedTensor` on the CPU. ``waits``: operations that wait, and the line of the package."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing is compiled here, and to say so torch would import its compiler.
        return False

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[tuple[str, str]] = []
        #: All operations on tensors of the device, by name.
        self.operations: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        name = func._schema.name.removeprefix("aten::")
        tensors = list[Tensor]()
        _collect([args, list(given.values())], tensors)
        there = [value for value in tensors if isinstance(value, PretendedTensor)]
        here = [value for value in tensors if not isinstance(value, PretendedTensor)]
        wanted = given.get("device")
        home = bool(there) if wanted is None else torch.device(wanted).type == "pretended"
        if wanted is not None:
            given["device"] = torch.device("cpu")
        if name == "copy_":
            home = isinstance(args[0], PretendedTensor)
        if home or there:
            self._look(name, func, args, given, tensors, home)
            if there and name not in (_COPIES | _INDEXED) and any(value.dim() for value in here):
                raise RuntimeError(f"{func} meets tensors on {PRETENDED} and on the CPU")
        plain_args, plain = _plain(args), {key: _plain(value) for key, value in given.items()}
        if name == "_to_copy" and home and not there:
            plain["non_blocking"] = False
        result = func(*plain_args, **plain)
        if not home:
            return result
        self.operations.add(name if name != "cumsum" or result.is_floating_point() else "cumsum of whole numbers")
        written = _written(func, args, given)
        if not written:
            return _pretended(result)
        # The very tensors that it was given, where it returns what it has changed.
        number = len(func._schema.returns)
        return None if not number else written[0] if number == 1 else tuple(written)

    def _look(self, name: str, func: Any, args: Any, given: Any, tensors: list[Tensor], home: bool) -> None:
        """Note an operation for which the program would wait."""
        waits = name in _WAITING or (name == "repeat_interleave" and "Tensor" in str(func) and
                                     given.get("output_size") is None)  # fmt: skip
        if name in _INDEXED:
            indices = [value for value in args[1] if isinstance(value, Tensor)]
            waits |= any(value.dtype in (torch.bool, torch.uint8) for value in indices)
            waits |= any(not isinstance(value, PretendedTensor) and value.dim() for value in indices)
        if name in ("_to_copy", "copy_"):
            places = [isinstance(value, PretendedTensor) for value in (tensors if name == "copy_" else tensors[:1])]
            source = places[-1]
            blocking = not (given.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            waits |= source != home and blocking
        if waits:
            self.waits.append((name, _line()))


def _collect(value: Any, found: list[Tensor]) -> None:
    """Add the tensors in nested lists and tuples to those that were found."""
    if isinstance(value, Tensor):
        found.append(value)
    elif isinstance(value, list | tuple):
        for item in value:
            _collect(item, found)


def _plain(value: Any) -> Any:
    if isinstance(value, PretendedTensor):
        return value.numbers
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _pretended(value: Any) -> Any:
    if isinstance(value, Tensor):
        return PretendedTensor(value)
    return type(value)(map(_pretended, value)) if type(value) in (list, tuple) else value


def _written(func: Any, args: Any, given: Any) -> list[Any]:
    """What an operation changes in place."""
    return [
        given[argument.name] if argument.name in given else args[place]
        for place, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]


def _line() -> str:
    """The line of the package that asked, as ``training/session.py:12 in draw``."""
    for frame in reversed(traceback.extract_stack()):
        if "icl_curriculum/" in frame.filename and str(_HOME) in frame.filename:
            return f"{frame.filename.partition('icl_curriculum/')[2]} in {frame.name}"
    return "?"


class _Recurrent(torch.autograd.Function):
    """torch's own recurrent function on the CPU, in the place of a kernel that only a GPU has."""

    @staticmethod
    def forward(ctx: Any, function: Any, states: int, options: Any, *tensors: Tensor) -> Tensor:
        ctx.inner = [_plain(value).detach().requires_grad_() for value in tensors]
        context, *rest = ctx.inner
        before = tuple(rest[:states])
        with torch.enable_grad():
            ctx.found = function(context, before[0] if states == 1 else before, rest[states:], *options)[0]
        return PretendedTensor(ctx.found.detach())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        found = torch.autograd.grad(ctx.found, ctx.inner, _plain(grads[0]))
        return (None, None, None, *(PretendedTensor(value) for value in found))


def _as_on_the_cpu(generator: Any) -> Any:
    """A device's generator that draws what the CPU's would for the same stream."""

    def made(seed: int, stream: str, index: int = 0, device: Any = "cpu") -> torch.Generator:
        like: torch.Generator = generator(seed, stream, index)
        if torch.device(device).type == "cpu":
            return like
        there = PretendedGenerator(device)
        there.set_state(like.get_state())
        return there

    return made


def _recurrent(function: Any) -> Any:
    def call(context: Tensor, before: Any, weights: list[Tensor], *options: Any) -> Any:
        if not isinstance(context, PretendedTensor):
            return function(context, before, weights, *options)
        assert options[3] == torch.is_grad_enabled(), "cuDNN gives gradients only of what it was told to train"
        states = (before,) if isinstance(before, Tensor) else tuple(before)
        return (_Recurrent.apply(function, len(states), options, context, *states, *weights),)  # type: ignore[no-untyped-call]

    return call


@contextlib.contextmanager
def pretended_device() -> Iterator[PretendedDevice]:
    """The device `PRETENDED` during the block."""
    register()
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    made = _as_on_the_cpu(streams.generator)
    recurrent = {name: _recurrent(getattr(torch, name)) for name in ("gru", "lstm")}
    try:
        with (
            mock.patch.object(streams, "generator", made),
            mock.patch.object(gaussian, "stream_generator", made),
            mock.patch.multiple(torch, **recurrent),
            PretendedDevice() as mode,
        ):
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
