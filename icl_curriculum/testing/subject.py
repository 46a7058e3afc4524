"""The function class under check: its instance, the dimensions it allows, and draws from fixed streams.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import traceback
from types import FrameType

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS
from icl_curriculum.core.streams import Streams, generator
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters
from icl_curriculum.inputs import InputDistribution

DIMS = (1, 2, 3, 5, 8)
#: The dimensions to try if the class refuses all of `DIMS`, and how many of the allowed ones to take.
MORE_DIMS, MORE = range(1, 65), 3
#: The label noise with which a class of sign values is checked: the probability of a flip.
FLIPS = 0.25


class Subject:
    """A function class under check, given as an instance or as a class to be built with its defaults.

    ``doing`` says which call of the class is under way, for the report of an exception.
    """

    def __init__(self, given: FunctionClass | type[FunctionClass]) -> None:
        self.given = given
        self.cls = given if isinstance(given, type) else type(given)
        self.doing = "the class"

    @property
    def registered(self) -> bool:
        """Whether the class is registered under its name; a class that isn't inherits its parent's name."""
        try:
            return FUNCTION_CLASSES.get(self.cls.name) is self.cls
        except UserError:
            return False

    @property
    def label(self) -> str:
        """The id, or the Python name of a class that is not registered."""
        if not self.registered:
            return self.cls.__name__
        return self.given.id if isinstance(self.given, FunctionClass) else self.cls.name

    @functools.cached_property
    def as_given(self) -> FunctionClass:
        """The instance, with its pool."""
        self.doing = f"{self.cls.__name__}()"
        return self.given() if isinstance(self.given, type) else self.given

    @functools.cached_property
    def function_class(self) -> FunctionClass:
        """The instance without its pool, because `trivial_error` and the like are those of the whole class."""
        return self.as_given.model_copy(update={"pool_size": None})

    def inputs(self, dims: int) -> InputDistribution:
        """The reference inputs in ``dims`` dimensions."""
        self.doing = f"reference({dims})"
        built = INPUTS.build(self.function_class.reference(dims))
        assert isinstance(built, InputDistribution)
        return built

    def noise(self, dims: int, share: float) -> float:
        """A noise that the class's labels can have: `FLIPS`, or a share of the root of the trivial error."""
        if self.function_class.sign_valued:
            return FLIPS
        return share * math.sqrt(self.function_class.trivial_error(dims))

    def oracles(self, dims: int) -> dict[float, OracleKind]:
        """The kinds of oracle in ``dims`` dimensions: without noise, and under a large one."""
        self.doing = "oracle_kind and oracle_for"
        return {noise: self.function_class.oracle_for(dims, noise) for noise in (0.0, self.noise(dims, 1.0))}

    @functools.cached_property
    def dims(self) -> tuple[int, ...]:
        """The dimensions to check: those of `DIMS` that the class allows, else the first that it allows at all."""
        allowed = tuple(dims for dims in DIMS if self.allows(dims))
        return allowed or tuple([dims for dims in MORE_DIMS if self.allows(dims)][:MORE])

    def allows(self, dims: int) -> bool:
        try:
            self.function_class.check_dims(dims)
        except Exception:  # The rule on dimensions reports an error that is no UserError.
            return False
        return True

    def refusal(self, dims: int) -> UserError | None:
        """The UserError that `check_dims` raises for ``dims``, if any. Its other errors pass."""
        self.doing = f"check_dims({dims})"
        try:
            self.function_class.check_dims(dims)
        except UserError as error:
            return error
        return None

    @property
    def most_dims(self) -> int:
        return self.dims[-1]

    def generator(self, purpose: str, index: int = 0) -> torch.Generator:
        return generator(0, f"conformity/{purpose}", index)

    def streams(self, purpose: str, index: int = 0) -> Streams:
        return Streams(0, f"conformity/{purpose}", index)

    def sample(self, n: int, dims: int, made: torch.Generator) -> Parameters:
        self.doing = f"sample(n={n}, dims={dims})"
        return self.function_class.sample(n, dims, made)

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Tensor:
        self.doing = f"evaluate of xs of shape {tuple(xs.shape)} and {str(xs.dtype).removeprefix('torch.')}"
        return self.function_class.evaluate(parameters, xs)

    def draw(
        self, n: int, points: int, dims: int, streams: Streams, inputs: InputDistribution | None = None
    ) -> tuple[Tensor, Tensor, Parameters]:
        """Calls the class's own `draw` with the reference inputs, or with others."""
        chosen = self.inputs(dims) if inputs is None else inputs
        self.doing = f"draw(n={n}, points={points}, dims={dims}) with the inputs {chosen.id}"
        return self.function_class.draw(n, points, dims, chosen, streams)

    def example(
        self, n: int, points: int, dims: int, index: int = 0
    ) -> tuple[Parameters, Float[Tensor, "n points dims"]]:
        """Draws functions and reference inputs from streams of their own."""
        parameters = self.sample(n, dims, self.generator("functions", index))
        return parameters, self.inputs(dims).sample(n, points, dims, self.generator("inputs", index))

    @property
    def modules(self) -> set[str]:
        """The modules of the author's code: those that define the class and its parents below the contract."""
        return {cls.__module__ for cls in self.cls.__mro__ if issubclass(cls, FunctionClass)} - {
            FunctionClass.__module__
        }

    def where_raised(self, error: BaseException) -> str | None:
        """The innermost line of the author's code that an exception went through."""
        where = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            if frame.f_globals.get("__name__") in self.modules:
                where = _place(frame, line)
        return where

    def where_called(self) -> str | None:
        """The innermost line of the author's code that is being executed."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_globals.get("__name__") in self.modules:
                return _place(frame, frame.f_lineno)
            frame = frame.f_back
        return None


def doubled(parameters: Parameters) -> Parameters:
    """The parameters with their floating tensors in float64."""
    return {name: value.double() if value.is_floating_point() else value for name, value in parameters.items()}


def copied(parameters: Parameters) -> Parameters:
    return {name: value.clone() for name, value in parameters.items()}


def _place(frame: FrameType, line: int) -> str:
    """Words a place as ``path/to/file.py:12, in evaluate``. A path below the working directory is relative to it."""
    path = frame.f_code.co_filename
    relative = os.path.relpath(path) if os.path.isabs(path) else path
    return f"{path if relative.startswith('..') else relative}:{line}, in {frame.f_code.co_name}"
