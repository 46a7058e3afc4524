"""How training methods carry over: the report's section on transfer.csv."""

from __future__ import annotations

from functools import partial

from icl_curriculum import figures
from icl_curriculum.pages.sections import PageSection, PageTable, drawn
from icl_curriculum.results.comparison.sources import Source
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import read_table
from icl_curriculum.results.transfer.sheets import of_most_steps, reading, transfer_sheets

#: Tables of more rows in all are folded.
MOST_ROWS = 24


def transfer_sections(source: Source) -> list[PageSection]:
    """The section, or none where the experiment has no transfer.csv, or another metric is shown than that has."""
    if shown_metric().chosen is not None or not (source.directory / "transfer.csv").is_file():
        return []
    table = read_table(source.directory, "transfer")
    sheets = list(transfer_sheets(of_most_steps(table)))
    notes = dict.fromkeys(f"{note}." for made in sheets for note in made.notes)
    pictures = drawn(
        partial(figures.transfer, table),
        "Interquartile mean over cells and seeds with its interval; left of the line, better than "
        f"{shown_metric().nothing}.",
        "Errors of every variant on seen cells, unseen classes and unseen inputs; the tables have the numbers.",
        wide=True,
        narrow=partial(figures.transfer, table, narrow=True),
    )
    if source.exposure is not None:
        trained = source.learning, source.exposure, source.curriculum
        pictures += drawn(
            partial(figures.error_by_operations, *trained),
            "Error while training against the operations that training took so far; means over cells and seeds.",
            "Learning curves of every variant at equal operations; learning.csv and exposure.csv have the numbers.",
            wide=True,
            narrow=partial(figures.error_by_operations, *trained, narrow=True),
        )
    tables = [PageTable(made.title, made.sheet) for made in sheets]
    many = sum(len(made.sheet.rows) for made in sheets) > MOST_ROWS
    folded = f"{len(tables)} tables: the numbers of every variant and adaptation" if many else ""
    said = [*reading(table), *notes]
    return [PageSection("transfer", "How training methods carry over", said, pictures, tables, folded_tables=folded)]
