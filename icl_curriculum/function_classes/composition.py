"""Compositions of two function classes, whose reasoning steps are the values of the inner one.

Dimensions: n = functions (one per prompt), points = K + 1, dims = d, m = numbers of an inner value, steps = S.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from icl_curriculum.core.component import ONE_VALUE, Component, code_of
from icl_curriculum.core.contracts import as_number
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import INPUTS
from icl_curriculum.core.streams import generator as stream_generator
from icl_curriculum.core.transfers import sent
from icl_curriculum.function_classes.base import (
    AnyFunctionClass,
    FunctionClass,
    Parameters,
    labels_of,
    register_function_class,
)
from icl_curriculum.function_classes.linear_map import LinearMap

#: Which of the pairs of pooled functions are drawn.
Pairs = Literal["trained", "held_out", "all"]


@register_function_class("composition")
class Composition(FunctionClass):
    """f(x) = g(c h(x)) with h from one class and g from another; the numbers of c h(x) are the reasoning steps.

    ``first`` is the class of h, whose labels are m numbers, ``second`` that of g, which is asked in m dimensions. The
    factor c gives c h(x) the mean square length of the second class's reference inputs, where x are the first one's:
    c^2 = E|s|^2 / E|h(x)|^2. With ``first_functions`` and ``second_functions``, h and g are drawn from so many fixed
    ones, and ``held_out`` of their pairs are never drawn unless ``pairs`` says so, although every h and every g is
    drawn in other pairs. What a class within it shows as steps of its own are steps here, too.

    Trivial error E|s|^2 where that of g is the square length of its inputs, as of linear functions, so m for linear
    maps; in closed form where that of g depends on its inputs by their length alone and nothing is pooled, else an
    estimate. No oracle. Source: Li et al. 2023, arXiv 2305.18869, who compose functions in chain-of-thought prompts.
    """

    first: AnyFunctionClass = Field(
        LinearMap(), description="the class of h, from the inputs to the steps", json_schema_extra=ONE_VALUE
    )
    second: AnyFunctionClass = Field(
        "linear",
        validate_default=True,
        description="the class of g, from the steps to the label",
        json_schema_extra=ONE_VALUE,
    )
    first_functions: int | None = Field(
        None, ge=1, le=100_000, description="draw h from so many fixed functions; none: a fresh one each time"
    )
    second_functions: int | None = Field(
        None, ge=1, le=100_000, description="draw g from so many fixed functions; none: a fresh one each time"
    )
    held_out: float = Field(
        0.0, ge=0, lt=1, description="share of the pairs of pooled functions that training never sees"
    )
    pairs: Pairs = Field(
        "trained", description="the pairs to draw: those that are left, those held out, or all of them"
    )

    @model_validator(mode="after")
    def _fitting(self) -> Composition:
        for name, part in (("first", self.first), ("second", self.second)):
            for key, usual in (("outputs", "raw"), ("label_noise", 0.0), ("pool_size", None), ("observation", None)):
                if getattr(part, key) != usual:
                    way_out = f"set {name}_functions instead" if key == "pool_size" else "set it for the composition"
                    raise ValueError(f"{name}: {part.id} has {key} = {_named(getattr(part, key))}; {way_out}")
            if (why := _why_no_part(part)) is not None:
                raise ValueError(f"{name}: {part.id} {why}, which no composition can follow")
        if self.first.class_valued:
            raise ValueError(
                f"first: the labels of {self.first.id} are {labels_of(self.first)}; expected numbers, which are the "
                f"inputs of {self.second.id}"
            )
        labels = "signs" if self.second.sign_valued else labels_of(self.second)
        if labels != "numbers":
            raise ValueError(f"second: the labels of {self.second.id} are {labels}; expected one number each")
        if self.second.sign_inputs or self.second.largest_input < math.inf:
            domain = (
                "inputs of -1 and 1" if self.second.sign_inputs else f"inputs within ±{self.second.largest_input:g}"
            )
            raise ValueError(f"second: {self.second.id} expects {domain}, and steps may be any numbers")
        if self.n_held_out and (wanted := self.first_functions) is not None and self.second_functions is not None:
            most = wanted * self.second_functions - max(wanted, self.second_functions)
            if self.n_held_out > most:
                raise ValueError(
                    f"held_out: {self.n_held_out} of the {wanted} × {self.second_functions} pairs would leave a "
                    f"function without any pair in training; expected at most {most}, held_out = "
                    f"{math.floor(1000 * most / (wanted * self.second_functions)) / 1000:g}"
                )
        if self.held_out and not self.n_held_out:
            raise ValueError(
                f"held_out: {self.held_out:g} holds out no pair; expected first_functions and second_functions, of "
                f"which there are enough"
            )
        if self.pairs != "trained" and not self.held_out:
            raise ValueError(f'pairs = "{self.pairs}": expected held_out, the share of pairs that training never sees')
        return self

    @property
    def n_held_out(self) -> int:
        """How many pairs of pooled functions training never sees."""
        return round(self.held_out * (self.first_functions or 0) * (self.second_functions or 0))

    @property
    def n_steps(self) -> int:  # type: ignore[override]
        return self.first.shown_steps + self.first.label_dims + self.second.shown_steps

    @property
    def largest_input(self) -> float:  # type: ignore[override]
        return self.first.largest_input

    @property
    def sign_inputs(self) -> bool:  # type: ignore[override]
        return self.first.sign_inputs

    @property
    def growth(self) -> float:
        return self.first.growth * self.second.growth

    @property
    def family(self) -> str:
        own: dict[str, object] = {"first": self.first.family, "second": self.second.family}
        if self.first_functions or self.second_functions:
            own["functions"] = [self.first_functions, self.second_functions, self.held_out, self.pairs, self.pool_seed]
        # What a subclass adds.
        more = type(self).model_fields.keys() - Composition.model_fields.keys()
        if more:
            own["more"] = self.without_given_ids().model_dump(mode="json", exclude_defaults=True, include={*more})
        return f"{self.name or type(self).__qualname__}/{json.dumps(own, sort_keys=True)}"

    @property
    def form(self) -> tuple[object, ...]:
        return (*super().form, self.first.form, self.second.form)

    def reference(self, dims: int) -> str | dict[str, Any]:
        return self.first.reference(dims)

    def check_dims(self, dims: int) -> None:
        self.first.check_dims(dims)
        try:
            self.second.check_dims(self.first.label_dims)
        except UserError as error:
            of = f"of the {self.first.label_dims} numbers of {self.first.id}"
            raise UserError(f"second: {error.reason}, as it is asked {of}", subject=self.name) from error

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        """Draw h and g: ``first_…`` and ``second_…``, and of pooled ones their numbers, ``number_of_…``."""
        inner = self.first.label_dims
        rows = self._rows(n, generator)
        found: Parameters = {}
        for place, (name, part, size, of) in enumerate(
            (("first", self.first, self.first_functions, dims), ("second", self.second, self.second_functions, inner))
        ):
            if size is None:
                drawn = part.sample(n, of, generator)
            else:
                pool = self._pool(place, of, generator.device)
                drawn = {key: value[rows[:, place]] for key, value in pool.items()}
                found[f"number_of_{name}"] = rows[:, place]
            found |= {f"{name}_{key}": value for key, value in drawn.items()}
        return found

    def _rows(self, n: int, generator: torch.Generator) -> Int[Tensor, "n 2"]:
        """Which of the pooled functions are drawn, each allowed pair as likely; 0 of what is not pooled."""
        sizes = self.first_functions or 1, self.second_functions or 1
        allowed = trained_pairs(*sizes, self.n_held_out, self.pool_seed)
        if self.pairs == "held_out":
            allowed = ~allowed
        elif self.pairs == "all":
            allowed = torch.ones_like(allowed)
        known = sent(allowed.nonzero(), generator.device)
        if len(known) == 1:
            return known.expand(n, -1)
        return known[torch.randint(len(known), (n,), generator=generator, device=generator.device)]

    def _pool(self, place: int, dims: int, device: torch.device) -> Parameters:
        """The fixed functions of a part. They depend on its class, their number and the seed, not on the other part."""
        part, size = ((self.first, self.first_functions), (self.second, self.second_functions))[place]
        assert size is not None
        stream = f"composition/{('first', 'second')[place]}/{part.family}/dims={dims}/size={size}"
        return _drawn_pool(_PartPool(code_of(part), stream, self.pool_seed, size, dims, str(device), part))

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        return self.second.evaluate(_of("second", parameters), self.inner(parameters, xs))

    def steps(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points steps"]:
        inner = self.inner(parameters, xs)
        before = [self.first.steps(_of("first", parameters), xs)] if self.first.shown_steps else []
        after = [self.second.steps(_of("second", parameters), inner)] if self.second.shown_steps else []
        return torch.cat([*before, inner, *after], dim=-1)

    def inner(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points m"]:
        """The inputs of g, c h(x)."""
        values = self.first.evaluate(_of("first", parameters), xs) * self.factor(xs.shape[2])
        return values.unsqueeze(-1) if values.ndim == 2 else values

    def factor(self, dims: int) -> float:
        """The factor c on the values of h."""
        trivial = as_number(self.first, "trivial_error", self.first.trivial_error(dims))
        return math.sqrt(self._inner_square() / trivial)

    def _inner_square(self) -> float:
        """E|s|^2 of the second class's reference inputs, which c h(x) has, too; m where that is infinite."""
        inner = self.first.label_dims
        reference: Any = INPUTS.build(self.second.reference(inner), beside=self.second)
        square = float(reference.squared_norm(inner))
        return square if math.isfinite(square) else float(inner)

    @property
    def states_trivial_error(self) -> bool:
        return self._closed(self._inner_square()) is not None

    def _closed(self, inner_square: float) -> float | None:
        """E f(x)^2 in closed form where E|c h(x)|^2 is known; None where there is none."""
        if self.first_functions or self.second_functions:
            return None
        return self.second.second_moment(self.first.label_dims, squared_norm=inner_square, spectrum=None)

    def trivial_error(self, dims: int) -> float:
        closed = self._closed(self._inner_square())
        return super().trivial_error(dims) if closed is None else closed

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        of_first = self.first.second_moment(dims, squared_norm=squared_norm, spectrum=spectrum)
        return None if of_first is None else self._closed(of_first * self.factor(dims) ** 2)


