"""The definition of every table: what a run writes keeps to it, and all of it is documented."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from fewer_pictures import leave_out_pictures
from finished_runs import Finished
from tiny_runs import Icl

from icl_curriculum.cli.listing import columns_tables
from icl_curriculum.pages import report_on
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import TABLES
from icl_curriculum.results.schema import TableColumn
from icl_curriculum.runs.predictions import predictions_of_run


@pytest.fixture(scope="module")
def written(finished: Finished) -> list[Path]:
    """Every table of a tiny run's experiment."""
    directory = finished.path.parent
    collect(directory, {finished.run.variant: finished.run.hash()})
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        report_on(directory)
    predictions_of_run(finished.run, finished.results, "csv")
    return sorted(directory.rglob("*.csv"))


def documented(name: str) -> list[str]:
    """The columns that the documentation gives a file, in order."""
    section = columns_tables().split(f"### `{name}.csv`")[1].split("###")[0]
    return [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]


def test_every_column_of_every_file_is_documented(written: list[Path]) -> None:
    # `icl heads` writes two others, `icl transfer` and a sweep one each, and what is scored on the benchmark two.
    others = {"heads", "masking", "transfer", "sweep", "scorecard", "leaderboard"}
    assert {path.stem for path in written} == set(TABLES) - others
    for path in written:
        # Some runs alone have a further column.
        assert TABLES[path.stem].plain_header == path.read_text().splitlines()[0].split(","), path
        assert documented(path.stem) == TABLES[path.stem].header, path


def cells_that_break(column: TableColumn, cells: pd.Series) -> pd.Series:
    """Which cells of a column, read as text, are none that its definition allows."""
    empty = cells == ""
    if column.kind is str:
        wrong = ~cells.isin(column.one_of) if column.one_of else pd.Series(False, index=cells.index)
    elif column.kind is bool:
        wrong = ~cells.isin(["TRUE", "FALSE"])
    else:
        numbers = pd.to_numeric(cells)
        wrong = (numbers > column.greatest) | ((numbers < 0) & (not column.negative))
        written = r"-?\d+" if column.kind is int else r"-?(\d+\.\d+(e[+-]\d+)?|inf)"
        wrong |= ~cells.str.fullmatch(written)
    return wrong & ~empty if column.empty else wrong | empty


def test_what_is_written_keeps_to_the_definition(written: list[Path]) -> None:
    for path in written:
        table = pd.read_csv(path, dtype="str", keep_default_na=False)
        for name in TABLES[path.stem].plain_header:
            wrong = cells_that_break(TABLES[path.stem].columns[name], table[name])
            assert not wrong.any(), f"{path}: {name}: {table[name][wrong].iloc[0]!r}"
        keys = [name for name in TABLES[path.stem].plain_header if TABLES[path.stem].columns[name].key]
        assert not table.duplicated(keys).any(), f"{path}: its keys do not tell its rows apart"


def test_icl_list_columns_prints_them(icl: Icl) -> None:
    assert icl("list", "columns") == (0, columns_tables() + "\n", "")
