"""Curricula: what to train on at a step.

A curriculum decides probabilities; the trainer draws from them. The same curricula order function
classes and, independently, input distributions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from icl_curriculum.contracts import at_work, broken_contract
from icl_curriculum.registry import CURRICULA, Component, UserError, did_you_mean

State = dict[str, Any]


def block_of(step: int, steps: int, blocks: int) -> int:
    """The block of a step when ``steps`` steps fall into ``blocks`` blocks as equal as integers allow.

    Block b starts at step floor(b steps / blocks); steps count from 0.

    >>> [block_of(step, 7, 3) for step in range(7)]
    [0, 0, 1, 1, 2, 2, 2]
    """
    return ((step + 1) * blocks - 1) // steps


class Curriculum(Component):
    """Probabilities of the items (function classes, or input distributions) at each step.

    A fixed curriculum is a pure function of the step and keeps an empty state.
    """

    def check(self, items: Sequence[str], steps: int) -> None:
        """Raise UserError if the curriculum cannot order these items in this many steps."""

    @abstractmethod
    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        """The probability of each item at ``step`` (0-based) of ``steps``; they sum to 1."""

    def initial_state(self) -> State:
        """The state before the first step; plain values only, since it is checkpointed."""
        return {}

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        """The state after an update whose normalized losses by item are ``signals``."""
        return state

    @property
    def adaptive(self) -> bool:
        """Whether the curriculum reads the losses; only then does the trainer wait for them at every step."""
        return type(self).update is not Curriculum.update


register_curriculum = CURRICULA.of(Curriculum)


class _Blocks(Curriculum):
    """One block per item."""

    def check(self, items: Sequence[str], steps: int) -> None:
        if steps < len(items):
            raise UserError(f"curriculum {self.id!r} needs a step for each of {len(items)} blocks, found {steps} steps")


@register_curriculum("single")
class Single(Curriculum):
    """Train on one item throughout: ``only``, by default the first.

    >>> Single(only="b").shares(0, {}, items=["a", "b"], steps=10)
    [0.0, 1.0]
    """

    id_fields: ClassVar[tuple[str, ...]] = ("only",)

    only: str | None = Field(None, description="id of the item to train on; default: the first")

    @property
    def id(self) -> str:
        return super().id if self.given_id or self.only else self.name

    def check(self, items: Sequence[str], steps: int) -> None:
        if self.only is not None and self.only not in items:
            raise UserError(
                f"curriculum 'single': {self.only!r} is not in the experiment{did_you_mean(self.only, items)}"
            )

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        only = items[0] if self.only is None else self.only
        return [1.0 if item == only else 0.0 for item in items]


@register_curriculum("sequential")
class Sequential(_Blocks):
    """One item after another in equal blocks. Source: Bhasin et al. 2024.

    >>> [Sequential().shares(s, {}, items=["a", "b"], steps=2) for s in range(2)]
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        block = block_of(step, steps, len(items))
        return [1.0 if i == block else 0.0 for i in range(len(items))]


@register_curriculum("mixed")
class Mixed(_Blocks):
    """In block b uniform over items 1..b. Source: Bhasin et al. 2024.

    With three items, 61.1, 27.8 and 11.1% of all prompts are of items 1, 2 and 3.

    >>> [Mixed().shares(s, {}, items=["a", "b"], steps=2) for s in range(2)]
    [[1.0, 0.0], [0.5, 0.5]]
    """

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        open_items = block_of(step, steps, len(items)) + 1
        return [1 / open_items if i < open_items else 0.0 for i in range(len(items))]


@register_curriculum("random")
class Random(Curriculum):
    """Uniform over all items from the first step. Source: Bhasin et al. 2024.

    >>> Random().shares(0, {}, items=["a", "b"], steps=2)
    [0.5, 0.5]
    """

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        return [1 / len(items)] * len(items)


class Growth(BaseModel):
    """``start``, then ``add`` more every ``every`` steps, up to the experiment's own number (Garg et al. 2022).

    >>> [Growth(start=5, add=1, every=10).at(step, 7) for step in (0, 9, 10, 20, 30)]
    [5, 5, 6, 7, 7]
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    start: int = Field(ge=1, description="value at the first step")
    add: int = Field(1, ge=1, description="increment")
    every: int = Field(ge=1, description="steps between increments")

    def at(self, step: int, full: int) -> int:
        return min(full, self.start + step // self.every * self.add)


@dataclass(frozen=True)
class Shares:
    """What a step may draw: probabilities by id, and the size of its prompts."""

    function_classes: dict[str, float]
    inputs: dict[str, float]
    dims: int
    points: int


@dataclass(frozen=True)
class CurriculumPlan:
    """The curricula over function classes and input distributions and the growth of the prompts, as one.

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
        return {
            "function_classes": self.over_function_classes.initial_state(),
            "inputs": self.over_inputs.initial_state(),
        }

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
        """What a curriculum gives each item; ComponentFailed unless these are probabilities that sum to 1."""
        with at_work(curriculum, "shares"):
            shares = [float(share) for share in curriculum.shares(step, state, items=items, steps=self.steps)]
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
