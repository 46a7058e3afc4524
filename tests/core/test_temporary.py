"""Temporary folders: gone at the end, removed after a kill by who comes next, and never taken from who is at work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from quick_python import fork

from icl_curriculum.core.temporary import temporary_folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_at_the_end_even_of_a_block_that_fails(place: Path) -> None:
    def fail() -> None:
        with temporary_folder("icl-units-") as folder:
            (folder / "unit.toml").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(place: Path) -> None:
    (place / "icl-other").mkdir()
    (place / "kept").mkdir()
    (place / "kept/file").touch()
    (place / "icl-units-link").symlink_to(place / "kept")
    left, right = os.pipe()
    if (child := fork()) == 0:
        with temporary_folder("icl-units-") as folder:
            (folder / "unit.toml").touch()
            os.write(right, folder.name.encode())
            os._exit(1)
    os.waitpid(child, 0)
    abandoned = place / os.read(left, 100).decode()
    assert (abandoned / "unit.toml").is_file()
    with temporary_folder("icl-units-") as mine, temporary_folder("icl-units-") as another:
        assert not abandoned.exists()
        assert mine.is_dir()
        assert another.is_dir()
    assert {path.name for path in place.iterdir()} == {"icl-other", "icl-units-link", "kept"}
    assert (place / "kept/file").is_file()


def test_where_there_are_no_locks_nothing_is_removed_but_ones_own(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("icl_curriculum.core.temporary.fcntl.flock", no_locks)
    (place / "icl-units-of-another").mkdir()
    with temporary_folder("icl-units-") as folder:
        assert folder.is_dir()
    assert [path.name for path in place.iterdir()] == ["icl-units-of-another"]


def test_what_another_machine_has_there_is_left_to_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system may keep locks to each machine."""
    monkeypatch.setattr("icl_curriculum.core.temporary.fcntl.flock", lambda descriptor, how: None)
    with temporary_folder("icl-units-") as theirs:
        monkeypatch.setattr("platform.node", lambda: "node7")
        with temporary_folder("icl-units-"):
            assert theirs.is_dir()
