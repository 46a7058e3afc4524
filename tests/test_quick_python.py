"""What stands for Python in other tests is like Python, as far as they can see: streams, codes, signals, limits."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHOW = "import os, resource, sys; print(os.getcwd(), os.environ['MINE'], sys.argv, {}); print('no', file=sys.stderr)"
FILE_SIZE = "resource.getrlimit(resource.RLIMIT_FSIZE)"


def both(quick_python: Path, *arguments: str, **options: Any) -> list[subprocess.CompletedProcess[str]]:
    return [
        subprocess.run([str(python), *arguments], capture_output=True, text=True, timeout=60, **options)
        for python in (sys.executable, quick_python)
    ]


def test_arguments_folder_environment_streams_and_limits_are_the_same(quick_python: Path, tmp_path: Path) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    options: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "MINE": "yes"}}
    python, quick = both(quick_python, "-c", SHOW.format(FILE_SIZE), "one", "two", **options)
    assert (quick.stdout, quick.stderr, quick.returncode) == (python.stdout, python.stderr, python.returncode)
    assert quick.stdout == f"{tmp_path} yes ['-c', 'one', 'two'] {limit}\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print(input())", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('words')", 1),
        ("1 / 0", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; os._exit(9)", 9),
        ("import atexit; atexit.register(print, 'last')", 0),
    ],
)
def test_a_process_ends_alike(quick_python: Path, code: str, expected: int) -> None:
    python, quick = both(quick_python, "-c", code, input="words\n")
    assert (quick.returncode, quick.stdout) == (python.returncode, python.stdout)
    assert quick.returncode == expected
    assert quick.stderr.splitlines()[-1:] == python.stderr.splitlines()[-1:]


def test_warnings_may_be_errors(quick_python: Path) -> None:
    python, quick = both(quick_python, "-W", "error", "-c", "import warnings; warnings.warn('words')")
    assert quick.returncode == python.returncode == 1
    assert quick.stderr.splitlines()[-1] == python.stderr.splitlines()[-1] == "UserWarning: words"


def test_modules_and_packages_of_the_environment_are_found(quick_python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys; print(__name__, sys.argv[1:])")
    for place in ({"cwd": tmp_path}, {"env": {**os.environ, "PYTHONPATH": str(tmp_path)}}):
        python, quick = both(quick_python, "-m", "mine", "one", **place)
        assert quick.stdout == python.stdout == "__main__ ['one']\n"


WAIT = "import os, time; print(os.getpgrp(), flush=True); time.sleep(60)"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda process: process.terminate(), -signal.SIGTERM),
        (lambda process: process.kill(), -signal.SIGKILL),
        (lambda process: os.killpg(process.pid, signal.SIGINT), -signal.SIGINT),
    ],
)
def test_signals_reach_the_process(quick_python: Path, end: Any, code: int) -> None:
    command = [str(quick_python), "-c", WAIT]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, process_group=0, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{process.pid}\n"
        end(process)
        # Closed by the process that prints, not by what stands for it.
        assert process.stdout.read() == ""
        assert process.wait(10) == code
