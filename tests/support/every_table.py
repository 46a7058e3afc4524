"""A made-up table of every kind, as it is written: whole numbers among fractions, all that may be empty, odd names."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.schema import TableColumn

#: More than a reader looks at before it decides what a column holds, of which Polars takes 100.
ROWS = 260
#: From here on, what a column may hold besides.
LATER = 240

Cell = str | int | float | bool | None


def cell(column: TableColumn, row: int) -> Cell:
    """What stands in a row of a column: first what looks like whole numbers, or like plain words."""
    if column.empty and row >= LATER and row % 2:
        return None
    if column.kind is bool:
        return row % 3 == 0
    if column.kind is int:
        return row
    if column.kind is float:
        return [0.1, 1e-7, 2.5e11][row % 3] if row >= LATER else float(row % 7)
    if column.one_of:
        return str(column.one_of[row % len(column.one_of)])
    return ['hermite/3, "raw"', "größer", "none"][row % 3] if row >= LATER else "word"


def write_every_table(folder: Path) -> list[Path]:
    """Write one of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, table in TABLES.items():
        rows = [[cell(column, row) for column in table.columns.values()] for row in range(ROWS)]
        paths.append(folder / f"{name}.csv")
        paths[-1].write_text(csv_text([table.header, *rows]), encoding="utf-8")
    return paths


def expected(path: Path) -> dict[str, tuple[type, list[Cell]]]:
    """The columns of a written table with the kind and the values of each, by its definition and Python alone."""
    rows = [*csv.reader(io.StringIO(path.read_text(encoding="utf-8")))]
    known = TABLES[path.stem].columns
    found: dict[str, tuple[type, list[Cell]]] = {}
    for name, *cells in zip(*rows, strict=True):
        kind = known[name].kind
        found[name] = kind, [None if text == "" else text == "TRUE" if kind is bool else kind(text) for text in cells]
    return found
