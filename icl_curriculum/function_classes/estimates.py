"""E f(x)^2 by Monte Carlo, where no closed form is known.

Dimensions: n = functions, each at one point or, where positions differ, at those of a prompt, dims = d.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_curriculum.core.component import Component, code_of
from icl_curriculum.core.contracts import broken_contract
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import INPUTS
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.checked import checked_counts, checked_draw, checked_values

#: Functions and inputs behind an estimate, and those of one draw.
DRAWN, _CHUNK = 1 << 18, 1 << 14
#: Where positions of a prompt differ, E f(x)^2 is the mean over those of prompts of so many points, which are an
#: experiment's unless it says otherwise. An eighth of the prompts is enough then.
POINTS, _FEWER = 21, 8


@dataclass(frozen=True)
class EstimatedMoment:
    """A mean over independent functions and inputs, and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.5g} ± {self.error:.2g}"


def estimated_moment(function_class: Component, inputs: Component, dims: int) -> EstimatedMoment:
    """E f(x)^2 of the values that count, in raw units, from 2^18 functions and inputs of a stream of its own.

    Where positions of a prompt differ it is the mean over `moment_points` of them, from 2^15 prompts. It is that of the
    whole class, as closed forms are: neither a pool nor a unit nor an id changes it. Vectors: summed over the numbers
    of a label. ComponentFailed where nothing counts.
    """
    own: Any = function_class.without_given_ids().model_copy(
        update={"outputs": "raw", "pool_size": None, "observation": None}
    )
    plain = inputs.without_given_ids()
    spec = json.dumps(plain.spec(by_content=True), sort_keys=True, default=str)
    return _estimated(_Moment(type(own), own.family, spec, (*code_of(own), *code_of(plain)), dims, own, plain))


def estimated_trivial_error(function_class: Component, dims: int) -> EstimatedMoment:
    """`estimated_moment` under the class's reference inputs. ComponentFailed where it is no positive number."""
    reference: Any = function_class
    found = estimated_moment(function_class, INPUTS.build(reference.reference(dims), beside=function_class), dims)
    if not 0 < found.mean < math.inf:
        what = f"E f(x)^2 = {found.mean:g} over {DRAWN:,} functions in {dims} dimensions"
        raise broken_contract(
            function_class, "sample or evaluate", found=what, expected="values with a positive mean square"
        )
    return found


def moment_points(function_class: Any, inputs: Any, dims: int) -> int:
    """The points over whose positions E f(x)^2 is a mean: 1 where all are alike; else `POINTS`.

    Fewer where the class refuses prompts of so many by a UserError, as one with the rows of a small table does.
    """
    if not function_class.positions_differ(dims):
        return 1
    for points in range(POINTS, 0, -1):
        try:
            checked_draw(function_class, inputs, 1, points, dims, Streams(0, "longest prompt"))
        except UserError:
            continue
        return points
    return POINTS  # It refuses all, and says why where it is asked.


@dataclass(frozen=True)
class _Moment:
    """All that decides a moment, hashable whatever the fields of a class are."""

    cls: type[Component]
    family: str
    spec: str
    code: tuple[type, ...]
    dims: int
    function_class: Any = field(compare=False)
    inputs: Any = field(compare=False)


@lru_cache(maxsize=256)
@own_settings()
def _estimated(moment: _Moment) -> EstimatedMoment:
    own, total, fourth, counted = moment.function_class, 0.0, 0.0, 0
    differ = own.positions_differ(moment.dims)
    n, points = _CHUNK // (_FEWER if differ else 1), moment_points(own, moment.inputs, moment.dims)
    prompts: list[Tensor] = []
    for chunk in range(DRAWN // _CHUNK):
        streams = Streams(0, f"denominator/{moment.family}/{moment.inputs.canonical_id}/{moment.dims}", chunk)
        xs, values, truth = checked_draw(own, moment.inputs, n, points, moment.dims, streams)
        if own.asks_itself:
            values = checked_values(own, truth, xs, asked=True)
        counting = checked_counts(own, truth, xs)
        squares = (values if counting is None else values[counting]).double().square()
        total += float(squares.sum())
        # Of vectors, of the squares' sum.
        fourth += float(squares.reshape(-1, own.label_dims).sum(dim=1).square().sum())
        counted += n * points if counting is None else int(counting.sum())
        if differ:
            prompts.append(_sums(values, counting))
    if not counted:
        found = f"nothing that counts in {DRAWN // _CHUNK * n * points} values"
        raise broken_contract(own, "counts", found=found, expected="values that count more often")
    mean = total / counted
    if not differ:
        return EstimatedMoment(mean, math.sqrt(max(0.0, fourth / counted - mean**2) / counted))
    # The values of a prompt tell of one another; the prompts are independent.
    sums, counts = torch.cat(prompts).unbind(dim=1)
    return EstimatedMoment(mean, float((sums - mean * counts).square().sum().sqrt()) / counted)


def _sums(
    values: Float[Tensor, "n points *labels"], counting: Bool[Tensor, "n points"] | None
) -> Float[Tensor, "n two"]:
    """The sum of the squares of each prompt's values that count, and how many these are."""
    counts = torch.ones(values.shape[:2]).double() if counting is None else counting.cpu().double()
    squares = values.double().cpu().square().reshape(*counts.shape, -1).sum(dim=-1)
    return torch.stack([(squares * counts).sum(dim=1), counts.sum(dim=1)], dim=1)
