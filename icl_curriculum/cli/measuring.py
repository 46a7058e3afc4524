"""What ``icl bench`` prints: a table for each job, progress with the time left, and where the CSV files lie."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from icl_curriculum.bench.tables import BenchSection, BenchTable, Column, Job, Row, Settings, write
from icl_curriculum.cli import output
from icl_curriculum.cli.progress import LINE_EVERY, passing_bar, time_left
from icl_curriculum.core.files import check_writable


def show(sections: Mapping[str, BenchSection], settings: Settings) -> None:
    """Measure sections, print their tables and write a CSV file of each."""
    check_writable(settings.folder)
    # All jobs are listed before anything is measured, as listing them finds settings that cannot work.
    planned = {name: section.jobs(settings) for name, section in sections.items()}
    progress = _Progress([job for jobs in planned.values() for job in jobs])
    found: list[Row] = []
    for name, jobs in planned.items():
        section, rows = sections[name], list[Row]()
        output.show(f"{name}: {section.title}")
        for job in jobs:
            table = progress.measure(name, job)
            output.show(f"  {table.title}")
            for line in drawn(table, section.columns):
                output.show(f"    {line}")
            for note in table.notes:
                output.show(f"  {note}")
            found += [{"section": name, "table": table.title, "recorded": table.recorded, **row} for row in table.rows]
            if not table.recorded:
                rows += table.rows
                # Written after every table, so that an interruption leaves what was measured.
                write(settings.folder / f"{name}.csv", section.columns, rows)
        if rows:
            output.written("table", settings.folder / f"{name}.csv")
    output.put(measurements=found)


def drawn(table: BenchTable, columns: Sequence[Column]) -> list[str]:
    """The lines of a table. It has the columns with a heading and at least one value; nothing is cut."""
    shown = [c for c in columns if c.heading and any(row.get(c.key) is not None for row in table.rows)]
    made = []
    for column in shown:
        values = [row.get(column.key) for row in table.rows]
        cells = [column.heading, *map(column.cell, values)]
        numeric = all(isinstance(value, int | float | None) for value in values)
        width = max(map(len, cells))
        made.append([cell.rjust(width) if numeric else cell.ljust(width) for cell in cells])
    return ["  ".join(cells).rstrip() for cells in zip(*made, strict=True)]


class _Progress:
    """Shows how far all jobs have come: a bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.total = sum(job.seconds for job in jobs)
        self.done = 0.0
        self.began = self.printed = clock()

    def measure(self, section: str, job: Job) -> BenchTable:
        with passing_bar(job.name) as bar:

            def tell(share: float, detail: str = "") -> None:
                done = self.done + share * job.seconds
                text = f"{section}, {job.name}: {detail}{self._left(done)}"
                if bar is not None:
                    bar(done / self.total if self.total else 1.0, text)
                elif self.clock() - self.printed >= LINE_EVERY:
                    self.printed = self.clock()
                    output.progress(f"  {text}")

            tell(0.0)
            table = job.measure(tell)
        self.done += job.seconds
        return table

    def _left(self, done: float) -> str:
        """Words the time left, as ``; about 1m15s left``, if jobs go on at the same speed."""
        left = time_left(done, self.total - done, self.clock() - self.began)
        return f"; {left}" if left else ""
