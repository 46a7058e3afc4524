"""The parts of a section: jobs, the tables that they make, and CSV files that also say on what machine."""

from __future__ import annotations

import datetime
import functools
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icl_curriculum.core.files import write_atomically
from icl_curriculum.core.machine import Precision, card_of
from icl_curriculum.core.progress import Tell
from icl_curriculum.core.provenance import provenance
from icl_curriculum.results.columns import csv_text

Row = dict[str, Any]

#: Columns of every CSV file, after a section's own. ``threads`` are those of the row.
PROVENANCE = (
    "date", "cpu", "cores", "threads", "device", "python_version", "torch_version", "package_version", "git_commit",
    "git_dirty",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column of a table: ``key`` in the CSV file, ``heading`` on the terminal, empty for what is only written.

    ``shown``: the format on the terminal, e.g. ``.1f`` or ``.0%``; ``factor``: what values are multiplied by first.
    """

    key: str
    heading: str = ""
    shown: str = ""
    factor: float = 1.0

    def cell(self, value: Any) -> str:
        """What the terminal shows; empty for None."""
        if value is None:
            return ""
        return format(value * self.factor if self.factor != 1 else value, self.shown)


@dataclass(frozen=True)
class BenchTable:
    """Rows of a section's columns, and sentences below them. ``recorded``: measured on an earlier day, not now."""

    title: str
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    recorded: bool = False


@dataclass(frozen=True)
class Job:
    """One table to measure. ``seconds``: roughly how long it takes; only ratios between jobs matter."""

    name: str
    seconds: float
    measure: Callable[[Tell], BenchTable]


@dataclass(frozen=True)
class BenchSection:
    """A section. ``jobs(settings)`` lists its jobs and raises UserError for settings that cannot work."""

    title: str
    columns: tuple[Column, ...]
    jobs: Callable[[Settings], Sequence[Job]]


@dataclass(frozen=True)
class ModelSize:
    """A model and the prompts of a training step: ``points`` = K + 1, ``dims`` = d, ``batch`` prompts."""

    name: str
    width: int
    layers: int
    heads: int
    points: int
    dims: int
    batch: int

    def __str__(self) -> str:
        return (
            f"{self.name}: width {self.width}, {self.layers} layers, {self.heads} heads, {self.batch} prompts of "
            f"{self.points} points, d = {self.dims}"
        )


SIZES = (
    ModelSize("laptop", width=64, layers=3, heads=2, points=21, dims=5, batch=64),
    ModelSize("small", width=128, layers=6, heads=4, points=41, dims=20, batch=64),
    ModelSize("paper", width=256, layers=12, heads=8, points=100, dims=20, batch=8),
)


#: The columns that say how large a model and its prompts are.
SIZE_COLUMNS = tuple(Column(name) for name in ("size", "width", "layers", "heads", "points", "dims", "batch"))


@dataclass(frozen=True)
class Settings:
    """What the command line asks for. ``record``: whether the shipped record of `quality` is written anew.

    ``precision``, ``compiled``: of training steps, and whether models whose forward pass is compiled take part.
    """

    threads: tuple[int, ...] = (1,)
    device: str = "cpu"
    rounds: int = 12
    full: bool = False
    overrides: tuple[str, ...] = ()
    results: Path = Path("results")
    sizes: tuple[ModelSize, ...] = SIZES
    record: bool = False
    precision: Precision = "float32"
    compiled: bool = False

    @property
    def folder(self) -> Path:
        return self.results / "bench"


def measured_on(threads: int, device: str) -> Row:
    """The values of the columns `PROVENANCE` for a measurement made now."""
    known = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": threads,
        "device": device_name(device),
        **provenance(),
    }
    return {key: known[key] for key in PROVENANCE}


@functools.cache
def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def device_name(device: str) -> str:
    """The device, and for CUDA also the name of the card: ``cuda (NVIDIA H100)``."""
    card = card_of(device)
    return device if card is None else f"{device} ({card})"


def write(path: Path, columns: Sequence[Column], rows: Iterable[Row]) -> None:
    """Write a CSV file of the columns and `PROVENANCE`, whole or not at all."""
    keys = [*(column.key for column in columns), *PROVENANCE]
    write_atomically(path, csv_text([keys, *([row.get(key) for key in keys] for row in rows)]))
