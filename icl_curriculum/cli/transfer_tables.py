"""How training methods carry over, as tables on the terminal."""

from __future__ import annotations

from icl_curriculum.cli import output, rows
from icl_curriculum.cli.comparison import print_sheet
from icl_curriculum.results.transfer.command import WrittenTransfer
from icl_curriculum.results.transfer.sheets import of_most_steps, reading, transfer_sheets


def show(written: WrittenTransfer) -> None:
    """Print the table of each domain and adaptation, how to read them, and where transfer.csv lies."""
    for text in written.missing:
        output.note(text, label="note: ")
    sheets = list(transfer_sheets(of_most_steps(written.table)))
    for made in sheets:
        output.show(f"\n{made.title}", style="bold")
        print_sheet(made.sheet)
    output.show("")
    for text in reading(written.table):
        output.show(text)
    # What a variant is not compared with is the same in most tables.
    for note in dict.fromkeys(note for made in sheets for note in made.notes):
        output.note(note, label="note: ")
    output.written("table", written.path)
    output.put(transfer=lambda: rows.as_rows(written.table, "transfer"))
