"""Result folders of training methods compared, with every error chosen: what transfer.csv is computed from."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
from resealed import note_collected

from icl_curriculum.results.columns import COLUMNS, csv_text

Cell = tuple[str, str]
#: Errors are at 4 d = 8 examples, of the ten that prompts have.
DIMS, K, LONGEST = 2, 8, 10
LENGTHS = (0, K, LONGEST)
LINEAR, QUADRATIC = ("linear", "gaussian"), ("quadratic", "gaussian")
TREE, PARITY = ("decision_tree", "gaussian"), ("parity", "gaussian")
SKEWED, CAUCHY = ("linear", "skewed"), ("linear", "cauchy")
#: Of neither domain: an unseen class under unseen inputs.
BOTH = ("decision_tree", "skewed")


@dataclass(frozen=True)
class Told:
    """One variant: how it was trained, and the errors of each seed at 8 examples, by cell.

    ``operations``: of an update. ``adapted``: likewise by learner, then cell. ``medians``: cells of infinite mean.
    ``few``: learners asked on 4 prompts instead of 16, and not at 8 examples where they are ``short``, too.
    ``changes``: other keys of its config. ``banks``: content hashes that are not those of all others. ``device``: what
    its runs were made on.
    """

    variant: str
    errors: Mapping[Cell, Sequence[float]]
    method: str = "in_context"
    steps: int = 100
    operations: int = 1000
    fixed_prompts: int | None = None
    batch_size: int = 8
    trained: Sequence[Cell] = (LINEAR, QUADRATIC)
    adapted: Mapping[str, Mapping[Cell, Sequence[float]]] = field(default_factory=dict)
    medians: Sequence[Cell] = ()
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    banks: Mapping[str, str] = field(default_factory=dict)
    seeds: Sequence[int] | None = None
    few: Sequence[str] = ()
    short: Sequence[str] = ()
    device: str = "cpu"

    @property
    def runs(self) -> list[tuple[int, int]]:
        """The place and the number of each seed."""
        count = len(next(iter(self.errors.values())))
        return list(enumerate(self.seeds if self.seeds is not None else range(count)))

    def head(self, seed: int) -> list[Any]:
        return ["made_up", f"{self.variant}-seed{seed}", self.variant, seed]

    def evaluation(self) -> Iterator[list[Any]]:
        for place, seed in self.runs:
            for learner, errors in {"model": self.errors, **self.adapted}.items():
                for cell, values in errors.items():
                    inside = cell in self.trained
                    # Shifted outputs are of no domain, whatever the cell.
                    for shift, scale in (("none", 1.0), ("scaled_outputs/2", 30.0)):
                        for k in [k for k in LENGTHS if k != K or learner not in self.short]:
                            value = values[place] * (scale if k == K else 7.0)
                            metrics = {"median_error": value} if cell in self.medians else {
                                "squared_error": 5 * value, "normalized_error": value
                            }  # fmt: skip
                            for metric, found in metrics.items():
                                head = [*self.head(seed), self.steps, learner, "model", *cell, shift]
                                yield [*head, inside and shift == "none", k, metric, found, found, found,
                                       4 if learner in self.few else 16]  # fmt: skip
            for cell in self.errors:
                yield [*self.head(seed), self.steps, "zero", "baseline", *cell, "none", cell in self.trained, K,
                       "squared_error", 5.0, 4.0, 6.0, 16]  # fmt: skip

    def learning(self) -> Iterator[list[Any]]:
        for place, seed in self.runs:
            for step in (0, self.steps // 2, self.steps):
                for cell in self.trained:
                    left = 1 - step / self.steps
                    value = left + (1 - left) * self.errors[cell][place]
                    for k in LENGTHS:
                        metric = "median_error" if cell in self.medians else "normalized_error"
                        yield [*self.head(seed), step, self.batch_size * step, *cell, k, metric, value]

    def exposure(self) -> Iterator[list[Any]]:
        for _, seed in self.runs:
            for step in (0, self.steps // 2, self.steps):
                for cell in self.trained:
                    share = step / len(self.trained)
                    yield [*self.head(seed), step, *cell, int(self.batch_size * share), int(self.operations * share)]

    def curriculum(self) -> Iterator[list[Any]]:
        for _, seed in self.runs:
            for step in (self.steps // 2, self.steps):
                for cell in self.trained:
                    yield [*self.head(seed), step, *cell, 1 / len(self.trained), 1 / len(self.trained)]

    def config(self, seed: int) -> dict[str, Any]:
        made: dict[str, Any] = {
            "variant": self.variant, "seed": seed, "name": "made_up", "dims": DIMS, "points": LONGEST + 1,
            "curriculum": {"draw": "batch", "function_classes": {"name": "mixed"}},
            "model": {"name": "transformer", "width": 16, "layers": 2, "attention": "fused"},
            "training": {
                "steps": self.steps, "batch_size": self.batch_size, "method": {"name": self.method},
                "optimizer": {"learning_rate": 0.003},
            },
            "evaluation": {"confidence": 0.9, "bank_seed": 0, "learning_prompts": 8},
        }  # fmt: skip
        if self.fixed_prompts is not None:
            made["training"]["fixed_prompts"] = self.fixed_prompts
        for table, keys in self.changes.items():
            made[table].update(keys)
        return made

    def manifest(self, seed: int) -> dict[str, Any]:
        names = ["/".join([*cell, "none"]) for cell in self.errors]
        return {
            "status": "finished", "config_hash": "h", "run": f"{self.variant}-seed{seed}", "variant": self.variant,
            "seed": seed, "package_version": "0.3.0", "device": self.device,
            "banks": {name: name for name in names} | dict(self.banks),
        }  # fmt: skip


def write_folder(
    directory: Path, told: Sequence[Told], *, shuffled: int | None = None, exposure: bool = True, configs: bool = True
) -> Path:
    """The experiment's tables and its runs' configs. ``shuffled``: a seed by which rows are put in another order."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("learning", "evaluation", "curriculum", *["exposure"] * exposure):
        rows = [row for each in told for row in getattr(each, name)()]
        if shuffled is not None:
            random.Random(shuffled).shuffle(rows)
        (directory / f"{name}.csv").write_text(csv_text([COLUMNS[name], *rows]), encoding="utf-8", newline="")
    for each in told:
        for _, seed in each.runs:
            run = directory / f"{each.variant}-seed{seed}"
            run.mkdir(exist_ok=True)
            (run / "manifest.json").write_text(json.dumps(each.manifest(seed)), encoding="utf-8")
            config = tomli_w.dumps(each.config(seed)) if configs else ""
            (run / "config.toml").write_text(config, encoding="utf-8")
            for name, columns in COLUMNS.items():
                (run / f"{name}.csv").write_text(csv_text([columns]), encoding="utf-8", newline="")
    note_collected(directory)
    return directory


def errors(seen: Sequence[float], classes: Sequence[float], inputs: Sequence[float]) -> dict[Cell, list[float]]:
    """Errors by cell, where those of a domain differ from cell to cell by a tenth."""
    return {
        LINEAR: list(seen), QUADRATIC: [1.2 * value for value in seen],
        TREE: list(classes), PARITY: [1.1 * value for value in classes],
        SKEWED: list(inputs), BOTH: [9.0 for _ in seen],
    }  # fmt: skip


def ladder(fixed_prompts: int | None = None, name: str = "plain") -> list[Told]:
    """Plain runs of three lengths and three seeds, better with each on what they were trained on, worse on the rest."""
    return [
        Told(f"{name}_{steps}", errors(seen, classes, inputs), steps=steps, fixed_prompts=fixed_prompts)
        for steps, seen, classes, inputs in (
            (50, (0.4, 0.5, 0.45), (0.8, 0.9, 0.85), (0.7, 0.75, 0.8)),
            (100, (0.2, 0.3, 0.24), (0.85, 0.95, 0.9), (0.6, 0.65, 0.7)),
            (200, (0.1, 0.15, 0.12), (1.0, 1.1, 1.05), (0.5, 0.5, 0.6)),
        )
    ]
