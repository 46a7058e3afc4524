"""A run whose machine freezes: another one takes it over, and it writes nothing more when it wakes."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from frozen_run import RUN
from places import SUPPORT
from tiny_runs import tables

from icl_curriculum.core import locks
from icl_curriculum.runs.execution import Progress, execute


def is_frozen(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_taken_over_while_it_was_frozen_writes_nothing_when_it_wakes(
    tmp_path: Path, quick_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(RUN, tmp_path / "whole")
    command = [str(quick_python), "-m", "frozen_run", str(tmp_path / "results")]
    said = list[Progress]()
    with subprocess.Popen(command, cwd=SUPPORT, stdout=subprocess.PIPE, text=True) as frozen:
        assert frozen.stdout is not None
        process = int(frozen.stdout.readline())
        while not is_frozen(process):
            time.sleep(0.005)
        monkeypatch.setattr(fcntl, "flock", lambda handle, how: None)
        monkeypatch.setattr(platform, "node", lambda: "node7")
        for name, seconds in {"LOOK_EVERY": 0.01, "STALE": 0.2, "CONFIRM": 0.1}.items():
            monkeypatch.setattr(locks, name, seconds)
        execute(RUN, tmp_path / "results", wait=True, report=said.append)
        before = everything(tmp_path / "results")
        os.kill(process, signal.SIGCONT)
        ending, _ = frozen.communicate(timeout=60)
    assert re.match(rf"waiting for process {process} on .*, whose last sign of life is ", said[0].phase)
    # It resumed from the last checkpoint, of step 4.
    assert next(progress.done for progress in said if progress.loss is not None) == 5
    place = tmp_path / "results/tiny/mixed-seed0"
    assert ending == (
        f"{place} was taken over by another process; this process has stopped, and has written nothing more there\n"
    )
    assert everything(tmp_path / "results") == before
    assert tables(place) == tables(tmp_path / "whole/tiny/mixed-seed0")
