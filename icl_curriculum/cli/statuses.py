"""What ``icl status NAME`` prints: how far each run is, where it is executed, and why it waits or failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table

from icl_curriculum.cli import output
from icl_curriculum.runs.status import RunStatus


def show(found: Sequence[RunStatus]) -> None:
    """Print a row for each run, and how many are in each state."""
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("run", "state", "at", "where"):
        table.add_column(column)
    for row in found:
        table.add_row(row.run, row.state, row.at, row.where)
    output.show(table)
    for row in found:
        if row.why:
            output.note(row.why, label=f"{row.run}: ")
    counted = Counter(row.state for row in found)
    runs = f"{len(found)} run{'s' * (len(found) != 1)}"
    output.show(f"{runs}: " + ", ".join(f"{number} {state}" for state, number in counted.items()))
    if counted["interrupted"]:
        output.note("the command that began them goes on with those that are interrupted")
    output.put(status=list(found))
