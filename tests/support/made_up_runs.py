"""Result tables of runs whose whole course is written down, for tests of what is said of them.

Unlike `made_up_tables`, every number is chosen: what a run was trained on, when, and how its error went.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from resealed import note_collected

from icl_curriculum.results.columns import COLUMNS, csv_text

#: Examples before the last query in training, and prompts of an update.
K, BATCH = 4, 8
#: Of a prompt, whatever the cell.
FLOPS = 1000
#: A value that the tables leave empty.
MISSING = math.nan
Interval = tuple[float, float, float]


@dataclass(frozen=True)
class Told:
    """What became of one run in one cell: all errors are at ``K`` examples, and shorter prompts have other ones.

    ``errors``: on the learning bank, by step. ``shares``: planned, of the updates since the step before, by step.
    ``error``: at the end, with its interval. ``shifts``: errors under each; ``inputs``: errors on other inputs.
    """

    variant: str
    seed: int = 0
    function_class: str = "linear"
    input_distribution: str = "gaussian"
    errors: Mapping[int, float] = field(default_factory=lambda: {0: 1.0, 50: 0.6, 100: 0.2})
    shares: Mapping[int, float] = field(default_factory=lambda: {50: 1.0, 100: 1.0})
    error: Interval = (0.25, 0.2, 0.3)
    shifts: Mapping[str, float] = field(default_factory=dict)
    inputs: Mapping[str, float] = field(default_factory=dict)
    metric: str = "normalized_error"

    @property
    def run(self) -> list[Any]:
        return ["made_up", f"{self.variant}-seed{self.seed}", self.variant, self.seed]

    @property
    def cell(self) -> list[str]:
        return [self.function_class, self.input_distribution]

    @property
    def spent(self) -> dict[int, int]:
        """Prompts of the cell by step, as many as its shares say."""
        steps = [0, *self.shares]
        drawn = [BATCH * (end - start) * self.shares[end] for start, end in pairwise(steps)]
        return dict(zip(steps, map(round, accumulate(drawn, initial=0.0)), strict=True))

    def learning(self) -> Iterator[list[Any]]:
        for step, error in self.errors.items():
            for k in range(K + 1):
                value = error if k == K else 0.5 * error
                yield [*self.run, step, BATCH * step, *self.cell, k, self.metric, value]

    def exposure(self) -> Iterator[list[Any]]:
        for step, prompts in self.spent.items():
            if step in self.errors:
                yield [*self.run, step, *self.cell, prompts, FLOPS * prompts]

    def curriculum(self) -> Iterator[list[Any]]:
        for step, share in self.shares.items():
            yield [*self.run, step, *self.cell, share, share]

    def evaluation(self) -> Iterator[list[Any]]:
        value, low, high = self.error
        yield from self._bank(self.input_distribution, "none", value, low, high, inside=any(self.shares.values()))
        for shift, error in self.shifts.items():
            yield from self._bank(self.input_distribution, shift, error, error, error)
        for inputs, error in self.inputs.items():
            yield from self._bank(inputs, "none", error, error, error)

    def _bank(
        self, inputs: str, shift: str, value: float, low: float, high: float, *, inside: bool = False
    ) -> Iterator[list[Any]]:
        """The model, and a baseline that is far worse; other metrics and prompts of other lengths are far worse too."""
        longest = 2 * K if shift.startswith("longer") else K
        for learner, kind, worse in (("model", "model", 1.0), ("zero", "baseline", 100.0)):
            head = [*self.run, max(self.errors), learner, kind, self.function_class, inputs, shift, inside]
            for k in range(longest + 1):
                scale = worse * (1.0 if k == K else 50.0)
                yield [*head, k, self.metric, *(scale * each for each in (value, low, high)), 16]
                if self.metric == "normalized_error":
                    yield [*head, k, "squared_error", 1000.0, 1000.0, 1000.0, 16]


def write_runs(directory: Path, told: Sequence[Told], *, exposure: bool = True) -> Path:
    """The experiment's tables over all runs, in the order in which they are told."""
    tables: dict[str, Iterable[list[Any]]] = {
        "learning": (row for each in told for row in each.learning()),
        "exposure": (row for each in told for row in each.exposure()),
        "curriculum": (row for each in told for row in each.curriculum()),
        "evaluation": (row for each in told for row in each.evaluation()),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        if exposure or name != "exposure":
            (directory / f"{name}.csv").write_text(csv_text([COLUMNS[name], *rows]), encoding="utf-8", newline="")
    return directory


def write_manifest(
    directory: Path, variant: str, seed: int = 0, *, status: str = "finished", version: str = "0.2.0"
) -> Path:
    """The folder of one run: its manifest, an empty config, and tables without rows; it counts as collected."""
    folder = directory / f"{variant}-seed{seed}"
    folder.mkdir(parents=True)
    manifest = {
        "status": status, "config_hash": "h", "run": folder.name, "variant": variant, "seed": seed,
        "package_version": version,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "config.toml").touch()
    for name, columns in COLUMNS.items():
        (folder / f"{name}.csv").write_text(csv_text([columns]), encoding="utf-8", newline="")
    note_collected(directory)
    return folder
