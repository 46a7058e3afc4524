"""Finds experiment files. Light: the shell asks for their names at every press of the tab key."""

from __future__ import annotations

from pathlib import Path


def packaged_folder() -> Path:
    """The experiments that come with the package: beside it in an installed wheel, above it in a checkout."""
    inside = Path(__file__).parents[1] / "experiments"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "experiments"


def experiment_names() -> list[str]:
    """Names of experiments: of the files in ./experiments and of those that come with the package."""
    folders = [Path("experiments"), packaged_folder()]
    return sorted(
        {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.toml") if is_file(path)}
    )


def is_there(path: Path) -> bool:
    """`Path.exists`, and False for what cannot be a path at all: too long, or with a null byte."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """`Path.is_file`, and False for what cannot be a path at all: too long, or with a null byte."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
