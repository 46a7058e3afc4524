"""Tables of errors on narrow terminals and in pipes: names are broken between their words alone."""

from __future__ import annotations

import io

import pytest
from places import ROOT
from rich.table import Table

from icl_curriculum.cli.error_tables import error_table
from icl_curriculum.cli.screen import UNBOUNDED, Name, Screen


def printed(width: int, *cells: str) -> list[str]:
    table = Table(box=None, show_header=False, padding=0)
    for _ in cells:
        table.add_column()
    table.add_row(*(Name(cell) for cell in cells))
    screen = Screen(file=io.StringIO(), width=width)
    screen.print(table)
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


def test_a_name_is_broken_after_slashes_colons_and_underscores() -> None:
    name = "sparse_linear/observation=outliers:0.1"
    assert printed(60, name) == [name]
    assert printed(20, name) == ["sparse_linear/", "observation=", "outliers:0.1"]
    assert printed(14, "quadratic_features†") == ["quadratic_", "features†"]


@pytest.mark.parametrize("width", [60, 70, 80])
def test_the_table_of_a_run_breaks_no_word(width: int) -> None:
    screen = Screen(file=io.StringIO(), width=width)
    screen.print(error_table(ROOT / "results/example_mixed"))
    assert isinstance(screen.file, io.StringIO)
    words = screen.file.getvalue().replace("_", " ").split()
    assert {"quadratic", "features", "least", "squares", "sparse", "network"} <= {*words}


def test_what_goes_into_a_pipe_is_as_wide_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert Screen(file=io.StringIO()).width == UNBOUNDED
    monkeypatch.setenv("COLUMNS", "70")
    assert Screen(file=io.StringIO()).width == 70
