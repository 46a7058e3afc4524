"""The curricula of a run combined: they decide which cell to draw from, and how large its prompts are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from icl_curriculum.core.component import Strict
from icl_curriculum.core.contracts import as_number, at_work, broken_contract
from icl_curriculum.curricula.base import Curriculum, State


class Growth(Strict):
    """A number that grows: ``start``, then ``add`` more every ``every`` steps, up to the experiment's own number.

    Source: Garg et al. 2022.

    >>> [Growth(start=5, add=1, every=10).at(step, 7) for step in (0, 9, 10, 20, 30)]
    [5, 5, 6, 7, 7]
    """

    start: int = Field(ge=1, description="value at the first step")
    add: int = Field(1, ge=1, description="increment")
    every: int = Field(ge=1, description="steps between increments")

    def at(self, step: int, full: int) -> int:
        return min(full, self.start + step // self.every * self.add)


@dataclass(frozen=True)
class Shares:
    """The probabilities by id with which a step draws, and the size of its prompts."""

    function_classes: dict[str, float]
    inputs: dict[str, float]
    dims: int
    points: int


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
            dims=self.dims_growth.at(step, self.dims) if self.dims_growth else self.dims,
            points=self.points_growth.at(step, self.points) if self.points_growth else self.points,
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
