"""Finished runs that were trained as those of a paper, of its size or another, read from their files.

No model is loaded.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from icl_curriculum.config.loading import read_toml
from icl_curriculum.core.errors import UserError
from icl_curriculum.results import printed
from icl_curriculum.results.collecting import check_tables_alone
from icl_curriculum.results.manifests import check_deciding, read_finished, read_manifest
from icl_curriculum.results.printed import AskedError
from icl_curriculum.results.run_setting import RunSetting

#: The columns that are read as numbers.
_NUMBERS = ("step", "n_context", "value", "ci_low", "ci_high", "prompts", "flops", "seconds")


class MeasuredError(NamedTuple):
    """A model's error and the ends of its interval over prompts, which are NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RunBesidePrinted:
    """A finished run: experiment and variant, the only class in its training distribution, and the model's errors.

    ``size``: of its model, in words. ``prompts``, ``operations``, ``seconds``: what it was trained on, what that took
    in floating-point operations, and how long; None where the run does not say.
    """

    family: str
    seed: int
    steps: int
    trained_on: str
    size: str
    has_published_size: bool
    prompts: int | None
    operations: int | None
    seconds: float | None
    errors: dict[AskedError, MeasuredError] = field(compare=False)


@dataclass(frozen=True)
class Damaged:
    """A run directory that cannot be read, and why."""

    path: Path
    reason: str


def runs_trained_as_printed(results: Path) -> tuple[list[RunBesidePrinted], list[Damaged]]:
    """The runs below ``results``, by experiment, variant and seed, that were trained on one class and Gaussian inputs.

    A run in other dimensions than those of the printed numbers is passed over; a damaged directory is named.
    """
    found, damaged = [], []
    for path in sorted(results.glob("*/*/manifest.json")):
        try:
            found += list(_read(path.parent))
        except (UserError, OSError, ValueError) as error:
            damaged.append(Damaged(path.parent, str(error)))
    return sorted(found, key=lambda run: (run.family, run.seed)), damaged


def _read(run_dir: Path) -> Iterator[RunBesidePrinted]:
    manifest = read_manifest(run_dir)
    if manifest is None or manifest["status"] != "finished":
        return
    check_deciding(run_dir, manifest)
    setting = RunSetting.of(read_toml(run_dir / "config.toml"))
    if setting is None or setting.dims != printed.DIMS:
        return
    table = _table(run_dir / "evaluation.csv", manifest)
    of_training = table[table["in_distribution"].str.upper() == "TRUE"]
    trained_on = of_training["function_class"].unique()
    if len(trained_on) != 1 or set(of_training["input_distribution"]) != {"gaussian"}:
        return
    errors = _errors(table)
    later = run_dir / "evaluate" / "evaluation.csv"
    if later.is_file():  # What `icl evaluate` has asked the model since.
        check_tables_alone(later.parent)
        errors = {**_errors(_table(later, {})), **errors}
    exposure, timing = (_table_of_training(run_dir / f"{name}.csv", manifest) for name in ("exposure", "timing"))
    prompts = operations = seconds = None
    if exposure is not None:
        last = exposure[exposure["step"] == exposure["step"].max()]
        prompts, operations = int(last["prompts"].sum()), int(last["flops"].sum())
    if timing is not None:
        seconds = float(timing.loc[timing["phase"] == "training", "seconds"].sum())
    yield RunBesidePrinted(
        family=f"{manifest['experiment']}/{manifest['variant']}", seed=manifest["seed"], steps=int(table["step"].max()),
        trained_on=trained_on[0], size=setting.size, has_published_size=setting.has_model(printed.MODEL),
        prompts=prompts, operations=operations, seconds=seconds, errors=errors,
    )  # fmt: skip


def _table(path: Path, manifest: dict[str, Any]) -> pd.DataFrame:
    """Read a table of a run. DamagedFile if it is not what the run wrote."""
    columns, rows = read_finished(path, manifest)
    table = pd.read_csv(io.StringIO(rows), names=columns, dtype="str", keep_default_na=False)
    return table.assign(**{name: pd.to_numeric(table[name]) for name in _NUMBERS if name in columns})


def _table_of_training(path: Path, manifest: dict[str, Any]) -> pd.DataFrame | None:
    """A table of what training spent; None where the run, of an earlier version or imported, says nothing of it."""
    if not path.is_file() and path.stem not in (manifest.get("tables") or {}):
        return None
    table = _table(path, manifest)
    return table if len(table) else None


def _errors(table: pd.DataFrame) -> dict[AskedError, MeasuredError]:
    """The model's errors; where weights of several steps were asked, those at the last."""
    table = table[(table["learner"] == "model") & table["value"].notna()]
    table = table[table["step"] == table["step"].max()]
    keys = zip(*(table[name] for name in AskedError._fields), strict=True)
    values = zip(*(table[name].astype(float) for name in ("value", "ci_low", "ci_high")), strict=True)
    return {AskedError(*key): MeasuredError(*value) for key, value in zip(keys, values, strict=True)}
