"""Files that a field names: read with the experiment, hashed into its config, and copied into every run.

``rows: File = Field(..., description="...")`` is a path in a TOML. In Python the value is a `NamedFile` with what the
file held when the experiment was read; nothing reads the file again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer, PlainValidator, SerializationInfo

#: Where the copies lie in a run's folder.
FOLDER = "files"
#: The largest file that is copied, in bytes.
LARGEST_FILE = 1 << 28

#: The folders in which relative paths are looked for, in their order.
_PLACES: ContextVar[tuple[Path, ...]] = ContextVar("places", default=(Path(),))
#: Whether files are written as their copies in a run's folder, not as the paths that they were read from.
_AS_COPIES: ContextVar[bool] = ContextVar("as_copies", default=False)


@dataclass(frozen=True, repr=False)
class NamedFile:
    """What a file held: two are equal where their names and contents are. ``place``: where it was read."""

    name: str
    hash: str
    place: str = field(compare=False)
    data: bytes = field(compare=False)

    @classmethod
    def of(cls, path: Path, data: bytes) -> NamedFile:
        found = hashlib.sha256(data).hexdigest()[:16]
        return cls(path.name.removeprefix(f"{found}-"), found, str(path), data)

    @property
    def copy(self) -> str:
        """The path of its copy in a run's folder."""
        return f"{FOLDER}/{self.hash}-{self.name}"

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        # It stands in ids, in which no path must be.
        return repr(self.name)


@contextlib.contextmanager
def files_lie_in(*folders: Path) -> Iterator[None]:
    """Look for relative paths in these folders during the block; otherwise it is the working directory."""
    token = _PLACES.set(folders)
    try:
        yield
    finally:
        _PLACES.reset(token)


@contextlib.contextmanager
def files_as_copies() -> Iterator[None]:
    """Write files as their copies in a run's folder during the block."""
    token = _AS_COPIES.set(True)
    try:
        yield
    finally:
        _AS_COPIES.reset(token)


def read_named(value: Any) -> NamedFile:
    """The file that a value names, read. ValueError, in words, where there is none that can be read."""
    if isinstance(value, NamedFile):
        return value
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"expected the path of a file, found {value!r}")
    path = find_named(value)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ValueError(f"expected a file of at most {LARGEST_FILE >> 20} MiB, as runs copy it, found {path}")
        return NamedFile.of(path, path.read_bytes())
    except OSError as error:
        raise ValueError(f"expected a file that can be read, found {path}: {error.strerror}") from None


def find_named(value: str | os.PathLike[str]) -> Path:
    """The absolute path of what a value names, a file or a folder; ValueError where there is nothing."""
    for folder in _PLACES.get():
        with contextlib.suppress(OSError, ValueError):
            if (folder / value).exists():
                return (folder / value).resolve()
    places = " or ".join(dict.fromkeys(str(folder.resolve()) for folder in _PLACES.get()))
    where = "" if Path(value).is_absolute() else f" in {places}"
    raise ValueError(f"expected a file that is there, found none called {os.fspath(value)!r}{where}")


def _written(file: NamedFile, info: SerializationInfo) -> str:
    # What is written as JSON names streams, which no path must change.
    if info.mode == "json":
        return file.hash
    return file.copy if _AS_COPIES.get() else file.place


#: Marks the type of a field that holds a `NamedFile`, whatever reads it.
AS_PATH = PlainSerializer(_written, return_type=str)

File = Annotated[NamedFile, PlainValidator(read_named), AS_PATH]
"""The type of a field that names a file, of at most 256 MiB: a path in a TOML, and a `NamedFile` in Python.

Paths are relative to the experiment file or to the working directory. The content is hashed into the config, whatever
the path, and copied into every run.
"""


def files_in(value: Any) -> Iterator[NamedFile]:
    """The files that a config names, in itself or in what it holds."""
    if isinstance(value, NamedFile):
        yield value
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from files_in(getattr(value, key))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from files_in(item)
