"""Statistics on the terminal: for each cell, what every variant reached, what it cost, and the pairs compared."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from icl_curriculum.cli.error_tables import print_whole
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.results.comparison.summary import reference_of


def show(console: Console, compared: Compared, against: str | None) -> None:
    """Print all statistics. ``against``: the variant that others are compared with, by default the single-task one."""
    found, numbers = compared.found, compared.numbers
    for text in (text for source in compared.sources for text in source.missing):
        console.print(f"note: {text}", soft_wrap=True)
    cells = found.cells
    for cell in cells:
        own = found.trained_on(cell)
        if own.empty:
            continue
        k, level = int(own["n_context"].iloc[0]), f"{found.confidence:.0%}"
        what = str(own["metric"].iloc[0]).replace("_", " ")
        console.print(f"\n{cell_name(cell, cells)}: {what} at {k} examples, {level} intervals over seeds", style="bold")
        print_sheet(console, sheets.errors(own, numbers, cell))
        print_sheet(console, sheets.spent(own, numbers, cell, found.threshold))
        if reference := reference_of(found, cell, against):
            print_sheet(console, sheets.pairs(own, numbers, cell, reference))
    for answer in compared.answers:
        console.print(f"\n{answer.heading}", style="bold")
        for sentence in answer.sentences:
            console.print(sentence.replace("`", ""), soft_wrap=True)
    console.print(f"\nsummary: {compared.path}", soft_wrap=True)


def print_sheet(console: Console, sheet: sheets.Sheet) -> None:
    made = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(sheet.columns):
        made.add_column("" if column == "variant" else column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in sheet.rows:
        made.add_row(*(entry.text for entry in row))
    print_whole(console, made)
