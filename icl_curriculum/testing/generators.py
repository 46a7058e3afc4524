"""The generators that all code shares, which no component may draw from or seed."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def watched_generators() -> Iterator[Callable[[], list[str]]]:
    """Yields a function that names the global generators that have changed since, and restores all of them at the end.

    Each is first moved on a little, so that seeding it with the seed that it had before shows, too.
    """
    with untouched_generators():
        torch.rand(1), np.random.random_sample(), random.random()
        before = _states()
        yield lambda: [library for library, state in _states().items() if state != before[library]]


@contextmanager
def untouched_generators() -> Iterator[None]:
    """Restore the global generators at the end of the block, whatever happens within it."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def _states() -> dict[str, object]:
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": pickle.dumps(np.random.get_state()),
        "Python": random.getstate(),
    }
