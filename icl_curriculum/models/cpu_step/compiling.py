"""Functions that numba compiles the first time they are called on a machine, and whose code is kept on disk."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import numba
from llvmlite.binding import get_host_cpu_name
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])
Result = TypeVar("Result")
_config: Any = numba.config
_OPTIONS: dict[str, Any] = {
    # Sums in any order, and so by vectors; infinities and NaN keep their meaning, since they show a divergence.
    "fastmath": {"nsz", "arcp", "contract", "reassoc"},
    "nogil": True,
    "error_model": "numpy",
}


def part(function: Function) -> Function:
    """Compiles a function as a part of those that call it, and so not before one of them is called."""
    compiled: Function = njit(**_OPTIONS)(function)
    return compiled


def inlined(function: Function) -> Function:
    """Compiles a function into the loops that call it, so that they are still vectorised."""
    compiled: Function = njit(inline="always", **_OPTIONS)(function)
    return compiled


def kernel(function: Callable[..., Result]) -> Callable[..., Result]:
    """Compiles a function that Python calls, when it is first called."""
    compiled = _kept_on_disk(function)

    @wraps(function)
    def call(*arguments: Any) -> Result:
        try:
            return compiled(*arguments)
        except OSError:
            # It could not be kept (a full disk), and is compiled all the same.
            return compiled(*arguments)

    return call


def _kept_on_disk(function: Callable[..., Result]) -> Callable[..., Result]:
    """Compiles a function and keeps its code in a folder named for this room's very source and this processor."""
    before = _config.CACHE_DIR
    name = f"icl-kernels-{_fingerprint()}"
    for base in [Path(before)] if before else [Path(__file__).parent / "__pycache__", *_home()]:
        _config.CACHE_DIR = str(base / name)
        try:
            compiled: Callable[..., Result] = njit(cache=True, **_OPTIONS)(function)
            return compiled
        except (RuntimeError, OSError):
            continue
        finally:
            _config.CACHE_DIR = before
    # Nowhere to keep it: every process compiles anew.
    return part(function)


def _home() -> list[Path]:
    """The folder for caches at home, for who has a home."""
    try:
        return [Path.home() / ".cache"]
    except RuntimeError:
        return []


@cache
def _fingerprint() -> str:
    # Of all files: numba itself looks only at the one that holds the function, and not at those it calls into.
    sources = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.py"))]
    parts = *sources, numba.__version__, get_host_cpu_name(), platform.machine()
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
