"""Whole files or nothing, and what killed processes leave behind."""

from __future__ import annotations

from pathlib import Path

from icl_curriculum.core.files import atomic_path, write_atomically


def test_who_writes_a_file_next_removes_what_killed_processes_left_of_it(tmp_path: Path) -> None:
    left = [tmp_path / f".table[1].csv.{number}.tmp" for number in ("0a1b2c3d", "4e5f6071")]
    others = [tmp_path / ".other.csv.0a1b2c3d.tmp", tmp_path / ".table1.csv.0a1b2c3d.tmp"]
    for path in (*left, *others):
        path.write_text("half a ta")
    write_atomically(tmp_path / "table[1].csv", "a table")
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "table[1].csv"])


def test_what_somebody_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with atomic_path(path) as first:
        first.write_text("the first")
        write_atomically(path, "the second")
        assert first.read_text() == "the first"
    assert path.read_text() == "the first"
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]
