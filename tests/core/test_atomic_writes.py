"""Whole files or nothing, and what killed processes leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from icl_curriculum.core.files import atomic_path, write_atomically
from icl_curriculum.core.hosts import machine_token
from icl_curriculum.core.locks import FolderLost


def test_who_writes_a_file_next_removes_what_killed_processes_left_of_it(tmp_path: Path) -> None:
    mine = machine_token()
    left = [tmp_path / f".table[1].csv.{mine}-{number}.tmp" for number in ("0a1b2c3d", "4e5f6071")]
    others = [tmp_path / f".{name}.csv.{mine}-0a1b2c3d.tmp" for name in ("other", "table1")]
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


def test_what_another_machine_is_writing_is_left_alone_where_locks_are_kept_to_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.core.files.fcntl.flock", lambda handle, how: None)
    with atomic_path(tmp_path / "table.csv") as theirs:
        theirs.write_text("theirs")
        monkeypatch.setattr("platform.node", lambda: "node7")
        write_atomically(tmp_path / "table.csv", "mine")
    assert (tmp_path / "table.csv").read_text() == "theirs"


def test_who_has_lost_a_folder_is_told_so_and_not_that_a_file_is_missing(tmp_path: Path) -> None:
    """Whoever takes it over removes what is half-written there."""

    def lost() -> None:
        raise FolderLost("taken over")

    with pytest.raises(FolderLost), atomic_path(tmp_path / "table.csv", before=lost) as temporary:
        temporary.unlink()
