"""Statistics on the terminal: for each cell, what every variant reached, what it cost, and the pairs compared."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from icl_curriculum.cli.error_tables import print_whole
from icl_curriculum.core.notices import said_if_not_shown, warn_of
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.results.comparison.pairs import reference_of
from icl_curriculum.results.comparison.shown import left_out, shown_variants
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.shown_metric import metric_titles, showing


def show(console: Console, compared: Compared, against: str | None) -> None:
    """Print all statistics. ``against``: the variant that others are compared with, by default the single-task one."""
    with showing(compared.shown):
        _show(console, compared, against)


def _show(console: Console, compared: Compared, against: str | None) -> None:
    cells = compared.found.cells
    for text in (text for source in compared.sources for text in source.missing):
        console.print(f"note: {text}", soft_wrap=True)
    for cell in cells:
        with said_if_not_shown(f"the statistics on {cell_name(cell, cells)}", "shown"):
            _show_cell(console, compared, cell, against)
    for notice in compared.missed:
        warn_of(notice)
    for answer in compared.answers:
        console.print(f"\n{answer.heading}", style="bold")
        for sentence in answer.sentences:
            console.print(sentence.replace("`", ""), soft_wrap=True)
    console.print(f"\nsummary: {compared.path}", soft_wrap=True)


def _show_cell(console: Console, compared: Compared, cell: Cell, against: str | None) -> None:
    """Print the statistics of one cell, if some variant was trained on it."""
    found, numbers, cells = compared.found, compared.numbers, compared.found.cells
    own = found.trained_on(cell)
    if own.empty:
        return
    k, level = int(own["n_context"].iloc[0]), f"{found.confidence:.0%}"
    what = metric_titles().get(str(own["metric"].iloc[0]), str(own["metric"].iloc[0]))
    console.print(f"\n{cell_name(cell, cells)}: {what} at {k} examples, {level} intervals over seeds", style="bold")
    shown = shown_variants(found, cell)
    for text in left_out(len(shown), own["variant"].nunique()):
        console.print(f"{text} The summary has all.", soft_wrap=True)
    own = own[own["variant"].isin(shown)]
    print_sheet(console, sheets.errors(own, numbers, cell))
    print_sheet(console, sheets.spent(own, numbers, cell, found.threshold))
    if reference := reference_of(found, cell, against):
        print_sheet(console, sheets.pairs(own, numbers, cell, reference))


def print_sheet(console: Console, sheet: sheets.Sheet) -> None:
    made = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(sheet.columns):
        made.add_column("" if column == "variant" else column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in sheet.rows:
        made.add_row(*(entry.text for entry in row))
    print_whole(console, made)
