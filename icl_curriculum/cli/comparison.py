"""Statistics on the terminal: for each cell, what every variant reached, what it cost, and the pairs compared."""

from __future__ import annotations

from rich.table import Table

from icl_curriculum.cli import output, rows
from icl_curriculum.core.notices import said_if_not_shown, warn_of
from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.comparison.answers import cell_name
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.results.comparison.pairs import reference_of
from icl_curriculum.results.comparison.shown import left_out, shown_variants
from icl_curriculum.results.comparison.sources import Cell
from icl_curriculum.results.shown_metric import metric_titles, showing


def show(compared: Compared, against: str | None) -> None:
    """Print all statistics. ``against``: the variant that others are compared with, by default the single-task one."""
    with showing(compared.shown):
        _show(compared, against)


def _show(compared: Compared, against: str | None) -> None:
    cells = compared.found.cells
    for text in compared.missing:
        output.note(text, label="note: ")
    for cell in cells:
        with said_if_not_shown(f"the statistics on {cell_name(cell, cells)}", "shown"):
            _show_cell(compared, cell, against)
    for notice in compared.missed:
        warn_of(notice)
    for answer in compared.answers:
        output.show(f"\n{answer.heading}", style="bold")
        for sentence in answer.sentences:
            output.show(sentence.replace("`", ""))
    output.written("summary", compared.path)
    output.put(
        summary=lambda: rows.as_rows(compared.summary, "summary"),
        answers=[{"heading": answer.heading, "sentences": answer.sentences} for answer in compared.answers],
    )


def _show_cell(compared: Compared, cell: Cell, against: str | None) -> None:
    """Print the statistics of one cell, if some variant was trained on it."""
    found, numbers, cells = compared.found, compared.numbers, compared.found.cells
    own = found.trained_on(cell)
    if own.empty:
        return
    k, level = int(own["n_context"].iloc[0]), f"{found.confidence:.0%}"
    what = metric_titles().get(str(own["metric"].iloc[0]), str(own["metric"].iloc[0]))
    output.show(f"\n{cell_name(cell, cells)}: {what} at {k} examples, {level} intervals over seeds", style="bold")
    shown = shown_variants(found, cell)
    for text in left_out(len(shown), own["variant"].nunique()):
        output.show(f"{text} The summary has all.")
    own = own[own["variant"].isin(shown)]
    print_sheet(sheets.errors(own, numbers, cell))
    print_sheet(sheets.spent(own, numbers, cell, found.threshold))
    if reference := reference_of(found, cell, against):
        print_sheet(sheets.pairs(own, numbers, cell, reference))


def print_sheet(sheet: sheets.Sheet) -> None:
    """Print a table of statistics, as wide as it is."""
    made = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for i, column in enumerate(sheet.columns):
        made.add_column("" if column == "variant" else column, justify="left" if i == 0 else "right", no_wrap=True)
    for row in sheet.rows:
        made.add_row(*(entry.text for entry in row))
    output.show(made)
