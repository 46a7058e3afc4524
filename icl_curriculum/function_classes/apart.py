"""Whether functions and inputs are drawn apart from each other.

A class whose functions look at the inputs, however subtly, makes in-context learning look easier than it is. With the
same streams and other inputs, its parameters must be the same, byte by byte. Inputs that a class makes itself may look
at the functions; these must still come from one stream alone.
Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.base import FunctionClass, InputSampler, Parameters

#: The numbers of prompts and of points that are tried; ``points`` stands for those that are asked for.
PROMPTS = (1, 7, 16, 64, 100, 256, 1000, 4096)
POINTS = (1, 2, 3, 8, 70, 101)
#: The most numbers that one draw may take.
HELD = 1 << 25


def functions_depend_on_inputs(
    function_class: FunctionClass,
    inputs: InputSampler,
    dims: int,
    points: int,
    *,
    prompts: Sequence[int] = PROMPTS,
    several_points: bool = True,
) -> str | None:
    """Says where the functions that a class draws depend on the inputs drawn with them, or these on the functions.

    Prompts are drawn twice from the same streams, but for those that the inputs are made from, then but for all
    others. That is done for several numbers of ``prompts``, for several numbers of points, and with prompts that share
    a function. None: they don't, as far as that shows. Of a class that makes its own inputs it is told whether its
    functions come from a single stream, whatever inputs are made from others.
    """
    if function_class.owns_inputs:
        return _functions_of_several_streams(
            function_class, inputs, dims, _sizes(points, prompts, POINTS if several_points else ())
        )
    for n, of, shared in _sizes(points, prompts, POINTS if several_points else ()):
        first = _Draw(function_class, inputs, dims, _WatchedStreams(0, f"apart/{n}/{of}", prompts_per_function=shared))
        if n * first.numbers(of) > HELD:
            continue
        xs, parameters = first(n, of)
        if not first.asked:
            return "the inputs are not those of the distribution that it is given, which it does not ask for any"
        where = f"at {n} prompts of {of} points, d = {dims}" + (f", {shared} to a function" if shared > 1 else "")
        _, others = first.again(renewed="inputs")(n, of)
        changed = _changed(parameters, others)
        if changed:
            return f"other inputs from the same streams change {changed} {where}"
        again, _ = first.again(renewed="functions")(n, of)
        changed = _changed({"the inputs": xs}, {"the inputs": again})
        if changed:
            return f"other functions from the same streams change {changed} {where}"
    return None


def _functions_of_several_streams(
    function_class: FunctionClass, inputs: InputSampler, dims: int, sizes: Iterator[tuple[int, int, int]]
) -> str | None:
    """Says which streams beside the first decide the functions of a class that makes its own inputs."""
    for n, of, shared in sizes:
        first = _OwnStreams(0, f"apart/{n}/{of}", prompts_per_function=shared)
        try:
            xs, parameters = _own_draw(function_class, inputs, 1, of, dims, replace(first, prompts_per_function=1))
            if n * (xs.numel() + sum(value.numel() for value in parameters.values())) > HELD:
                continue
            first.asked.clear()
            _, parameters = _own_draw(function_class, inputs, n, of, dims, first)
        except UserError:
            continue  # Prompts may not be as long as is tried.
        deciding: dict[str, str] = {}
        for part in dict.fromkeys(first.asked):
            _, others = _own_draw(function_class, inputs, n, of, dims, replace(first, renewed=part, asked=[]))
            if changed := _changed(parameters, others):
                deciding[part] = changed
        if len(deciding) > 1:
            several = [part for part in deciding if part != "functions"]
            also = ", ".join(map(repr, [part for part in deciding if part != several[0]]))
            where = f"at {n} prompts of {of} points, d = {dims}" + (f", {shared} to a function" if shared > 1 else "")
            return (
                f"other numbers from the stream {several[0]!r} change {deciding[several[0]]} {where}, and so do those "
                f"from {also}"
            )
    return None


def _own_draw(
    function_class: FunctionClass, inputs: InputSampler, n: int, points: int, dims: int, streams: Streams
) -> tuple[Float[Tensor, "n points dims"], Parameters]:
    with at_work(function_class, "draw"):
        xs, _, parameters = function_class.draw(n, points, dims, inputs, streams)
    return xs, parameters


@dataclass(frozen=True)
class _OwnStreams(Streams):
    """Streams that know what parts they are asked for, and give other numbers for the part ``renewed``."""

    renewed: str = ""
    asked: list[str] = field(default_factory=list, compare=False, repr=False)

    def generator(self, part: str) -> torch.Generator:
        self.asked.append(part)
        name = f"{self.name}/renewed" if part == self.renewed else self.name
        return Streams(self.seed, name, self.index, self.device).generator(part)


def _sizes(points: int, prompts: Sequence[int], several: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Prompts, points, and prompts to a function."""
    yield from ((n, points, 1) for n in prompts)
    yield from ((16, of, 1) for of in several if of != points)
    yield (64, points, 4)


