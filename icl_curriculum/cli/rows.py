"""The rows of result tables that stand behind what the terminal shows, as --json prints them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.results.adaptation import without_adapted
from icl_curriculum.results.closest import final_differences
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.masking import masking_rows
from icl_curriculum.results.shown_metric import ShownMetric, of_shown, showing
from icl_curriculum.results.tables import read_as_written, read_table

#: A function class, an input distribution and a shift.
Cell = tuple[str, str, str]


def as_rows(frame: pd.DataFrame, table: str) -> list[dict[str, Any]]:
    """Rows of a result table as objects; whole numbers are such, and None stands for what is missing.

    ``table``: its name, which says what its columns hold.
    """
    columns = TABLES[table].columns
    whole = {name for name in frame.columns if name in columns and columns[name].kind is int}
    return [
        {str(key): _value(value, whole=key in whole) for key, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]


def _value(value: Any, *, whole: bool) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return int(value) if whole else value


def without_shift(directory: Path) -> list[dict[str, Any]]:
    """What `icl run` shows: the errors without a shift, of the inputs that were trained on, at every prompt length.

    As in the file, learners without training stand once.
    """
    frame = without_adapted(read_as_written(directory, "evaluation"))
    inputs = read_table(directory, "curriculum")["input_distribution"].unique()
    frame = frame[frame["shift"] == "none"]
    shown = frame[frame["input_distribution"].isin(inputs)] if len(inputs) else frame
    return as_rows(of_shown(shown), "evaluation")


def of_models(
    directory: Path, cells: Collection[Cell], steps: Collection[int], models: Collection[str],
    metrics: Iterable[ShownMetric],
) -> list[dict[str, Any]]:  # fmt: skip
    """What `icl evaluate` shows: the model's errors in the cells that were asked for, at every prompt length."""
    frame = read_table(directory, "evaluation")
    return _of_metrics(_in_cells(frame[frame["learner"].isin(models) & frame["step"].isin(steps)], cells), metrics)


def of_learners(
    directory: Path, cells: Collection[Cell], learners: Collection[str], metrics: Iterable[ShownMetric]
) -> list[dict[str, Any]]:
    """What `icl score` shows: the errors of the learners and the oracle in the cells, at every prompt length."""
    frame = read_table(directory, "evaluation")
    asked = frame["learner"].isin(learners) | (frame["learner_kind"] == "oracle")
    return _of_metrics(_in_cells(frame[asked], cells), metrics)


def _in_cells(frame: pd.DataFrame, cells: Collection[Cell]) -> pd.DataFrame:
    there = zip(frame["function_class"], frame["input_distribution"], frame["shift"], strict=True)
    return frame[[cell in cells for cell in there]]


def _of_metrics(frame: pd.DataFrame, metrics: Iterable[ShownMetric]) -> list[dict[str, Any]]:
    rows = []
    for metric in metrics:
        with showing(metric):
            rows += as_rows(of_shown(frame), "evaluation")
    return rows


def closest_rows(directory: Path, cells: Collection[Cell], models: Collection[str]) -> list[dict[str, Any]]:
    """How much the answers of models differ from those of each other learner, in the cells, at every prompt length."""
    if not (directory / "prediction_differences.csv").is_file():
        return []
    frame = final_differences(read_table(directory, "prediction_differences"))
    return as_rows(_in_cells(frame[frame["learner"].isin(models)], cells), "prediction_differences")


def of_heads(directory: Path) -> dict[str, list[dict[str, Any]]]:
    """What `icl heads` shows: the scores of all heads at the last step, and the errors with heads masked."""
    heads = read_table(directory, "heads")
    last = heads.groupby("run", observed=True)["step"].transform("max")
    masking: Sequence[Any] = list(masking_rows(read_table(directory, "evaluation")))
    return {
        "heads": as_rows(heads[heads["step"] == last], "heads"),
        "masking": as_rows(pd.DataFrame(masking, columns=TABLES["masking"].header), "masking"),
    }
