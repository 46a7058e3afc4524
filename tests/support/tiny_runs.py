"""Runs small enough to train inside a test, and how to compare what they wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from icl_curriculum.config.experiment import Run, variant_name
from icl_curriculum.config.loading import build, merge
from icl_curriculum.runs.execution import Progress

#: What a command of ``icl`` answers: its exit code, and what it printed and complained of.
Icl = Callable[..., tuple[int, str, str]]

#: Two classes, one input distribution, one shift: about a third of a second from start to end.
TINY: dict[str, Any] = {
    "name": "tiny",
    "dims": 2,
    "points": 5,
    "seeds": [0],
    "function_classes": ["linear", "quadratic"],
    "model": {"width": 8, "layers": 1, "heads": 2},
    "training": {
        "steps": 12,
        "batch_size": 8,
        "log_every": 2,
        "learning_every": 4,
        "checkpoint_every": 5,
        "schedule": {"name": "linear", "warmup": 0.0, "decay": 1.0},
    },
    "evaluation": {
        "n_prompts": 16,
        "learning_prompts": 8,
        "shifts": [{"name": "scaled_inputs", "factor": 2.0}],
        "baselines": ["zero", "least_squares"],
    },
}


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{"training.steps": 3}`` as ``{"training": {"steps": 3}}``."""
    values: dict[str, Any] = {}
    for key, value in dotted.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        values = merge(values, value)
    return values


def tiny_values(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`TINY` with changed keys, which may be dotted."""
    return merge(TINY, nested(changes or {}))


def tiny_run(changes: Mapping[str, Any] | None = None, *, seed: int = 0) -> Run:
    experiment = build(tiny_values(changes), source="tiny.toml")
    return Run(experiment, variant_name(experiment), seed)


def write_toml(path: Path, values: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def tables(directory: Path) -> dict[str, bytes]:
    """The bytes of every table of a run or experiment, but for the one that a clock writes."""
    return {path.name: path.read_bytes() for path in directory.glob("*.csv") if path.name != "timing.csv"}


class Killed(Exception):
    """Stands for the end of the process."""


def killed_at(phase: str, done: int) -> Callable[[Progress], None]:
    """A report callback that ends the run there."""

    def report(progress: Progress) -> None:
        if (progress.phase, progress.done) == (phase, done):
            raise Killed

    return report
