"""The frozen benchmark: which prompts are asked, by hash, the best error on each, and what training may take.

It is read from ``icl-curriculum-v1.json`` beside this file, which ``python -m icl_curriculum.verify.record_benchmark``
has written once. Nothing in it changes as long as the name stays.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The name of the benchmark, with its version.
BENCHMARK = "icl-curriculum-v1"
#: The experiment file that trains a model for it.
PROTOCOL = "benchmark_v1"
#: Where it is written down.
FROZEN = Path(__file__).parent / f"{BENCHMARK}.json"


@dataclass(frozen=True)
class FrozenBank:
    """A bank of the benchmark. ``best``: the normalized error e* at each number of examples, from 0 on.

    ``axis``: which axis of the scorecard it counts for.
    ``known``: whether e* is the error of the best attainable predictions, and not that of the best of some baselines.
    ``record``: the tables that build its function class, inputs and shift, and its fingerprint.
    """

    name: str
    axis: str
    hash: str
    best: Mapping[int, float]
    known: bool
    record: Mapping[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """All that a benchmark asks, and what training may take.

    ``trained``: the banks of the cells that models are trained on, as they are. ``best_while_learning``: e* on the
    small banks that are asked of these cells while training. ``asks``: the keys of a run's resolved config that are
    frozen. ``prompts``: the most that a run may see in training; ``operations``: the most that this may take.
    """

    name: str
    bank_version: int
    dims: int
    points: int
    n_prompts: int
    bank_seed: int
    learning_prompts: int
    prompts: int
    operations: float
    trained: tuple[str, ...]
    seeds: tuple[int, ...]
    asks: Mapping[str, Any]
    best_while_learning: Mapping[str, Mapping[int, float]]
    banks: Mapping[str, FrozenBank]


def benchmark() -> Benchmark:
    """The benchmark that is written down."""
    return _read(FROZEN)


@functools.cache
def _read(path: Path) -> Benchmark:
    content = json.loads(path.read_text(encoding="utf-8"))
    banks = {
        name: FrozenBank(
            name,
            record["axis"],
            record["hash"],
            dict(enumerate(record["best"])),
            record["best_by"] == ["oracle"],
            record,
        )
        for name, record in content["banks"].items()
    }
    numbers = {key: content[key] for key in ("bank_version", "dims", "points", "n_prompts", "bank_seed")}
    return Benchmark(
        name=content["benchmark"],
        **numbers,
        learning_prompts=content["learning_prompts"],
        prompts=content["prompts"],
        operations=content["operations"],
        trained=tuple(content["trained"]),
        seeds=tuple(content["seeds"]),
        asks=content["asks"],
        best_while_learning={name: dict(enumerate(best)) for name, best in content["best_while_learning"].items()},
        banks=banks,
    )
