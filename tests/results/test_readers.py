"""Every reader takes every column of every table alike, without a hint: pandas, Polars and DuckDB.

R, which no package of Python's holds, has a target of its own: tests/readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
from every_table import Cell, expected, write_every_table
from places import EXAMPLE

#: The committed example: all tables of the experiment, and those of a run.
COMMITTED = sorted([*EXAMPLE.glob("*.csv"), *EXAMPLE.glob("mixed-seed0/*.csv")])

Columns = dict[str, tuple[type | None, list[Cell]]]


def kind_of(name: str) -> type | None:
    """The kind that a reader's name of a type means; None for a column of nothing."""
    name = name.lower()
    for kind, names in {bool: ("bool",), int: ("int",), float: ("float", "double"), str: ("str", "varchar")}.items():
        if name.startswith(names) or (kind is int and name == "bigint"):
            return kind
    assert name in ("object", "null"), name
    return None


def by_pandas(path: Path) -> Columns:
    table = pd.read_csv(path)
    return {
        str(name): (kind_of(str(table[name].dtype)), [None if pd.isna(value) else value for value in table[name]])
        for name in table
    }


def by_polars(path: Path) -> Columns:
    table = pl.read_csv(path)
    return {name: (kind_of(str(table[name].dtype)), table[name].to_list()) for name in table.columns}


def by_duckdb(path: Path) -> Columns:
    table = duckdb.read_csv(str(path))
    rows = zip(*table.fetchall(), strict=True)
    return {
        name: (kind_of(str(kind)), [*values])
        for name, kind, values in zip(table.columns, table.dtypes, rows, strict=True)
    }


READERS = {"pandas": by_pandas, "polars": by_polars, "duckdb": by_duckdb}


def alike(found: list[Cell], wanted: list[Cell]) -> bool:
    return len(found) == len(wanted) and all(
        one == other
        or (isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-15))
        for one, other in zip(found, wanted, strict=True)
    )


def check(read: Callable[[Path], Columns], path: Path) -> None:
    found = read(path)
    assert list(found) == list(expected(path))
    for name, (kind, values) in expected(path).items():
        if all(value is None for value in values):
            continue  # Nothing can be told from it.
        # Missing cells make floats of pandas' whole numbers and objects of its truth values.
        lossy = {int: (int, float), bool: (bool, None)}.get(kind, ()) if read is by_pandas and None in values else ()
        assert found[name][0] in (kind, *lossy), f"{path.name}: {name}"
        assert alike(found[name][1], values), f"{path.name}: {name}"


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
@pytest.mark.parametrize("reader", READERS)
def test_the_committed_tables(reader: str, path: Path) -> None:
    check(READERS[reader], path)


@pytest.mark.parametrize("reader", READERS)
def test_a_table_of_every_kind(reader: str, tmp_path: Path) -> None:
    for path in write_every_table(tmp_path):
        check(READERS[reader], path)


def test_infinite_numbers_are_numbers(tmp_path: Path) -> None:
    from icl_curriculum.results.columns import csv_text

    path = tmp_path / "summary.csv"
    path.write_text(csv_text([["value"], [1.0], [math.inf], [-math.inf], [2e-5]]))
    wanted: Any = [1.0, math.inf, -math.inf, 2e-5]
    for reader in READERS.values():
        assert reader(path)["value"] == (float, wanted)