def _why_no_part(part: FunctionClass) -> str | None:
    """Why a class cannot be one of a composition's, in words that follow its id."""
    if part.owns_inputs or part.drawn_labels:
        return "makes its own inputs"
    if part.has_memory:
        return "has values that follow from earlier inputs, too"
    if part.asks_itself or part.shows_by_method:
        return f"{'asks' if part.asks_itself else 'shows'} something else than its values"
    return "says which of its values count" if type(part).counts is not FunctionClass.counts else None


def _named(value: object) -> object:
    return value.id if isinstance(value, Component) else value


def _of(name: str, parameters: Parameters) -> Parameters:
    """The parameters of one of the two functions."""
    begin = f"{name}_"
    return {key.removeprefix(begin): value for key, value in parameters.items() if key.startswith(begin)}


@functools.lru_cache(maxsize=16)
def trained_pairs(first: int, second: int, held_out: int, seed: int) -> Tensor:
    """True for the pairs (i, j) of so many functions each that are left when ``held_out`` of them are held out.

    Which are held out is random and a function of the numbers and the seed. Every i and every j is in a pair that is
    left: max(first, second) pairs that hold all of them stay, in random places, and the others are drawn from the rest.
    It must not be changed in place.
    """
    made = stream_generator(seed, f"composition/pairs/{first}/{second}/{held_out}")
    left = torch.ones(first, second, dtype=torch.bool)
    if not held_out:
        return left
    turns = torch.arange(max(first, second))
    rows = torch.randperm(first, generator=made)[turns % first]
    columns = torch.randperm(second, generator=made)[turns % second]
    kept = torch.zeros_like(left)
    kept[rows, columns] = True
    others = (~kept).nonzero()
    chosen = others[torch.randperm(len(others), generator=made)[:held_out]]
    left[chosen[:, 0], chosen[:, 1]] = False
    return left


@dataclass(frozen=True)
class _PartPool:
    """All that decides the fixed functions of a part, hashable whatever its fields are."""

    code: tuple[type, ...]
    stream: str
    seed: int
    size: int
    dims: int
    device: str
    part: FunctionClass = field(compare=False)


@functools.lru_cache(maxsize=32)
def _drawn_pool(pool: _PartPool) -> Parameters:
    # On the CPU, so that training on an accelerator and evaluation on the CPU mean the same functions.
    drawn = pool.part.sample(pool.size, pool.dims, stream_generator(pool.seed, pool.stream))
    return {name: value.to(torch.device(pool.device)) for name, value in drawn.items()}
