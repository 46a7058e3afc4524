"""E f(x)^2 under the reference inputs by Monte Carlo, for classes that state no trivial error.

Dimensions: n = functions, each at one point, dims = d.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from icl_curriculum.core.component import Component, code_of
from icl_curriculum.core.contracts import broken_contract
from icl_curriculum.core.registry import INPUTS
from icl_curriculum.core.settings import own_settings
from icl_curriculum.core.streams import Streams

#: Functions behind an estimate, and those of one draw.
DRAWN, _CHUNK = 1 << 18, 1 << 14


@dataclass(frozen=True)
class EstimatedMoment:
    """A mean over independent functions and inputs, and its standard error."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.5g} ± {self.error:.2g}"


def estimated_trivial_error(function_class: Component, dims: int) -> EstimatedMoment:
    """E f(x)^2 of the whole function class in raw units, whatever its pool, unit and id; the same at every call.

    Raises ComponentFailed where it is no positive number.
    """
    own: Any = function_class.without_given_ids().model_copy(update={"outputs": "raw", "pool_size": None})
    return _estimated(_Key(type(own), own.family, code_of(own), dims, own))


@dataclass(frozen=True)
class _Key:
    """All that decides an estimate, hashable whatever the class's fields are."""

    cls: type[Component]
    family: str
    code: tuple[type, ...]
    dims: int
    function_class: Any = field(compare=False)


@lru_cache(maxsize=256)
@own_settings()
def _estimated(key: _Key) -> EstimatedMoment:
    own, total, squares, counted = key.function_class, 0.0, 0.0, 0
    inputs = cast(Any, INPUTS.build(own.reference(key.dims), beside=own))
    for chunk in range(DRAWN // _CHUNK):
        streams = Streams(0, f"denominator/{own.family}/{inputs.canonical_id}/{key.dims}", chunk)
        xs, values, parameters = own.draw(_CHUNK, 1, key.dims, inputs, streams)
        counting = own.counts(parameters, xs)
        squared = values.double().square()
        squared = squared if squared.ndim == 2 else squared.sum(dim=-1)
        squared = squared.flatten() if counting is None else squared[counting]
        total, squares, counted = (
            total + float(squared.sum()),
            squares + float(squared.square().sum()),
            counted + len(squared),
        )
    mean = total / counted if counted else math.nan
    if not 0 < mean < math.inf:
        found = f"E f(x)^2 = {mean:g} over {counted:,} functions in {key.dims} dimensions"
        raise broken_contract(own, "sample or evaluate", found=found, expected="values with a positive mean square")
    return EstimatedMoment(mean, math.sqrt(max(0.0, squares / counted - mean**2) / counted))
