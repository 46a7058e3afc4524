"""Tables that are wider than the terminal are printed whole."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table

from icl_curriculum.cli.error_tables import print_whole


def test_nothing_is_folded_or_left_out() -> None:
    table = Table(box=None)
    names = [f"a column with a long name {i}" for i in range(9)]
    for name in names:
        table.add_column(name)
    table.add_row(*(f"[value] {i}" for i in range(9)))
    narrow = Console(width=40, file=io.StringIO(), highlight=False, markup=False)
    print_whole(narrow, table)
    header, row = narrow.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [name in header for name in names] == [True] * 9
    assert [f"[value] {i}" in row for i in range(9)] == [True] * 9
