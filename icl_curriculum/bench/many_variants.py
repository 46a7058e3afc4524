"""Results of many variants and seeds that nobody trained, in the folder that `icl run` leaves: how tables grow.

The first two variants train on one class alone, every fourth on one class after the other, the others on both. With
prompts of 20 examples, the evaluation.csv of a run has about 800 kB.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import build
from icl_curriculum.evaluation import BANK_VERSION
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import TABLES, csv_text, format_value
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.runs.description import described

#: The longest prompts of training by default, updates, and prompts of an update.
K, STEPS, BATCH = 20, 1400, 64
LOG_EVERY, LEARNING_EVERY = 20, 100
CLASSES = ("linear", "quadratic")
#: Inputs and shift of every bank, the one of training first, and how much worse a model is on it.
BANKS = {
    ("gaussian", "none"): 1.0,
    ("skewed", "none"): 2.0,
    ("gaussian", "scaled_inputs/0.5"): 1.3,
    ("gaussian", "scaled_inputs/2"): 4.0,
    ("gaussian", "random_quadrants"): 1.6,
    ("gaussian", "label_noise/0.5"): 3.0,
    ("gaussian", "longer_prompts/2"): 1.1,
}
OTHERS = {"zero": 0.0, "averaging": 0.05, "knn": 0.03, "least_squares": 0.2, "oracle": 0.3}
#: The squared error of predicting zero.
SCALE = 5.0


def experiment_values(name: str, variants: int, seeds: int) -> dict[str, Any]:
    """The experiment file that such results are of, as a table."""
    return {
        "name": name,
        "description": "How do tables grow?",
        "seeds": list(range(seeds)),
        "function_classes": list(CLASSES),
        "model": {"width": 16, "layers": 1, "heads": 2},
        "training": {"steps": STEPS, "batch_size": BATCH, "log_every": LOG_EVERY, "learning_every": LEARNING_EVERY},
        "variants": {variant: _changes(number) for number, variant in enumerate(_names(variants))},
    }


def _names(variants: int) -> list[str]:
    kinds = ("sequential", "mixed", "mixed", "random")
    return [f"single_{CLASSES[i]}" if i < len(CLASSES) else f"{kinds[i % 4]}_{i:03}" for i in range(variants)]


def _changes(number: int) -> dict[str, Any]:
    """What tells a variant from the others."""
    rate = {"training": {"optimizer": {"name": "adam", "learning_rate": round(1e-3 * 1.01**number, 9)}}}
    if number < len(CLASSES):
        return {**rate, "curriculum": {"function_classes": {"name": "single", "only": CLASSES[number]}}}
    return {**rate, "curriculum": {"function_classes": ("sequential", "mixed", "mixed", "random")[number % 4]}}


def write_many(folder: Path, *, variants: int, seeds: int, longest: int = K) -> Path:
    """The experiment's folder with all its runs and tables, without weights, figures, summary and report.

    ``longest``: the examples of the longest prompts; fewer make tables that are quickly read.
    """
    values = experiment_values(folder.name, variants, seeds)
    base = build(values, source="many variants")
    made = _Tables(longest)
    hashes = {}
    for variant, changes in values["variants"].items():
        experiment = build({**values, **changes, "training": values["training"] | changes["training"]}, source=variant)
        runs = [Run(experiment, variant, seed) for seed in base.seeds]
        # Of no seed: taken once, as everything that is computed of a config.
        hashes[variant] = runs[0].hash()
        for run in runs:
            _write_run(folder, run, hashes[variant], made)
    collect(folder, hashes)
    return folder


def _write_run(folder: Path, run: Run, config_hash: str, made: _Tables) -> None:
    directory = RunDirectory(folder / run.name, experiment=folder.name, variant=run.variant, seed=run.seed)
    directory.path.mkdir(parents=True)
    directory.write_config(run.config())
    for name, rows in made.of_run(run.variant, run.seed).items():
        prefix = csv_text([directory.run]).rstrip("\n")
        text = csv_text([_header(name)]) + "".join(f"{prefix},{row}\n" for row in rows)
        directory.write(f"{name}.csv", text)
    about = described(run, "finished", device="cpu", started="2026-01-01T00:00:00+00:00", seconds=60.0)
    banks = {f"{name}/{inputs}/{shift}": _text_hash(name, inputs, shift) for name in CLASSES for inputs, shift in BANKS}
    directory.write_manifest({
        **about, "config_hash": config_hash, "bank_version": BANK_VERSION, "banks": banks, "baseline_failures": {},
        "warnings": {}, "tables": directory.table_hashes(), "weights": directory.write("model.safetensors", b""),
        **directory.deciding_hashes(),
    })  # fmt: skip


def _header(name: str) -> list[str]:
    return TABLES[name].header if name == "prediction_differences" else TABLES[name].plain_header


def _text_hash(*parts: str) -> str:
    return f"{zlib.crc32('/'.join(parts).encode()):016x}"


class _Tables:
    """The rows of every run's tables as texts without the columns of the run; what all runs share is made once."""

    def __init__(self, longest: int) -> None:
        self.longest = longest
        self.banks = [(name, *bank) for name, bank in itertools.product(CLASSES, BANKS)]
        self.others = {
            (bank, learner): list(self._errors(bank, learner, self._curve(bank, rate), inside=bank[1:] == FIRST))
            for bank in self.banks
            for learner, rate in OTHERS.items()
        }

    def of_run(self, variant: str, seed: int) -> dict[str, list[str]]:
        generator = np.random.default_rng([zlib.crc32(variant.encode()), seed])
        alone = variant.removeprefix("single_") if variant.startswith("single_") else ""
        trained = [alone] if alone else list(CLASSES)
        shares = _shares(trained, in_turn=variant.startswith("sequential"))
        # A variant has a quality of its own, and a seed adds a little to it.
        quality = float(np.exp(np.random.default_rng(zlib.crc32(variant.encode())).normal(0, 0.4)))
        errors = {
            name: quality * float(np.exp(generator.normal(0, 0.1))) * (1.0 if name in trained else 20.0)
            for name in CLASSES
        }
        return {
            "training": list(_training(shares, errors, generator)),
            "learning": list(self._learning(shares, errors, generator)),
            "evaluation": list(self._evaluation(trained, errors)),
            "prediction_differences": list(self._differences(trained, errors, generator)),
            "exposure": list(_exposure(shares)),
            "curriculum": list(_curriculum(shares)),
            "timing": [f"{step},training,0.5,2560.0" for step in range(LOG_EVERY, STEPS + 1, LOG_EVERY)],
        }

    def _curve(self, bank: tuple[str, str, str], rate: float) -> np.ndarray:
        """The normalized error at every length."""
        lengths = np.arange((2 * self.longest if bank[2].startswith("longer") else self.longest) + 1)
        errors: np.ndarray = np.exp(-rate * lengths) if rate < 0.25 else np.maximum(0.0, 1 - lengths * rate / 1.5)
        return errors

    def _model(self, bank: tuple[str, str, str], error: float) -> np.ndarray:
        return error * BANKS[bank[1:]] * (0.02 + self._curve(bank, 0.15))

    def _evaluation(self, trained: list[str], errors: dict[str, float]) -> Iterator[str]:
        for bank in self.banks:
            inside = bank[0] in trained and bank[1:] == FIRST
            yield from self._errors(bank, "model", self._model(bank, errors[bank[0]]), inside=inside)
            for learner in OTHERS:
                yield from self.others[bank, learner]

    def _errors(self, bank: tuple[str, str, str], learner: str, curve: np.ndarray, *, inside: bool) -> Iterator[str]:
        kind = learner if learner in ("model", "oracle") else "baseline"
        head = f"{STEPS},{learner},{kind},{','.join(bank)}"
        for k, error in enumerate(curve.tolist()):
            at = f"{head},{inside and k <= self.longest},{k}"
            for metric, scale in (("squared_error", SCALE), ("normalized_error", 1.0), ("error_over_reference", 1.0)):
                value = scale * error
                yield f"{at},{metric},{_numbers(value, 0.9 * value, 1.12 * value)},640"

    def _differences(
        self, trained: list[str], errors: dict[str, float], generator: np.random.Generator
    ) -> Iterator[str]:
        for bank in self.banks:
            model = self._model(bank, errors[bank[0]])
            inside = bank[0] in trained and bank[1:] == FIRST
            for learner, rate in OTHERS.items():
                apart = np.abs(model - self._curve(bank, rate)) * np.exp(generator.normal(0, 0.05)) + 1e-3
                head = f"{STEPS},model,model,{learner},{'oracle' if learner == 'oracle' else 'baseline'},"
                for k, value in enumerate(apart.tolist()):
                    at = f"{head},{','.join(bank)},{inside and k <= self.longest},{k}"
                    yield f"{at},normalized_difference,{_numbers(value, 0.9 * value, 1.1 * value)},640"

    def _learning(
        self, shares: dict[str, np.ndarray], errors: dict[str, float], generator: np.random.Generator
    ) -> Iterator[str]:
        for step in range(0, STEPS + 1, LEARNING_EVERY):
            for name in CLASSES:
                done = float(shares[name][: step // LOG_EVERY].sum()) / len(shares[name])
                end = errors[name] * (0.02 + self._curve((name, *FIRST), 0.15))
                curve = end + np.exp(-8 * done) * (1.05 - np.minimum(end, 1.0)) * np.exp(generator.normal(0, 0.02))
                for k, value in enumerate(curve.tolist()):
                    yield f"{step},{step * BATCH},{name},gaussian,{k},normalized_error,{format_value(value)}"


#: The inputs and the shift of training.
FIRST = next(iter(BANKS))


def _shares(trained: Iterable[str], *, in_turn: bool) -> dict[str, np.ndarray]:
    """The share of each class between the rows of training.csv."""
    rows = STEPS // LOG_EVERY
    whole = dict.fromkeys(CLASSES, np.zeros(rows))
    if in_turn:
        early = (np.arange(rows) < rows // 2).astype(float)
        return {CLASSES[0]: early, CLASSES[1]: 1 - early}
    return whole | {name: np.full(rows, 1 / len([*trained])) for name in trained}


def _training(shares: dict[str, np.ndarray], errors: dict[str, float], generator: np.random.Generator) -> Iterator[str]:
    seen = dict.fromkeys(CLASSES, 0)
    for row in range(STEPS // LOG_EVERY):
        step = (row + 1) * LOG_EVERY
        for name in CLASSES:
            if (count := round(shares[name][row] * LOG_EVERY * BATCH)) > 0:
                seen[name] += count
                loss = errors[name] + np.exp(-row / 10) * float(np.exp(generator.normal(0, 0.05)))
                yield f"{step},{name},gaussian,{count},{_numbers(SCALE * loss, loss, 1e-3)},{step * BATCH},{seen[name]}"


def _exposure(shares: dict[str, np.ndarray]) -> Iterator[str]:
    for step in range(0, STEPS + 1, LEARNING_EVERY):
        for name in CLASSES:
            prompts = round(float(shares[name][: step // LOG_EVERY].sum()) * LOG_EVERY * BATCH)
            yield f"{step},{name},gaussian,{prompts},{prompts * 120_000}"


def _curriculum(shares: dict[str, np.ndarray]) -> Iterator[str]:
    for row in range(STEPS // LOG_EVERY):
        for name in CLASSES:
            share = format_value(float(shares[name][row]))
            yield f"{(row + 1) * LOG_EVERY},{name},gaussian,{share},{share}"


def _numbers(*values: float) -> str:
    return ",".join(map(format_value, values))
