"""Backends that stand for those of live logging, and what is to be logged of a run and what was."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.live_logging import LiveLogger

#: Stands for the package of that name: writes down how it is called.
WANDB = """
import json
import os

run = None


def note(*call):
    with open(os.environ["WANDB_CALLS"], "a") as file:
        print(json.dumps(call), file=file)


class Settings:
    def __init__(self, **values):
        self.values = values


class Run:
    def log(self, values, step):
        if step > int(os.environ.get("WANDB_BREAKS_AFTER", 1000)):
            raise OSError(28, "No space left on device")
        note("log", step, values)

    def finish(self):
        note("finish")


def init(*, settings, **options):
    note("init", {**options, **settings.values, "error_reporting": os.environ["WANDB_ERROR_REPORTING"]})
    return Run()
"""


@dataclass
class Notes:
    """A backend: what its loggers were told, in order."""

    #: "open", "scalars" or "close".
    breaks: str = ""
    events: list[Any] = field(default_factory=list)

    def open(self, run: Run, directory: Path, step: int) -> LiveLogger:
        self.note("open", run.name, directory, step)
        return self

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.note("scalars", step, dict(values))

    def close(self) -> None:
        self.note("close")

    def note(self, method: str, *told: Any) -> None:
        self.events.append((method, *told))
        if method == self.breaks:
            raise ValueError(f"no {method}")

    @property
    def methods(self) -> list[str]:
        return [event[0] for event in self.events]

    @property
    def opened_at(self) -> list[int]:
        return [event[-1] for event in self.events if event[0] == "open"]


@dataclass
class Stub:
    """The module that stands for wandb, and what it was told."""

    file: Path

    def calls(self) -> list[list[Any]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()]


def rows(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text().splitlines()))


def of_tables(directory: Path) -> dict[tuple[int, str], str]:
    """What is to be logged at a step under a tag, as the tables of a run say it."""
    found = {}
    for row in rows(directory / "training.csv"):
        cell, step = f"{row['function_class']}/{row['input_distribution']}", int(row["step"])
        for column in ("loss", "normalized_loss"):
            found[step, f"training/{column}/{cell}"] = row[column]
        for column in ("learning_rate", "prompts_seen"):
            found[step, f"training/{column}"] = row[column]
    for row in rows(directory / "curriculum.csv"):
        cell = f"{row['function_class']}/{row['input_distribution']}"
        found[int(row["step"]), f"curriculum/drawn_share/{cell}"] = row["drawn_share"]
    for row in rows(directory / "learning.csv"):
        cell = f"{row['function_class']}/{row['input_distribution']}"
        if row["n_context"] == "4":
            found[int(row["step"]), f"learning/{row['metric']}/{cell}"] = row["value"]
    return found


def of_events(folder: Path) -> dict[tuple[int, str], float]:
    """What TensorBoard shows of a folder; nothing twice."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    found = [((event.step, tag), event.value) for tag in tags for event in accumulator.Scalars(tag)]
    assert len(dict(found)) == len(found)
    return dict(found)


def in_single_precision(values: Mapping[tuple[int, str], str]) -> Any:
    return pytest.approx({key: float(value) for key, value in values.items()}, rel=1e-6)
