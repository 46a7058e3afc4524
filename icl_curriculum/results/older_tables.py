"""Tables of finished runs of versions up to 0.3.0, which wrote True and False as Python does, and 1 for 1.0.

Finished runs stay what they are. Where their rows are taken into a table that is written now, they are written as
all of its other rows are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence

from icl_curriculum.results.columns import TABLES, csv_text, format_value, with_point

#: What tells them, in the tables that say whether prompts are in distribution.
_OLDER = re.compile(r",(True|False),")


def is_older(rows: str) -> bool:
    """Whether rows of evaluation.csv, or of another table with the column ``in_distribution``, are written so."""
    return _OLDER.search(rows[: rows.find("\n")]) is not None


def rows_as_written_now(name: str, rows: str) -> str:
    """The rows of a table that has all of its columns and says whether prompts are in distribution, older or not."""
    return as_written_now(name, TABLES[name].header, rows) if is_older(rows) else rows


def as_written_now(name: str, columns: Sequence[str], rows: str) -> str:
    """The rows of such a table as they are written now, with the same values; ``columns``: those that it has."""
    now: dict[type, Callable[[str], str]] = {
        bool: lambda cell: format_value(cell == "True") if cell in ("True", "False") else cell,
        float: with_point,
    }
    known = TABLES[name].columns
    ways = [(i, now[known[column].kind]) for i, column in enumerate(columns) if known[column].kind in now]
    found = [*csv.reader(io.StringIO(rows, newline=""))]
    for row in found:
        for i, way in ways:
            row[i] = way(row[i])
    return csv_text(found)
