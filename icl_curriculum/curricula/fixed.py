"""Curricula that are pure functions of the step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.curricula.base import Curriculum, State, block_of, check_blocks, register_curriculum


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
class Sequential(Curriculum):
    """One item after another in equal blocks. Source: Bhasin et al. 2024.

    >>> [Sequential().shares(s, {}, items=["a", "b"], steps=2) for s in range(2)]
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def check(self, items: Sequence[str], steps: int) -> None:
        check_blocks(self, items, steps)

    def shares(self, step: int, state: State, *, items: Sequence[str], steps: int) -> list[float]:
        block = block_of(step, steps, len(items))
        return [1.0 if i == block else 0.0 for i in range(len(items))]


@register_curriculum("mixed")
class Mixed(Curriculum):
    """Uniform over items 1..b in block b. Source: Bhasin et al. 2024.

    With three items, 61.1, 27.8 and 11.1% of all prompts are of items 1, 2 and 3.

    >>> [Mixed().shares(s, {}, items=["a", "b"], steps=2) for s in range(2)]
    [[1.0, 0.0], [0.5, 0.5]]
    """

    def check(self, items: Sequence[str], steps: int) -> None:
        check_blocks(self, items, steps)

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
