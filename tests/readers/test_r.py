"""R's read.csv takes every column of every table as its definition says. Only `make test-readers` runs these tests."""

from __future__ import annotations

import math
import os
import subprocess
from pathlib import Path

import pytest
from every_table import expected, write_every_table
from places import EXAMPLE

CLASSES = {"logical": bool, "integer": int, "numeric": float, "character": str}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    committed = [*EXAMPLE.glob("*.csv"), *EXAMPLE.glob("mixed-seed0/*.csv")]
    return sorted(committed) + write_every_table(tmp_path_factory.mktemp("every"))


@pytest.fixture(scope="module")
def read(tables: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The columns as R has read them."""
    folder = tmp_path_factory.mktemp("columns")
    command = ["Rscript", "--vanilla", str(Path(__file__).with_name("columns.R")), str(folder), *map(str, tables)]
    done = subprocess.run(command, env={**os.environ, "LC_ALL": "C.UTF-8"}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_column(tables: list[Path], read: Path) -> None:
    for number, path in enumerate(tables, start=1):
        columns = expected(path)
        for name, (kind, values) in columns.items():
            found, *cells = (read / f"{number}-{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]
            assert len(cells) == len(values), f"{path}: {name}"
            if all(value is None for value in values):
                continue  # Nothing can be told from it.
            # A whole number of more than 31 bits is a double there.
            large = kind is int and any(abs(value) >= 2**31 for value in values if isinstance(value, int))
            assert CLASSES[found] is (float if large else kind), f"{path}: {name}"
            for cell, value in zip(cells, values, strict=True):
                if isinstance(value, float):
                    assert math.isclose(float(cell), value, rel_tol=1e-14), f"{path}: {name}"
                elif isinstance(value, int) and not isinstance(value, bool):
                    assert float(cell) == value, f"{path}: {name}"
                else:
                    assert cell == {None: "", True: "TRUE", False: "FALSE"}.get(value, value), f"{path}: {name}"
        assert len(columns) == len([*read.glob(f"{number}-*.txt")]), path
