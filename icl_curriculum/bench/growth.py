"""What `icl compare` and `icl report` take, by the number of variants: of results that nobody trained."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from icl_curriculum.bench.children import in_children
from icl_curriculum.bench.many_variants import K, write_many
from icl_curriculum.bench.memory import MIB, peak_resident
from icl_curriculum.bench.tables import BenchTable, Column, Job, Row, Settings, measured_on
from icl_curriculum.core.progress import Tell
from icl_curriculum.pages import report_on
from icl_curriculum.results.comparison.command import set_side_by_side

COLUMNS = (
    Column("variants", "variants"),
    Column("seeds", "seeds"),
    Column("evaluation_mib", "evaluation.csv, MiB", ",.1f"),
    Column("compare_seconds", "compare, s", ".1f"),
    Column("report_seconds", "report, s", ".1f"),
    Column("summary_rows", "rows of summary.csv", ","),
    Column("page_mib", "report.html, MiB", ".1f"),
    Column("peak_mib", "peak MiB", ",.0f"),
)
#: The least are all compared with each other, and of the most both ends are drawn.
VARIANTS, SEEDS = (12, 24, 48), 3


@dataclass(frozen=True)
class GrowthRequest:
    """What a fresh process measures; ``longest``: the examples of the longest prompts."""

    variants: int
    seeds: int
    longest: int


def jobs(settings: Settings, variants: Sequence[int] = VARIANTS, longest: int = K) -> list[Job]:
    """One table, with a row for each number of variants."""
    requests = [GrowthRequest(number, SEEDS, longest) for number in variants]
    return [Job("compare and report", 60, partial(measure, requests))]


def measure(requests: Sequence[GrowthRequest], tell: Tell) -> BenchTable:
    rows: list[Row] = []
    for number, request in enumerate(requests):
        tell(number / len(requests), f"{request.variants} variants")
        (found,) = in_children(compared_and_reported, [request])
        rows.append({"variants": request.variants, "seeds": request.seeds, **found, **measured_on(1, "cpu")})
    notes = ["s: seconds of a processor; peak MiB: all that the process held"]
    return BenchTable("compare and report, by the number of variants", rows, notes)


def compared_and_reported(request: GrowthRequest, say: Callable[[Any], None]) -> Row:
    """Make results, compare and report them, and say what that took. Call it in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        made = write_many(
            Path(folder) / "many", variants=request.variants, seeds=request.seeds, longest=request.longest
        )
        began = time.process_time()
        compared = set_side_by_side([str(made)], Path(folder))
        between = time.process_time()
        written = report_on(made)
        return {
            "evaluation_mib": (made / "evaluation.csv").stat().st_size / MIB,
            "compare_seconds": between - began,
            "report_seconds": time.process_time() - between,
            "summary_rows": compared.path.read_bytes().count(b"\n") - 1,
            "page_mib": written.page.stat().st_size / MIB,
            "peak_mib": peak_resident() / MIB,
        }
