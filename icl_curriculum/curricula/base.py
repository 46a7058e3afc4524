"""The contract of a curriculum, and the blocks that several of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from icl_curriculum.core.component import Component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import CURRICULA

State = dict[str, Any]


def block_of(step: int, steps: int, blocks: int) -> int:
    """The block of a step, if ``steps`` steps are divided into ``blocks`` blocks as equal as integers allow.

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

    def start(self, items: Sequence[str], steps: int) -> State:
        """The state before the first step. Override it if the state depends on the items or on the number of steps."""
        return self.initial_state()

    def update(self, state: State, signals: Mapping[str, float]) -> State:
        """The state after an update whose normalized losses by item are ``signals``."""
        return state

    @property
    def adaptive(self) -> bool:
        """Whether the curriculum reads the losses. Only then does the trainer wait for them at every step."""
        return type(self).update is not Curriculum.update


register_curriculum = CURRICULA.of(Curriculum)


def check_blocks(curriculum: Curriculum, items: Sequence[str], steps: int) -> None:
    """Raise UserError unless there is a step for each item's block."""
    if steps < len(items):
        raise UserError(
            f"curriculum {curriculum.id!r} needs a step for each of {len(items)} blocks, found {steps} steps"
        )
