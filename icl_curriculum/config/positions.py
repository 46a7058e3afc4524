"""The key ``training.positions``: which entries of a prompt count in the loss."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from icl_curriculum.core.errors import UserError


def _positions(value: Any) -> Any:
    if value in ("all", "last", "balanced") and isinstance(value, str):
        return value
    if type(value) is int and value >= 0:
        return value
    if isinstance(value, list | tuple) and value and all(type(item) in (int, float) for item in value):
        weights = tuple(float(item) for item in value)
        if all(0 <= weight < math.inf for weight in weights) and sum(weights) > 0:
            return weights
    raise PydanticCustomError(
        "positions",
        'expected "all", "last", "balanced", the number of examples from which positions count, or a list of weights '
        "of at least 0, one for each position",
    )


Positions = Annotated[Literal["all", "last", "balanced"] | int | tuple[float, ...], PlainValidator(_positions)]


def check_positions(positions: Any, shortest: int | None, points: int, first_points: int) -> None:
    """Raise UserError for positions or lengths that prompts of ``points`` points do not have.

    ``first_points``: the points of the shortest prompts that the curriculum draws.
    """
    least = first_points
    if shortest is not None:
        if not 2 <= shortest <= first_points:
            grown = "" if first_points == points else ", which the first prompts have"
            raise UserError(f"{shortest}: expected 2 to {first_points} points{grown}", key="training.shortest_prompt")
        least = shortest
    if isinstance(positions, int) and positions >= least:
        raise UserError(
            f"no prompt of {least} points has a position with {positions} examples before it; expected at most "
            f"{least - 1}",
            key="training.positions",
        )
    if isinstance(positions, tuple):
        if len(positions) != points:
            raise UserError(
                f"{len(positions)} weights; expected {points}, one for each position", key="training.positions"
            )
        if not sum(positions[:least]):
            raise UserError(
                f"all of the first {least} weights are 0, so nothing of a prompt of {least} points would count",
                key="training.positions",
            )