def _changed(one: Parameters, other: Parameters) -> str | None:
    """Which of some tensors differ, and in how many prompts."""
    if one.keys() != other.keys():
        return f"the names of the parameters, {', '.join(sorted(one))} to {', '.join(sorted(other))}"
    for name, value in one.items():
        beside = other[name]
        what = name if name == "the inputs" else f"the parameter {name!r}"
        if value.shape != beside.shape or value.dtype != beside.dtype:
            return f"{what}: its shape or its type"
        differ = (_bytes(value) != _bytes(beside)).flatten(1).any(1)
        if differ.any():
            return f"{what} of {int(differ.sum())} prompts"
    return None


def _bytes(value: Tensor) -> Tensor:
    return value.detach().cpu().reshape(len(value), -1).contiguous().view(torch.uint8)


@dataclass(frozen=True)
class _WatchedStreams(Streams):
    """Streams that know which of their generators are handed on, and give others for a part of them.

    ``of_inputs``: the parts that inputs were made from. ``renewed``: whether these come from elsewhere, or all others.
    """

    of_inputs: frozenset[str] = frozenset()
    renewed: str = ""
    made: list[tuple[torch.Generator, str]] = field(default_factory=list, compare=False, repr=False)

    def generator(self, part: str) -> torch.Generator:
        other = self.renewed and (part in self.of_inputs) == (self.renewed == "inputs")
        made = Streams(self.seed, f"{self.name}/renewed" if other else self.name, self.index, self.device).generator(
            part
        )
        self.made.append((made, part))
        return made


@dataclass
class _Draw:
    """A draw of a class from watched streams, and the input distribution that it asks.

    ``asked``: whether the class has asked for inputs. ``used``: the parts that they were made from. ``elsewhere``:
    whether they come from a generator that is not the one handed in.
    """

    function_class: FunctionClass
    inputs: InputSampler
    dims: int
    streams: _WatchedStreams
    elsewhere: bool = False
    asked: bool = False
    used: set[str] = field(default_factory=set)

    def __call__(self, n: int, points: int) -> tuple[Float[Tensor, "n points dims"], Parameters]:
        with at_work(self.function_class, "draw"):
            xs, _, parameters = self.function_class.draw(n, points, self.dims, self, self.streams)
        return xs, parameters

    def numbers(self, points: int) -> int:
        """How many numbers one prompt takes."""
        one = replace(self, streams=replace(self.streams, prompts_per_function=1, made=[]), used=set())
        xs, parameters = one(1, points)
        return xs.numel() + sum(value.numel() for value in parameters.values())

    def again(self, *, renewed: str) -> _Draw:
        """The same draw with other inputs, or with all others but the inputs.

        A class that makes its inputs with a generator that is not from its streams gets its inputs from elsewhere.
        """
        streams = replace(self.streams, of_inputs=frozenset(self.used), renewed=renewed if self.used else "", made=[])
        elsewhere = renewed == "inputs" and not self.used
        return replace(self, streams=streams, elsewhere=elsewhere, asked=False, used=set())

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        """The inputs of the distribution; the class calls it."""
        self.asked = True
        self.used |= {part for made, part in self.streams.made if made is generator}
        drawn = self.inputs.sample(n, points, dims, generator)
        if not self.elsewhere:
            return drawn
        return self.inputs.sample(n, points, dims, Streams(0, f"{self.streams.name}/elsewhere").generator("inputs"))
