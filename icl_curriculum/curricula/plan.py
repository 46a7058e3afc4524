"""The curricula of a run combined: they decide which cell to draw from, and how large its prompts are."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from icl_curriculum.core.component import ADDED_LATER, Strict
from icl_curriculum.core.contracts import as_number, at_work, broken_contract
from icl_curriculum.curricula.base import Curriculum, State


class Growth(Strict):
    """A number that grows: ``start``, then ``add`` more and more, up to the experiment's own number.

    It does so every ``every`` steps, or evenly over a share of training, ``over``, after which it has grown up: one of
    the two is given.

    Source: Garg et al. 2022, who grow it every 2,000 steps.

    >>> [Growth(start=5, add=1, every=10).at(step, 7, steps=100) for step in (0, 9, 10, 20, 30)]
    [5, 5, 6, 7, 7]
    >>> [Growth(start=5, over=0.4).at(step, 7, steps=100) for step in (0, 19, 20, 39, 40)]
    [5, 5, 6, 6, 7]
    """

    start: int = Field(ge=1, description="value at the first step")
    add: int = Field(1, ge=1, description="increment")
    every: int | None = Field(None, ge=1, description="steps between increments")
    over: float | None = Field(
        None, gt=0, le=1, description="share of training after which it has grown up", json_schema_extra=ADDED_LATER
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.every is None) == (self.over is None):
            found = "neither" if self.every is None else "both"
            expected = "every, steps between increments such as 2000, and over, a share of training such as 0.4"
            raise ValueError(f"found {found}; expected one of {expected}")
        return self

    def at(self, step: int, full: int, steps: int) -> int:
        """The number at ``step``, counted from 0, of ``steps``; ``full``: what it grows to."""
        return min(full, self.start + self.add * bisect_right(self._increments(full, steps), step))

    def spans(self, full: int, steps: int) -> dict[int, range]:
        """The steps at which it has each value that it takes within ``steps``, in their order."""
        bounds = [0, *(step for step in self._increments(full, steps) if step < steps), steps]
        values = (min(full, self.start + self.add * number) for number in range(len(bounds) - 1))
        spans = zip(values, pairwise(bounds), strict=True)
        return {value: range(first, end) for value, (first, end) in spans if first < end}

    def _increments(self, full: int, steps: int) -> list[int]:
        """The steps from which it is larger than before."""
        number = -(-(full - self.start) // self.add)
        if self.every is not None:
            return [self.every * (count + 1) for count in range(number)]
        assert self.over is not None
        # Rounded first: 0.6 of 1,950 steps are 1,170, not a little more.
        return [math.ceil(round(self.over * steps * (count + 1) / number, 6)) for count in range(number)]


@dataclass(frozen=True)
class Shares:
    """The probabilities by id with which a step draws, and the size of its prompts."""

    function_classes: dict[str, float]
    inputs: dict[str, float]
    dims: int
    points: int

    def offered(self) -> set[tuple[str, str]]:
        """The cells that can be drawn: a function class and an input distribution that both have a share."""
        return {(c, i) for c, p in self.function_classes.items() for i, q in self.inputs.items() if p * q > 0}


@dataclass(frozen=True)
class CurriculumPlan:
    """The curricula over function classes and over input distributions, combined with the growth of the prompts.

    The two choices are independent: the probability of a cell is the product of its shares.
    """

    over_function_classes: Curriculum
    over_inputs: Curriculum
    function_classes: tuple[str, ...]
    inputs: tuple[str, ...]
    steps: int
    dims: int
    points: int
    dims_growth: Growth | None = None
    points_growth: Growth | None = None

    @property
    def adaptive(self) -> bool:
        return self.over_function_classes.adaptive or self.over_inputs.adaptive

    def initial_state(self) -> State:
        """The state of both curricula before the first step."""
        with at_work(self.over_function_classes, "start"):
            over_classes = self.over_function_classes.start(self.function_classes, self.steps)
        with at_work(self.over_inputs, "start"):
            over_inputs = self.over_inputs.start(self.inputs, self.steps)
        return {"function_classes": over_classes, "inputs": over_inputs}

    def shares(self, step: int, state: State) -> Shares:
        """Probabilities and prompt size at ``step``, counted from 0."""
        return Shares(
            function_classes=self._probabilities(
                self.over_function_classes, step, state["function_classes"], self.function_classes
            ),
            inputs=self._probabilities(self.over_inputs, step, state["inputs"], self.inputs),
            dims=self.dims_growth.at(step, self.dims, self.steps) if self.dims_growth else self.dims,
            points=self.points_growth.at(step, self.points, self.steps) if self.points_growth else self.points,
        )

    def _probabilities(self, curriculum: Curriculum, step: int, state: State, items: Sequence[str]) -> dict[str, float]:
        """The probability that a curriculum gives each item. ComponentFailed unless they are valid and sum to 1."""
        with at_work(curriculum, "shares"):
            given = curriculum.shares(step, state, items=items, steps=self.steps)
            shares = [as_number(curriculum, f"shares at step {step}", share) for share in given]
        if len(shares) != len(items) or any(not share >= 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            expected = f"{len(items)} probabilities that sum to 1, for {', '.join(items)}"
            raise broken_contract(curriculum, f"shares at step {step}", found=shares, expected=expected)
        return dict(zip(items, shares, strict=True))

    def update(self, state: State, signals: Mapping[tuple[str, str], float]) -> State:
        """The state after an update; ``signals``: normalized loss by (function class, input distribution)."""
        by_class: dict[str, list[float]] = {}
        by_inputs: dict[str, list[float]] = {}
        for (function_class, inputs), loss in signals.items():
            by_class.setdefault(function_class, []).append(loss)
            by_inputs.setdefault(inputs, []).append(loss)
        with at_work(self.over_function_classes, "update"):
            over_classes = self.over_function_classes.update(state["function_classes"], _means(by_class))
        with at_work(self.over_inputs, "update"):
            over_inputs = self.over_inputs.update(state["inputs"], _means(by_inputs))
        return {"function_classes": over_classes, "inputs": over_inputs}


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {key: sum(losses) / len(losses) for key, losses in values.items()}
