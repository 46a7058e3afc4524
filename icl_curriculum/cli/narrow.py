"""Tables on terminals that are narrower than they are: no name is broken inside a word, and nothing is left out.

A table that does not fit is folded where its names have several words, and where that is not enough it is printed in
parts below each other, each with the columns that say what its rows are.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from icl_curriculum.cli.screen import UNBOUNDED, Name, Screen

#: The headings of columns that say what a row is.
_SAY_WHAT = (
    "variant", "input", "inputs", "function class", "class", "shift", "learner", "model", "masked", "step", "score",
    "one run of", "kind",
)  # fmt: skip


def print_table(console: Console, table: Table) -> None:
    """Print a table as wide as it is where it fits, else folded between words, else in parts."""
    # As lines of their own, as rich would fold them to the width of a table that is narrower than they are.
    title, caption = table.title, table.caption
    table.title = table.caption = None
    try:
        lines = _fitting(table, console.width)
    finally:
        table.title, table.caption = title, caption
    if title:
        console.print(title, soft_wrap=not console.is_terminal)
    console.print("\n".join(lines), soft_wrap=True)
    if caption:
        console.print(caption, soft_wrap=not console.is_terminal)


def _fitting(table: Table, width: int) -> list[str]:
    """The lines of a table, none of which is longer than the width as far as words allow."""
    natural = _lines(table, UNBOUNDED)
    if max(map(cell_len, natural), default=0) <= width:
        return natural
    folded = _lines(table, width)
    if _words(folded) == _words(natural):
        return folded
    return [line for part in _parts(table, width) for line in _lines(part, width)]


def _lines(table: Table, width: int) -> list[str]:
    screen = Screen(width=width, file=io.StringIO(), color_system=None)
    with screen.capture() as captured:
        screen.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def _words(lines: Sequence[str]) -> list[str]:
    """The words of a table in any order: what stands between spaces and the marks that names are broken at."""
    return sorted(filter(None, re.split(r"[\s/:_=]+", "\n".join(lines))))


def _parts(table: Table, width: int) -> Iterator[Table]:
    """The table in parts that fit, each with the columns that say what its rows are."""
    headers = [str(column.header) for column in table.columns]
    first = next((i for i, header in enumerate(headers) if header not in _SAY_WHAT), len(headers)) or 1
    widths = [max(map(_width, (column.header, *column.cells))) + 2 for column in table.columns]
    # Names may be folded to this.
    left = width - min(sum(widths[:first]), width // 2)
    part: list[int] = []
    for i in range(first, len(headers)):
        if part and sum(widths[j] for j in (*part, i)) > left:
            yield _of_columns(table, range(first), part)
            part = []
        part.append(i)
    yield _of_columns(table, range(first), part)


def _of_columns(table: Table, names: Sequence[int], values: Sequence[int]) -> Table:
    part = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for i in (*names, *values):
        column = table.columns[i]
        part.add_column(column.header, justify=column.justify, no_wrap=i in values and column.justify == "right")
    columns = [list(table.columns[i].cells) for i in (*names, *values)]
    for cells in zip(*columns, strict=True):
        part.add_row(*(Name(cell) if isinstance(cell, str) else cell for cell in cells))
    return part


def _width(cell: object) -> int:
    if isinstance(cell, Name):
        return cell_len(cell.text)
    return cell_len(cell.plain if isinstance(cell, Text) else str(cell))
