"""Tables that are wider than many terminals."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table


def print_whole(console: Console, table: Table) -> None:
    """Print a table as wide as it is: a narrower terminal breaks its lines, but nothing is folded or left out."""
    wide = Console(width=1000, highlight=False, markup=False, file=io.StringIO(), color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    console.print("\n".join(line.rstrip() for line in captured.get().splitlines()), soft_wrap=True)
