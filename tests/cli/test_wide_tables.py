"""Tables that are wider than the terminal are printed in parts, and none of their names is broken inside a word."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from rich.table import Table

from icl_curriculum.cli.narrow import print_table
from icl_curriculum.cli.screen import Screen


def test_what_does_not_fit_is_printed_in_parts() -> None:
    table = Table(box=None)
    names = [f"a column with a long name {i}" for i in range(9)]
    for name in names:
        table.add_column(name)
    table.add_row(*(f"[value] {i}" for i in range(9)))
    narrow = Console(width=60, file=io.StringIO(), highlight=False, markup=False)
    print_table(narrow, table)
    lines = narrow.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 60
    assert [any(name in line for line in lines) for name in names] == [True] * 9
    assert [any(f"[value] {i}" in line for line in lines) for i in range(9)] == [True] * 9


def wide(width: int, *, shift: str = "scaled_inputs/factor=0.333") -> list[str]:
    """A table as `icl evaluate` prints it, with two columns that say what a row is."""
    table = Table(title="Normalized error of the model", title_justify="left", box=None, pad_edge=False)
    for column in ("inputs", "shift"):
        table.add_column(column, no_wrap=True)
    for name in ("sparse linear", "relu network", "decision tree", "quadratic"):
        table.add_column(name, overflow="fold", justify="right")
    for i, inputs in enumerate(("gaussian", "rademacher")):
        table.add_row(inputs, shift, *(f"0.{i}{number}3" for number in range(4)))
    screen = Screen(file=io.StringIO(), width=width)
    print_table(screen, table)
    assert isinstance(screen.file, io.StringIO)
    return [line.rstrip() for line in screen.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [40, 50, 60, 70, 80, 100])
def test_every_part_says_what_its_rows_are(width: int) -> None:
    lines = wide(width)
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.replace("/", " ").replace("=", " ").replace("_", " ").split()}
    assert {
        "sparse",
        "linear",
        "network",
        "decision",
        "tree",
        "quadratic",
        "rademacher",
        "scaled",
        "inputs",
        "factor",
    } <= words
    numbers = re.findall(r"0\.[01][0-3]3", "\n".join(lines))
    assert sorted(numbers) == sorted(f"0.{i}{number}3" for i in range(2) for number in range(4))
    assert len([line for line in lines if line.startswith("rademacher")]) == len(
        [line for line in lines if line.startswith("inputs")]
    )


def test_a_table_that_fits_is_printed_as_it_is() -> None:
    lines = wide(200)
    assert len(lines) == 4
    assert lines == wide(1000)
