"""The parts of a run that units execute by themselves: its training, and the answers to some of its banks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from icl_curriculum.config.experiment import Run
from icl_curriculum.evaluation import Bank
from icl_curriculum.runs.banks import evaluation_banks

_PART_NAME = re.compile(r"(?P<run>.+-seed\d+)\.(training|part-\d+-of-\d+)", re.DOTALL)


@dataclass(frozen=True)
class RunPart:
    """A part of what is done for a run: its training, or the answers to one of several slices of its banks.

    ``number``, ``of``: which slice, from 1, and how many there are; 0: the training.
    """

    run: Run
    number: int = 0
    of: int = 0

    @property
    def name(self) -> str:
        """The name of its unit, which no other one has: ``mixed-seed0.training``, ``mixed-seed0.part-2-of-4``."""
        return f"{self.run.name}.{self.label}"

    @property
    def label(self) -> str:
        """Which part it is."""
        return f"part-{self.number}-of-{self.of}" if self.number else "training"

    def banks(self) -> list[Bank]:
        """The banks that it answers."""
        return dealt(list(evaluation_banks(self.run.experiment)), self.of)[self.number - 1] if self.number else []

    def to_plain(self) -> dict[str, int]:
        """What a unit's file says of it."""
        return {"number": self.number, "of": self.of}


#: What a unit executes: all that is to be done for a run, or a part of it.
Work = Run | RunPart


def run_of(work: Work) -> Run:
    """The run that some work is done for."""
    return work.run if isinstance(work, RunPart) else work


def work_of(run: Run, part: Mapping[str, Any] | None) -> Work:
    """The work that a unit's file says: ``part`` is what `RunPart.to_plain` gave, or None for all of a run."""
    return run if part is None else RunPart(run, part["number"], part["of"])


def run_name_of(unit: str) -> str:
    """The name of the run that a unit is for.

    >>> run_name_of("mixed-seed0.part-2-of-4"), run_name_of("mixed-seed0")
    ('mixed-seed0', 'mixed-seed0')
    """
    found = _PART_NAME.fullmatch(unit)
    return unit if found is None else found["run"]


def slices_of(run: Run, parts: int) -> list[RunPart]:
    """The parts that answer a run's banks: so many, or where there are fewer banks, one for each of these."""
    of = min(parts, len(list(evaluation_banks(run.experiment))))
    return [RunPart(run, number, of) for number in range(1, of + 1)]


def dealt(banks: Sequence[Bank], parts: int) -> list[list[Bank]]:
    """The banks dealt out to so many parts, so that each has about as much to do as any other.

    What answers take follows from the class, which decides the baselines, and from the length of the prompts: each part
    has as many banks of a class as any other, or one fewer, and so of long and short ones. It is always the same deal.
    """
    order = sorted(banks, key=lambda bank: (bank.drawn_task.function_class.id, -bank.length))
    return [list(order[number::parts]) for number in range(parts)]
