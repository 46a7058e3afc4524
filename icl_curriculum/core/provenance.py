"""What a run was made with: versions and the state of the source."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from icl_curriculum.core.version import __version__


def provenance() -> dict[str, Any]:
    """Versions of all that computes, git commit and dirty flag (None outside a checkout); None for what is missing.

    git is asked once: whatever happens to the source later, this process has imported it.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return {
        **versions(),
        "git_commit": commit,
        "git_dirty": None if changes is None else bool(changes),
    }


def package_version() -> str:
    return __version__


@functools.cache
def source_hash() -> str:
    """The hash of the package's own source files, by which two machines tell whether they have the same."""
    folder, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def versions() -> dict[str, str | None]:
    """The versions of everything that computes, by their keys in a manifest; None for what is not installed."""
    return {
        "package_version": package_version(),
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        **{f"{name.replace('-', '_')}_version": _installed(name) for name in _COMPUTING},
    }


#: What computes besides, by the names of the distributions.
_COMPUTING = ("numba", "numpy", "scipy", "scikit-learn", "safetensors")


@functools.cache
def _installed(name: str) -> str | None:
    """Looked up once, which takes milliseconds: what this process has imported stays the same."""
    try:
        return version(name)
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
