"""Whether this process trains runs by itself, or leads others that train each run together with it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Protocol

from icl_curriculum.config.experiment import Run
from icl_curriculum.training import Trainer
from icl_curriculum.training.shards import Crew


class LeadingCrew(Crew, Protocol):
    """The crew of a process that leads it."""

    def training(self, run: Run, trainer: Trainer) -> AbstractContextManager[None]:
        """A block in which all processes train a run on from a trainer's state, to the last step."""
        ...


#: What this process tells others by with which it trains runs together; None where it trains them alone.
LEADER: ContextVar[LeadingCrew | None] = ContextVar("leader", default=None)
