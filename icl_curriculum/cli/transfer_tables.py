"""How training methods carry over, as tables on the terminal."""

from __future__ import annotations

from rich.console import Console

from icl_curriculum.cli.comparison import print_sheet
from icl_curriculum.results.transfer.command import WrittenTransfer
from icl_curriculum.results.transfer.sheets import of_most_steps, reading, transfer_sheets


def show(console: Console, written: WrittenTransfer) -> None:
    """Print the table of each domain and adaptation, how to read them, and where transfer.csv lies."""
    for text in written.missing:
        console.print(f"note: {text}", soft_wrap=True)
    sheets = list(transfer_sheets(of_most_steps(written.table)))
    for made in sheets:
        console.print(f"\n{made.title}", style="bold", soft_wrap=True)
        print_sheet(console, made.sheet)
    console.print()
    for text in reading(written.table):
        console.print(text, soft_wrap=True)
    # What a variant is not compared with is the same in most tables.
    for note in dict.fromkeys(note for made in sheets for note in made.notes):
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"table:   {written.path}", soft_wrap=True)
