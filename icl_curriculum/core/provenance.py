"""What a run was made with: versions and the state of the source."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.core.version import __version__


def provenance() -> dict[str, Any]:
    """Versions, git commit and dirty flag (None outside a checkout), numba's version None where it is missing.

    git is asked once: whatever happens to the source later, this process has imported it.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return {
        "package_version": package_version(),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "numba_version": _numba_version(),
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
    }


def package_version() -> str:
    return __version__


def _numba_version() -> str | None:
    try:
        return version("numba")
    except PackageNotFoundError:
        return None


@functools.cache
def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, encoding="utf-8", errors="replace", timeout=10,
            check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
