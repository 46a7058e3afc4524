"""`icl bench growth`: what comparing and reporting take, by the number of variants."""

from __future__ import annotations

from typing import Any

import pytest
from bench_doubles import quiet

from icl_curriculum.bench import growth
from icl_curriculum.bench.tables import Settings


@pytest.mark.usefixtures("unpictured")
def test_results_that_nobody_trained_are_compared_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(work: Any, requests: list[Any]) -> list[Any]:
        return [work(request, lambda message: None) for request in requests]

    monkeypatch.setattr(growth, "in_children", here)
    (job,) = growth.jobs(Settings(), (2,), longest=1)
    (row,) = job.measure(quiet).rows
    assert (row["variants"], row["seeds"]) == (2, 3)
    assert {column.key for column in growth.COLUMNS} <= set(row)
    assert row["summary_rows"] > 100
    assert min(row[key] for key in ("compare_seconds", "report_seconds", "page_mib", "evaluation_mib")) > 0
