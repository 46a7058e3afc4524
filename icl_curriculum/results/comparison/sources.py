"""The tables of an experiment that comparisons rest on, and what is missing of them."""

from __future__ import annotations

import contextlib
import functools
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.adaptation import is_adapted
from icl_curriculum.results.collecting import refresh
from icl_curriculum.results.device_kinds import DeviceKinds, device_of_run, mixed_devices
from icl_curriculum.results.surveying import Survey
from icl_curriculum.results.swept import SweepAxis, sweep_axis
from icl_curriculum.results.tables import distinct, on_own_prompts, read_table

#: The columns that tell a cell.
CELL = ["function_class", "input_distribution"]
#: The columns that tell a run.
RUN = ["experiment", "variant", "seed"]
#: The id of a run's model as training left it; one that was adapted has an id of its own.
MODEL = "model"
#: A function class and inputs.
Cell = tuple[str, str]


def cells_of(table: pd.DataFrame) -> list[Cell]:
    """The cells of a table, in order of appearance."""
    return [(str(c), str(i)) for c, i in table[CELL].drop_duplicates().itertuples(index=False)]


def in_cell(table: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """The rows of one cell."""
    return table[(table["function_class"] == cell[0]) & (table["input_distribution"] == cell[1])]


def unshifted_models(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The errors of models without a shift, as training left them."""
    return evaluation[(evaluation["learner"] == MODEL) & (evaluation["shift"] == "none")]


def is_unknown(learning: pd.DataFrame, curriculum: pd.DataFrame) -> bool:
    """Whether nothing is known of training: these tables of imported runs hold their headers alone."""
    return not len(learning) and not len(curriculum)


@dataclass(frozen=True)
class Source:
    """An experiment's tables over all its runs; ``missing``: what is not there, in sentences for the reader.

    ``evaluation``: without the rows of adapted models, which are in ``adapted``. ``differences``:
    prediction_differences.csv, which runs of earlier versions lack. ``manifests``: of the tables' runs
    whose folders are there, by run, and ``configs``, resolved, by variant; a copy of the tables alone has none.
    ``trained_configs``: the same as they were in training, where a run was evaluated under another one.
    ``label``: what it is called beside others. ``sweep``: the table of swept values, where there are some.
    ``devices``: the kind of device that each run was made on.
    """

    directory: Path
    name: str
    learning: pd.DataFrame
    evaluation: pd.DataFrame
    curriculum: pd.DataFrame
    exposure: pd.DataFrame | None
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    differences: pd.DataFrame | None = None
    adapted: pd.DataFrame | None = None
    trained_configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    label: str = ""
    sweep: pd.DataFrame | None = None
    devices: DeviceKinds = field(default_factory=dict)

    @property
    def swept(self) -> SweepAxis | None:
        """The swept parameter that errors are drawn against, where the variants are those of a sweep."""
        return None if self.sweep is None else sweep_axis(self.sweep)

    @property
    def name_beside(self) -> str:
        """What the experiment is called beside others: its label, by default the name of its folder."""
        return self.label or self.directory.name

    @functools.cached_property
    def variants(self) -> list[str]:
        return distinct(self.evaluation["variant"])

    @property
    def seeds(self) -> list[int]:
        return sorted(int(seed) for seed in self.evaluation["seed"].unique())

    @functools.cached_property
    def cells(self) -> list[Cell]:
        """The experiment's own cells, in the order of its config."""
        return cells_of(self.curriculum if self.knows_training else unshifted_models(self.evaluation))

    @property
    def knows_training(self) -> bool:
        """Whether the tables say what happened in training; those of imported runs hold their headers alone."""
        return not is_unknown(self.learning, self.curriculum)

    @functools.cached_property
    def on_own_prompts(self) -> pd.DataFrame:
        """The rows of learning.csv that are under no shift."""
        return on_own_prompts(self.learning, self.curriculum)

    @property
    def confidence(self) -> float:
        """The level of the intervals over prompts in evaluation.csv; as by default where no config is there."""
        levels = [config.get("evaluation", {}).get("confidence") for config in self.configs.values()]
        return float(next(filter(None, levels), 0.9))


def open_source(directory: Path) -> Source:
    """The tables of an experiment's folder, held against its runs first (`results.collecting.refresh`).

    UserError, naming the file, where a table is missing or damaged or no run is finished.
    """
    runs = refresh(directory)
    if not (directory / "evaluation.csv").is_file() and runs.unfinished:
        states = ", ".join(f"{run} is {status}" for run, status in runs.unfinished.items())
        raise UserError(f"{directory} holds no finished run ({states}); the command that began them goes on with them")
    whole = read_table(directory, "evaluation")
    adapted = is_adapted(whole)
    evaluation = whole[~adapted] if adapted.any() else whole
    models = evaluation[evaluation["learner_kind"] == "model"]
    if models.empty:
        raise UserError(f"{directory}: its tables hold no trained model; expected the results of an experiment")
    learning, curriculum = read_table(directory, "learning"), read_table(directory, "curriculum")
    missing = [f"Left out, since a file of it is damaged: {problem}." for problem in runs.damaged.values()]
    exposure = None
    if (directory / "exposure.csv").is_file():
        exposure = read_table(directory, "exposure")
    else:
        missing.append(
            "There is no exposure.csv: the runs are of an earlier version of icl_curriculum, so what was spent on each "
            "class, and every comparison at equal exposure, is left out."
        )
    differences = None
    if (directory / "prediction_differences.csv").is_file():
        differences = read_table(directory, "prediction_differences")
        known = set(distinct(models["run"]))
        differences = differences[differences["run"].isin(known)]
        if lacking := sorted(known - set(distinct(differences["run"]))):
            missing.append(
                f"prediction_differences.csv lacks {', '.join(lacking)}, of an earlier version of icl_curriculum: whom "
                f"their models answer like is left out."
            )
    if is_unknown(learning, curriculum):
        missing.append(
            "What happened in training is not known, as the runs were imported: learning curves, what was spent on "
            "each class, and everything that follows from these are left out."
        )
    else:
        _check_runs(directory, models, {"learning": learning, "curriculum": curriculum, "exposure": exposure})
    missing += _missing_runs(models, runs)
    for cell in cells_of(curriculum):
        for name, table in (("evaluation", models[models["shift"] == "none"]), ("learning", learning)):
            if in_cell(table, cell).empty:
                missing.append(
                    f"{name}.csv holds no error of {cell[0]} with {cell[1]} inputs, which curriculum.csv has: that "
                    f"class is left out."
                )
    # Finished runs of another config, or of a variant that is gone, stay beside those of the tables.
    in_tables = set(distinct(models["run"]))
    manifests = {path.name: manifest for path, manifest in runs.finished if path.name in in_tables}
    missing += _imported(manifests)
    made_by = [each for manifest in manifests.values() for each in (manifest, manifest.get("evaluated_with"))]
    versions = {str(each.get("package_version")) for each in made_by if isinstance(each, dict)}
    if len(versions) > 1:
        missing.append(f"The runs were made by different versions of icl_curriculum: {', '.join(sorted(versions))}.")
    devices = _devices(directory, manifests, models)
    missing += mixed_devices(devices)
    return Source(
        directory, str(models["experiment"].iloc[0]), learning, evaluation, curriculum, exposure, manifests,
        _configs(directory, manifests), tuple(missing), differences, whole[adapted],
        _configs(directory, manifests, "trained_with"),
        sweep=read_table(directory, "sweep") if (directory / "sweep.csv").is_file() else None, devices=devices,
    )  # fmt: skip


def _devices(directory: Path, manifests: Mapping[str, Mapping[str, Any]], models: pd.DataFrame) -> DeviceKinds:
    """The kind of device of each run in the tables: as its manifest says, or of a copy of the tables, runs.csv."""
    said: dict[tuple[str, int], Any] = {}
    if not manifests and (directory / "runs.csv").is_file():
        # What cannot be read of it is a matter of its own: no number stands there.
        with contextlib.suppress(UserError, LookupError, ValueError):
            runs = read_table(directory, "runs")[["variant", "seed", "device"]]
            said = {(str(v), int(s)): {"device": device} for v, s, device in runs.itertuples(index=False)}
    said |= {(str(manifest["variant"]), int(manifest["seed"])): manifest for manifest in manifests.values()}
    there = (
        (str(variant), int(seed))
        for variant, seed in models[["variant", "seed"]].drop_duplicates().itertuples(index=False)
    )
    kinds = {run: device_of_run(said[run]) for run in there if run in said}
    return {run: kind for run, kind in kinds.items() if kind is not None}


def _check_runs(directory: Path, models: pd.DataFrame, tables: dict[str, pd.DataFrame | None]) -> None:
    """UserError for a table that lacks a run of evaluation.csv: they were not collected together."""
    keys = ["variant", "seed"]
    runs = _pairs(models[keys])
    for name, table in tables.items():
        lacking = runs - _pairs(table[keys]) if table is not None else set()
        if lacking:
            variant, seed = min(lacking)
            raise UserError(
                f"{directory}: evaluation.csv holds the run {variant}-seed{seed}, {name}.csv does not; restore the "
                f"tables, or run the experiment again, which collects them"
            )


def _pairs(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(table.drop_duplicates().itertuples(index=False, name=None))


def _imported(manifests: dict[str, dict[str, Any]]) -> list[str]:
    """Which runs were imported and from what, and what is to be known of the errors of each."""
    found = []
    for run, manifest in manifests.items():
        origin = manifest.get("imported")
        if isinstance(origin, dict):
            what = f"{run} was imported from {origin.get('file')}, SHA-256 {origin.get('sha256')}."
            found.append(" ".join([what, *map(str, origin.get("notes") or [])]))
    return found


def _configs(directory: Path, manifests: dict[str, dict[str, Any]], first: str = "") -> dict[str, dict[str, Any]]:
    """One run's resolved config for each variant; they differ in nothing but the seed.

    ``first``: a folder of the run, whose config is taken where the manifest says that there is one.
    """
    found: dict[str, dict[str, Any]] = {}
    for run, manifest in manifests.items():
        # A damaged config is a matter of its own: what was measured stands in the tables.
        with contextlib.suppress(OSError, ValueError, RecursionError):
            if manifest["variant"] not in found:
                place = directory / run / first if first in manifest else directory / run
                config = tomllib.loads((place / "config.toml").read_text("utf-8"))
                if _is_config(config):
                    found[manifest["variant"]] = config
    return found


def _is_config(config: Mapping[str, Any]) -> bool:
    """Whether what is read of a config is of its kind. Runs of 0.2.0 do not say if it is as it was written."""
    tables = [config.get(name, {}) for name in ("model", "training", "curriculum", "evaluation")]
    if not all(isinstance(table, Mapping) for table in tables):
        return False
    training = tables[1]
    numbers = [config.get("dims", 1), training.get("steps", 1), training.get("batch_size", 1)]
    method = training.get("method", "")
    named = isinstance(method, str) or (isinstance(method, Mapping) and isinstance(method.get("name"), str))
    return named and all(type(number) is int for number in numbers)


def _missing_runs(models: pd.DataFrame, runs: Survey) -> list[str]:
    """Runs that others lead to expect: a seed that other variants have, and runs that were begun."""
    variants, seeds = distinct(models["variant"]), sorted(models["seed"].unique())
    there = _pairs(models[["variant", "seed"]])
    unfinished = runs.unfinished
    lacking = [f"{variant}-seed{seed}" for variant, seed in itertools.product(variants, seeds)]
    lacking = [
        name
        for name, pair in zip(lacking, itertools.product(variants, seeds), strict=True)
        if pair not in there and name not in unfinished and name not in runs.damaged
    ]
    found = []
    if lacking:
        found.append(f"Missing, though other variants have that seed: {', '.join(lacking)}.")
    if unfinished:
        states = ", ".join(f"{run} ({status})" for run, status in unfinished.items())
        found.append(f"Begun but not finished, and so left out: {states}.")
    if len(seeds) == 1:
        found.append(
            "There is one training seed only: nothing can be said on how another would end; intervals need two or more."
        )
    return found
