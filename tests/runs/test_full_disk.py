"""A disk that is full, a folder that cannot be written: one message, nothing lost, the next command continues."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import EXAMPLE
from tiny_runs import TINY, merge, tables, tiny_run, write_toml

from icl_curriculum.cli import main
from icl_curriculum.core.errors import RunFailed
from icl_curriculum.results.grown_table import GrownTable
from icl_curriculum.runs.execution import execute

RUN = tiny_run({"evaluation.shifts": []})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables of the run on a disk with room."""
    results = tmp_path_factory.mktemp("whole")
    execute(RUN, results)
    return tables(results / "tiny/mixed-seed0")


class Disk:
    """A disk that is full from a certain write on: what is written then is cut off, and fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
        self.left = writes
        write_bytes, flush = Path.write_bytes, GrownTable.flush

        def full_write(path: Path, data: bytes) -> int:
            if self.is_full():
                write_bytes(path, data[: len(data) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return write_bytes(path, data)

        def full_flush(table: GrownTable, before: Any) -> None:
            if table.pending and self.is_full():
                with table.path.open("a") as file:
                    file.write("tiny,mixed-se")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(table.path))
            flush(table, before)

        monkeypatch.setattr(Path, "write_bytes", full_write)
        monkeypatch.setattr(GrownTable, "flush", full_flush)

    def is_full(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("writes", [0, 3, 5, 8, 14, 19, 23, 27, 30, 33, 36])
def test_a_full_disk_loses_nothing(tmp_path: Path, whole: dict[str, bytes], writes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        Disk(patch, writes)
        with pytest.raises(RunFailed, match=r"mixed-seed0: .*: No space left on device; .*the next run continues"):
            execute(RUN, tmp_path)
    execute(RUN, tmp_path)
    assert tables(tmp_path / "tiny/mixed-seed0") == whole
    assert not list((tmp_path / "tiny/mixed-seed0").glob(".*.tmp"))


def test_the_writes_above_reach_from_the_first_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, 1000)
    execute(RUN, tmp_path)
    assert 1000 - disk.left == 37


def icl(python: Path, folder: Path, *arguments: str, file_blocks: int | None = None) -> tuple[int, str, str]:
    """A command in a shell, which may limit the size of every file that it writes (in blocks of 1,024 bytes)."""
    limit = f"ulimit -f {file_blocks}; " if file_blocks else ""
    command = f'{limit}exec "{python}" -m icl_curriculum "$@"'
    done = subprocess.run(
        ["bash", "-c", command, "bash", *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout, done.stderr


def test_a_limit_of_the_system_is_a_failed_run_that_continues(
    tmp_path: Path, whole: dict[str, bytes], quick_python: Path
) -> None:
    """A real refusal by the system, in the worker's checkpoint, through the console script."""
    write_toml(tmp_path / "my.toml", merge(TINY, {"evaluation": {"shifts": []}}))
    code, out, err = icl(quick_python, tmp_path, "run", "my.toml", file_blocks=8)
    assert code == 1
    assert "failed: mixed-seed0: " in err
    assert "File too large; nothing that was written is lost" in err
    assert "Traceback" not in out + err
    code, _, err = icl(quick_python, tmp_path, "run", "my.toml")
    assert code == 0, err
    assert tables(tmp_path / "results/tiny/mixed-seed0") == whole


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nowhere"])
def test_results_that_cannot_be_written_are_refused_before_anything_starts(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    write_toml(tmp_path / "my.toml", TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["icl", "run", "my.toml", "--results", place])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code == 2
    *progress, message = err.splitlines()
    assert message.startswith(f"error: {place}/tiny: cannot be written to: ")
    assert len(progress) == 1
    assert out == ""
    assert (tmp_path / "file").read_text() == "a file, no folder"


def test_figures_that_cannot_be_written_are_one_message(tmp_path: Path, quick_python: Path) -> None:
    example = EXAMPLE
    for table in example.glob("*.csv"):
        (tmp_path / table.name).symlink_to(table)
    (tmp_path / "figures").write_text("in the way")
    code, out, err = icl(quick_python, tmp_path, "plot", str(tmp_path))
    assert (code, out) == (1, "")
    assert "figures" in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
