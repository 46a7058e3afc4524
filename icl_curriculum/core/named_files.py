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
from typing import Annotated, Any, Literal

from pydantic import BaseModel, PlainSerializer, PlainValidator, SerializationInfo

#: Where the copies lie in a run's folder.
FOLDER = "files"
#: The largest file that is copied, in bytes.
LARGEST_FILE = 1 << 28

#: The folder that relative paths are relative to, where the text itself does not know it.
_PLACE: ContextVar[Path] = ContextVar("place", default=Path())
#: The longest name, in bytes, that a copy can have beside its hash.
LONGEST_NAME = 200

_How = Literal["path", "copy", "content"]
#: How files are written: as the paths that they were read from, as their copies in a run's folder, or as hashes.
_WRITTEN_AS: ContextVar[_How] = ContextVar("written_as", default="path")


class PlacedText(str):
    """A text of a TOML file, which knows the ``folder`` that paths in it are relative to."""

    folder: Path

    @classmethod
    def of(cls, text: str, folder: Path) -> PlacedText:
        made = cls(text)
        made.folder = folder
        return made


def placed(value: Any, folder: Path) -> Any:
    """The values of a TOML file with the folder that paths in them are relative to, at any depth."""
    if type(value) is str:
        return PlacedText.of(value, folder)
    if isinstance(value, list):
        return [placed(item, folder) for item in value]
    return {key: placed(item, folder) for key, item in value.items()} if isinstance(value, dict) else value


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
        return self.hash if _WRITTEN_AS.get() == "content" else self.name

    def __repr__(self) -> str:
        # It stands in ids, in which no path must be.
        return repr(str(self))


@contextlib.contextmanager
def files_lie_in(folder: Path) -> Iterator[None]:
    """Take paths to be relative to this folder during the block; otherwise it is the working directory."""
    token = _PLACE.set(folder)
    try:
        yield
    finally:
        _PLACE.reset(token)


@contextlib.contextmanager
def files_written_as(how: _How) -> Iterator[None]:
    """Write files as their copies in a run's folder during the block, or as hashes of their content.

    Whatever names a stream or a cache is written by content: neither a path nor a name decides what is drawn.
    """
    token = _WRITTEN_AS.set(how)
    try:
        yield
    finally:
        _WRITTEN_AS.reset(token)


def read_named(value: Any) -> NamedFile:
    """The file that a value names, read. ValueError, in words, where there is none that can be read."""
    if isinstance(value, NamedFile):
        return value
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"expected the path of a file, found {value!r}")
    path = find_named(value)
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ValueError(f"expected a file name of at most {LONGEST_NAME} bytes, as runs copy it, found {path}")
    try:
        # What is no plain file may never end.
        if not path.is_file():
            raise ValueError(
                f"expected a file, found {path}, which is {'a folder' if path.is_dir() else 'no plain file'}"
            )
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"expected a file that can be read, found {path}: {error.strerror}") from None
    if len(data) > LARGEST_FILE:
        raise ValueError(f"expected a file of at most {LARGEST_FILE >> 20} MiB, as runs copy it, found {path}")
    return NamedFile.of(path, data)


def find_named(value: str | os.PathLike[str]) -> Path:
    """The absolute path of what a value names, a file or a folder; ValueError where there is nothing."""
    folder = value.folder if isinstance(value, PlacedText) else _PLACE.get()
    with contextlib.suppress(OSError, ValueError):
        if (folder / value).exists():
            return (folder / value).resolve()
    where = "" if Path(value).is_absolute() else f" in {folder.resolve()}"
    raise ValueError(f"expected a file that is there, found none called {os.fspath(value)!r}{where}")


def _written(file: NamedFile, info: SerializationInfo) -> str:
    how = "content" if info.mode == "json" else _WRITTEN_AS.get()
    return {"path": file.place, "copy": file.copy, "content": file.hash}[how]


#: Marks the type of a field that holds a `NamedFile`, whatever reads it.
AS_PATH = PlainSerializer(_written, return_type=str)

File = Annotated[NamedFile, PlainValidator(read_named), AS_PATH]
"""The type of a field that names a file, of at most 256 MiB: a path in a TOML, and a `NamedFile` in Python.

A path in a TOML is relative to the file that says it, any other one to the working directory. Name and content are
hashed into the config, whatever the folder, and copied into every run.
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
