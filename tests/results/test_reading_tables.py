"""Tables are read block by block: what is read does not depend on the blocks, and damage in any of them is found."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from made_up_tables import make_tables, write

from icl_curriculum.core.errors import UserError
from icl_curriculum.results import csv_blocks
from icl_curriculum.results.tables import read_table

#: A few lines, so that the tables here have several.
TINY = 3000


@pytest.fixture(params=[TINY, csv_blocks.BLOCK], ids=["many blocks", "one block"], autouse=True)
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK", request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tables = make_tables(("linear",), (0, 1), variants=("b", "a"), shifts=("scaled_inputs/2",))
    return write(
        {"learning": tables["learning"].groupby("variant").head(90), "evaluation": tables["evaluation"].head(120)},
        tmp_path,
    )


def changed(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> Path:
    file = folder / "learning.csv"
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    return folder


def test_it_is_the_table_that_pandas_reads_whole(folder: Path) -> None:
    for name in ("learning", "evaluation"):
        found = read_table(folder, name)
        expected = pd.read_csv(folder / f"{name}.csv")
        assert {*found.columns} - {"shift"} == {*expected.columns} - {"shift"}
        for column in expected:
            assert list(found[column]) == list(expected[column]), column


def test_texts_are_held_once_and_in_order(folder: Path) -> None:
    table = read_table(folder, "learning")
    assert isinstance(table["variant"].dtype, pd.CategoricalDtype)
    assert list(table["variant"].cat.categories) == ["a", "b"]
    assert list(table["variant"].unique()) == ["b", "a"]


def test_names_with_commas_quotes_and_lines_in_them(folder: Path) -> None:
    for name in ("x,y", 'x"y', "x\ny", "x\ry", "ü", "None", "1"):
        table = pd.read_csv(io.BytesIO((folder / "learning.csv").read_bytes()))
        table.loc[table["variant"] == "a", "variant"] = name
        # A carriage return would end the line if it stood there without quotation marks.
        table.to_csv(folder / "learning.csv", index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        assert set(read_table(folder, "learning")["variant"]) == {"b", name}
        table.loc[table["variant"] == name, "variant"] = "a"
        table.to_csv(folder / "learning.csv", index=False, lineterminator="\n")


def test_line_ends_of_another_system(folder: Path) -> None:
    expected = read_table(folder, "learning")
    changed(folder, lambda lines: [line.replace(b"\n", b"\r\n") for line in lines])
    pd.testing.assert_frame_equal(read_table(folder, "learning"), expected)


def test_a_table_without_rows(folder: Path) -> None:
    changed(folder, lambda lines: lines[:1])
    table = read_table(folder, "learning")
    assert len(table) == 0
    assert isinstance(table["variant"].dtype, pd.CategoricalDtype)


def at(number: int, change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], list[bytes]]:
    """Change one line, which is counted from 1."""
    return lambda lines: [change(line) if i == number else line for i, line in enumerate(lines, 1)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (at(90, lambda line: line.replace(b",linear", b"", 1)), "line 90 has 10 cells, expected 11"),
        (at(90, lambda line: b"," + line), "line 90 has 12 cells, expected 11"),
        (at(90, lambda line: b"\n"), "line 90 has 0 cells, expected 11"),
        (at(90, lambda line: b"a\n" + line), "line 90 has 1 cells, expected 11"),
        (at(90, lambda line: line.replace(b"linear", b"li\x00ear")), r"it holds the control character '\x00'"),
        (at(90, lambda line: line.replace(b"linear", b"li\x7fear")), r"it holds the control character '\x7f'"),
        (at(90, lambda line: line.replace(b"linear", b"li\xffear")), "'utf-8' codec can't decode byte 0xff"),
        (at(90, lambda line: line.replace(b"linear", b'"linear"s')), "',' expected after '\"'"),
        (at(90, lambda line: line.replace(b"linear", b'"linear')), ""),
        (
            at(90, lambda line: line.replace(b",linear", b',"li\nnear,1"', 1).replace(b",gaussian", b"")),
            "line 91 has 10",
        ),
        (at(90, lambda line: line.rsplit(b",", 1)[0] + b",many\n"), ""),
        (at(90, lambda line: line.rsplit(b",", 2)[0] + b",,1.0\n"), "column 'metric': expected text, found nothing"),
        (lambda lines: [*lines[:-1], lines[-1].rstrip()], "its last line is cut off"),
        (lambda lines: [*lines[:-1], lines[-1][:20]], "cells, expected 11"),
        (lambda lines: [lines[0].rstrip()], "its last line is cut off"),
        (lambda lines: [lines[0].replace(b"variant", b"run"), *lines[1:]], "its first line is not the table's header"),
        (lambda lines: [], "its first line is not the table's header"),
    ],
)
def test_damage_is_named(folder: Path, change: Callable[[list[bytes]], list[bytes]], reason: str) -> None:
    with pytest.raises(UserError) as error:
        read_table(changed(folder, change), "learning")
    assert str(error.value).startswith(f"{folder / 'learning.csv'} is damaged: ")
    assert reason in str(error.value)
