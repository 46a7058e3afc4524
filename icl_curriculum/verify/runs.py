"""Finished runs of the published size, read from their files; no model is loaded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from icl_curriculum.config.loading import read_toml
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.collecting import check_tables_alone
from icl_curriculum.results.manifests import check_deciding, read_finished, read_manifest

#: The values in the config of a run of the published size.
DIMS = 20
MODEL = {"name": "transformer", "layers": 12, "width": 256, "heads": 8}


class AskedError(NamedTuple):
    """What a model was asked, and in which metric its error is: values of columns of evaluation.csv."""

    function_class: str
    input_distribution: str
    shift: str
    n_context: int
    metric: str


@dataclass(frozen=True)
class PublishedSize:
    """A finished run: experiment and variant, the only class in its training distribution, and the model's errors."""

    family: str
    seed: int
    steps: int
    trained_on: str
    errors: dict[AskedError, float] = field(compare=False)


@dataclass(frozen=True)
class Damaged:
    """A run directory that cannot be read, and why."""

    path: Path
    reason: str


def runs_of_published_size(results: Path) -> tuple[list[PublishedSize], list[Damaged]]:
    """The runs below ``results``, by experiment, variant and seed, that were trained on one class and Gaussian inputs.

    A run of another size is passed over; a damaged directory is named.
    """
    found, damaged = [], []
    for path in sorted(results.glob("*/*/manifest.json")):
        try:
            found += list(_read(path.parent))
        except (UserError, OSError, ValueError) as error:
            damaged.append(Damaged(path.parent, str(error)))
    return sorted(found, key=lambda run: (run.family, run.seed)), damaged


def _read(run_dir: Path) -> Iterator[PublishedSize]:
    manifest = read_manifest(run_dir)
    if manifest is None or manifest["status"] != "finished":
        return
    check_deciding(run_dir, manifest)
    config = read_toml(run_dir / "config.toml")
    model = config.get("model", {})
    if config.get("dims") != DIMS or any(model.get(key) != value for key, value in MODEL.items()):
        return
    table = _table(run_dir / "evaluation.csv", manifest)
    of_training = table[table["in_distribution"].str.upper() == "TRUE"]
    trained_on = of_training["function_class"].unique()
    if len(trained_on) != 1 or set(of_training["input_distribution"]) != {"gaussian"}:
        return
    family = f"{manifest['experiment']}/{manifest['variant']}"
    errors = _errors(table)
    later = run_dir / "evaluate" / "evaluation.csv"
    if later.is_file():  # What `icl evaluate` has asked the model since.
        check_tables_alone(later.parent)
        errors = {**_errors(_table(later, {})), **errors}
    yield PublishedSize(family, manifest["seed"], int(table["step"].max()), trained_on[0], errors)


def _table(path: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    """Read an evaluation of a run. DamagedFile if it is not what the run wrote."""
    columns, rows = read_finished(path, manifest)
    table = pd.read_csv(io.StringIO(rows), names=columns, dtype="str", keep_default_na=False)
    numbers = {name: pd.to_numeric(table[name]) for name in ("step", "n_context", "value")}
    return table.assign(**numbers)


def _errors(table: pd.DataFrame) -> dict[AskedError, float]:
    table = table[(table["learner"] == "model") & table["value"].notna()]
    keys = zip(*(table[name] for name in AskedError._fields), strict=True)
    return {AskedError(*key): float(value) for key, value in zip(keys, table["value"], strict=True)}
