"""Predictions, written on request: gathered bank by bank, then written whole, as CSV or Parquet.

Dimensions: n = prompts, points = K + 1, labels = the numbers of a label.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.extras import EXTRAS
from icl_curriculum.core.files import allowed, atomic_path
from icl_curriculum.core.options import option
from icl_curriculum.results.columns import TABLES, RunColumns, csv_text, format_value

#: The formats in which they are written, and the endings of the files.
FORMATS = ("parquet", "csv")
_KINDS = {str: "string", int: "int64", float: "float64", bool: "bool_"}
#: The columns before the prompt's number, which are the same for all answers of a learner to a bank.
_SHARED = TABLES["predictions"].header.index("prompt")


def check_format(name: str, source: str = "") -> str:
    """The format of this name. UserError, naming its ``source``, for another, and for one that lacks its package.

    ``source``: by default the option.
    """
    source = source or option("--predictions")
    if name not in FORMATS:
        raise UserError(f"{source}: unknown format {name!r}{did_you_mean(name, FORMATS)}")
    if name == "parquet" and not EXTRAS["parquet"].installed:
        raise UserError(
            f"{source} parquet needs pyarrow, which is not installed; {EXTRAS['parquet'].install}, or take "
            f"csv, which needs nothing more"
        )
    return name


def predictions_file(folder: Path, name: str) -> Path:
    """The file of a format in a folder."""
    return folder / f"predictions.{name}"


def predictions_in(folder: Path) -> Path | None:
    """The file with predictions in a folder, if there is one."""
    return next((path for name in FORMATS if (path := predictions_file(folder, name)).is_file()), None)


@dataclass(frozen=True)
class BankPredictions:
    """What a learner answered to a bank, in the order of `PredictionRow`: the columns before the prompt, then arrays.

    ``predictions``: (n, points, labels); of classes probabilities. ``targets``: the same shape. ``answered``: (n,
    points), which entries are defined and were answered with a number. ``trained_points``: the number of points up to
    which the bank is in distribution.
    """

    run: RunColumns
    step: int
    learner: str
    learner_kind: str
    bank: tuple[str, str, str]
    trained_points: int
    predictions: NDArray[np.float32]
    targets: NDArray[np.float64]
    answered: NDArray[np.bool_]

    def columns(self) -> dict[str, Any]:
        """The columns by name: one value where all rows have the same, else an array."""
        prompt, length = self.answered.nonzero()
        labels = self.targets.shape[-1]
        found = self.predictions[prompt, length].astype(np.float64).ravel()
        wanted = self.targets[prompt, length].ravel()
        with np.errstate(over="ignore", invalid="ignore"):
            errors = (found - wanted) ** 2
        n_context = length.repeat(labels)
        names = ("function_class", "input_distribution", "shift")
        return {
            **self.run._asdict(), "step": self.step, "learner": self.learner, "learner_kind": self.learner_kind,
            **dict(zip(names, self.bank, strict=True)), "in_distribution": n_context < self.trained_points,
            "prompt": prompt.repeat(labels), "n_context": n_context, "output": np.tile(np.arange(labels), len(prompt)),
            "prediction": found, "target": wanted, "squared_error": errors,
        }  # fmt: skip


def write_predictions(
    folder: Path, name: str, predictions: Sequence[BankPredictions], *, before: Callable[[], None] = allowed
) -> Path:
    """Write them atomically in the format of this ``name``, and remove those of another; returns the file.

    ``before``: as in `atomic_path`.
    """
    path = predictions_file(folder, name)
    write = {"csv": _write_csv, "parquet": _write_parquet}[name]
    with atomic_path(path, before=before) as temporary:
        write(temporary, predictions)
    for other in FORMATS:
        if other != name:
            predictions_file(folder, other).unlink(missing_ok=True)
    return path


@dataclass
class AskedPredictions:
    """Predictions that a command gathers and writes in one format. UserError for one that cannot be written."""

    name: str
    found: list[BankPredictions] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_format(self.name)

    def write(self, folder: Path, before: Callable[[], None] = allowed) -> Path:
        """Write what was gathered so far into a folder, see `write_predictions`."""
        return write_predictions(folder, self.name, self.found, before=before)


def _write_csv(path: Path, predictions: Sequence[BankPredictions]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text([TABLES["predictions"].header]))
        for each in predictions:
            file.writelines(_lines(each))


def _lines(predictions: BankPredictions) -> Iterator[str]:
    columns = predictions.columns()
    shared = [columns[name] for name in itertools.islice(columns, _SHARED - 1)]
    prefixes = [f"{csv_text([[*shared, inside]])[:-1]}," for inside in (False, True)]
    names = [*columns][_SHARED:]
    rows = zip(columns["in_distribution"].tolist(), *(columns[name].tolist() for name in names), strict=True)
    for inside, *cells in rows:
        yield f"{prefixes[inside]}{','.join(map(format_value, cells))}\n"


def _write_parquet(path: Path, predictions: Sequence[BankPredictions]) -> None:
    import pyarrow
    import pyarrow.parquet

    known = TABLES["predictions"].columns
    schema = pyarrow.schema([(name, getattr(pyarrow, _KINDS[column.kind])()) for name, column in known.items()])
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for each in predictions:
            frame = pd.DataFrame(each.columns(), columns=[*known])
            writer.write_table(pyarrow.Table.from_pandas(frame, schema, preserve_index=False))


def read_parquet(path: Path) -> pd.DataFrame:
    """The table in a Parquet file. UserError for a damaged one, and where there is no pyarrow."""
    check_format("parquet", str(path))
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {error}; write it anew with {option('--predictions')}") from None
