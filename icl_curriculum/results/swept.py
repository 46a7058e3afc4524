"""Which swept parameter errors are drawn against, and the place of every variant on its axis."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from icl_curriculum.results.tables import distinct


@dataclass(frozen=True)
class SweepAxis:
    """A swept parameter. ``places``: where each of its values stands on the axis, numbers in ascending order.

    ``value_of``: the value of each variant; ``line_of``: what else tells a variant from others with the same value, the
    entry of ``[variants]`` and the values of other swept parameters, in words; empty where there is nothing.
    """

    parameter: str
    is_numeric: bool
    places: dict[str, float]
    value_of: dict[str, str]
    line_of: dict[str, str]

    @property
    def words(self) -> str:
        """Its name in words, see `parameter_in_words`."""
        return parameter_in_words(self.parameter)


def sweep_axis(sweep: pd.DataFrame) -> SweepAxis | None:
    """The axis of the parameter with the most numbers, or else the most values; None where none has two values."""
    if not len(sweep):
        return None
    found = {
        parameter: distinct(sweep.loc[sweep["parameter"] == parameter, "value"])
        for parameter in distinct(sweep["parameter"])
    }
    varied = {parameter: values for parameter, values in found.items() if len(values) > 1}
    if not varied:
        return None
    parameter = max(varied, key=lambda name: (are_numbers(varied[name]), len(varied[name])))
    values, numeric = varied[parameter], are_numbers(varied[parameter])
    places = {value: float(value) if numeric else float(i) for i, value in enumerate(values)}
    others = [name for name in varied if name != parameter]
    of_variants: dict[str, dict[str, str]] = {}
    entries: dict[str, str] = {}
    columns = ["variant", "swept_variant", "parameter", "value"]
    for variant, entry, name, value in sweep[columns].itertuples(index=False, name=None):
        of_variants.setdefault(str(variant), {})[str(name)] = str(value)
        entries[str(variant)] = "" if pd.isna(entry) else str(entry)
    several = len(set(entries.values())) > 1
    lines = {
        variant: ", ".join(
            [entries[variant]] * several
            + [f"{parameter_in_words(name)} = {values[name]}" for name in others if name in values]
        )
        for variant, values in of_variants.items()
    }
    placed = dict(sorted(places.items(), key=lambda item: item[1]))
    return SweepAxis(
        parameter, numeric, placed,
        {variant: values[parameter] for variant, values in of_variants.items() if parameter in values}, lines,
    )  # fmt: skip


def in_order(values: list[str]) -> list[str]:
    """Values that are numbers in ascending order, others as they stand."""
    return sorted(values, key=float) if are_numbers(values) else values


def are_numbers(values: list[str]) -> bool:
    """Whether all values are finite numbers."""
    try:
        return all(math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def parameter_in_words(parameter: str) -> str:
    """The last part of a key in words, as ``learning rate``; ``optimizer`` of ``training.optimizer.name``."""
    return parameter.removesuffix(".name").rpartition(".")[2].replace("_", " ")
