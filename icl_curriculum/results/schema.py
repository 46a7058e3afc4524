"""How a table is defined: a row type whose fields say of every column what it holds.

A field of a row is ``step: Annotated[int, TableColumn("updates completed so far", unit="steps")]``. Writers make rows
by field name, readers check what they read against the same definition, and the documentation is printed from it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_type_hints

#: Whole numbers that a table can hold, as far as readers believe them.
GREATEST = float(2**63)


@dataclass(frozen=True)
class TableColumn:
    """What a column holds.

    ``meaning``: in one sentence. ``unit``: of a number, where it has one. ``empty``: when its cell is empty; never, if
    nothing is given. ``one_of``: all that it may hold. ``most``: the greatest number; the least is 0, unless it may
    be ``negative``. ``absent``: where not every file has the column, what all rows of one that lacks it would hold.
    ``key``: whether it is one of the columns that tell the rows of its table apart. ``joins``: the
    table that has a row for each of its values. ``axis``: whether it is a number that curves are drawn over and
    interpolated in, which readers hold as a float. ``kind`` is the type of the field, filled in by `TableDefinition`.
    """

    meaning: str
    unit: str = ""
    empty: str = ""
    one_of: tuple[object, ...] = ()
    most: float | None = None
    negative: bool = False
    absent: str = ""
    key: bool = False
    joins: str = ""
    axis: bool = False
    kind: type = str

    @property
    def greatest(self) -> float:
        """The greatest number that a reader believes."""
        if self.most is None:
            return GREATEST if self.kind is int else math.inf
        # What is computed in fractions may exceed the bound by the last digit that is written.
        return self.most if self.kind is int else self.most * (1 + 1e-6)

    @property
    def dtype(self) -> str | None:
        """The type that pandas is given for the column, since a name may look like a number; None: pandas finds out."""
        if self.kind is str:
            return "category"
        if self.kind is bool:
            return None
        return "int64" if self.kind is int and not self.axis and not self.empty else "float64"

    @property
    def allowed(self) -> str:
        """What its cells hold, in words."""
        if self.one_of and self.kind is str:
            return ", ".join(f"`{value}`" for value in self.one_of)
        return {str: "text", bool: "`TRUE` or `FALSE`", int: "whole number", float: "number"}[self.kind] + self._bounds

    @property
    def _bounds(self) -> str:
        return "" if self.most is None or math.isinf(self.most) else f" from 0 to {self.most:g}"


class TableDefinition:
    """A table: its name, and the row types whose fields, one after the other, are its columns.

    ``about``: what the table is of, the docstring of the last row type.
    """

    def __init__(self, name: str, *rows: type[tuple[Any, ...]]) -> None:
        self.name = name
        self.about = " ".join((rows[-1].__doc__ or "").split())
        self.columns: dict[str, TableColumn] = {}
        for row in rows:
            self.columns |= _columns_of(row)

    @property
    def header(self) -> list[str]:
        """All columns."""
        return list(self.columns)

    @property
    def plain_header(self) -> list[str]:
        """The columns that every file has."""
        return [name for name, column in self.columns.items() if not column.absent]

    @property
    def dtypes(self) -> dict[Hashable, str]:
        """The types that pandas is given, by column; it finds out those of columns that are left out."""
        return {name: column.dtype for name, column in self.columns.items() if column.dtype is not None}

    def positions(self, names: Sequence[str]) -> list[int]:
        """The positions of columns in a row."""
        return [self.header.index(name) for name in names]


def _columns_of(row: type[tuple[Any, ...]]) -> dict[str, TableColumn]:
    """The columns of a row type, with the kind of each."""
    columns = {}
    for name, hint in get_type_hints(row, include_extras=True).items():
        held, column = get_args(hint)
        kinds = [kind for kind in get_args(held) or (held,) if kind is not NoneType]
        columns[name] = dataclasses.replace(column, kind=kinds[0])
    return columns
