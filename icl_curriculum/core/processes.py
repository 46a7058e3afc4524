"""The place of this process among several that torchrun has started together.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A process by its number: ``rank`` among ``processes`` in all, ``local_rank`` among those of its machine."""

    rank: int
    processes: int
    local_rank: int

    @property
    def follows(self) -> bool:
        """Whether it is one that computes what another one tells it to, and writes and prints nothing."""
        return self.rank > 0


def place_by_torchrun() -> Place | None:
    """The place that torchrun has given this process; None where it has started no others."""
    if not {"MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
        return None
    try:
        place = Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))
    except (KeyError, ValueError):
        return None
    return place if 0 <= place.rank < place.processes and place.processes > 1 else None


def hush() -> int:
    """Have whatever this process prints go nowhere; the descriptor of what was standard error, for its last words."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    return kept
