"""What a plugin reads from its own folder, held to the data files that it names: others are neither hashed nor copied.

Seen is what Python opens, by whatever library, while code of the plugin is at work. Not seen is what a library opens
without Python, what lies elsewhere, and names of files that are only looked up.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.plugin_files import DATA_FILES, PluginFiles

#: The plugins that are looked after, by the names of their modules.
_WATCHED: dict[str, PluginFiles] = {}
#: Their modules by the folders that they are looked after in: files are opened far more often than plugins loaded.
_BY_FOLDER: dict[str, list[str]] = {}
#: What was read that should not have been, in words, in case that the plugin goes on nevertheless.
_STRAYED: list[str] = []
#: Whether the hook itself opens a file.
_OWN = threading.local()


class StrayRead(UserError):
    """A plugin reads from its own folder what it does not name."""


def watch_reads(module: str, files: PluginFiles) -> None:
    """From now on, refuse what a plugin reads from its folder without having named it (``data_files``)."""
    if not _WATCHED:
        sys.addaudithook(_look)  # Never removed, which Python does not allow.
    _WATCHED[module] = files
    for folder in _folders(files):
        _BY_FOLDER.setdefault(folder, []).append(module)


@contextlib.contextmanager
def no_strays() -> Iterator[None]:
    """StrayRead if a plugin reads within the block what it does not name, even if it goes on when that is refused."""
    before = len(_STRAYED)
    try:
        yield
    finally:
        strayed = _STRAYED[before:]
        del _STRAYED[before:]
        if strayed:
            raise StrayRead(strayed[0])


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or getattr(_OWN, "reading", False):
        return
    path, mode, flags = arguments
    if isinstance(path, int) or path is None or not _is_reading(mode, flags):
        return
    given = os.fsdecode(path)
    place = os.path.abspath(given)
    for module in _modules_around(place):
        files = _WATCHED[module]
        folder = next((each for each in _folders(files) if place.startswith(f"{each}{os.sep}")), None)
        if folder is None:
            continue
        inside = Path(place).relative_to(folder)
        # A worker's copy lacks what nobody named.
        there = os.path.isfile(place) or (files.known_as.parent / inside).is_file()
        if there and _is_at_work(module):
            _expect_named(files, given, inside, copied=folder == str(files.place.parent))


def _folders(files: PluginFiles) -> tuple[str, str]:
    """Where a plugin lies, and where it was written."""
    return str(files.place.parent), str(files.known_as.parent)


def _modules_around(place: str) -> list[str]:
    """The plugins that are looked after in one of the folders that a file lies in."""
    found: dict[str, None] = {}
    folder = os.path.dirname(place)
    while True:
        found.update(dict.fromkeys(_BY_FOLDER.get(folder, ())))
        above = os.path.dirname(folder)
        if above == folder:
            return [*found]
        folder = above


def _is_reading(mode: str | None, flags: int) -> bool:
    return flags & (os.O_WRONLY | os.O_RDWR) == 0 if mode is None else "r" in mode and "+" not in mode


def _is_at_work(module: str) -> bool:
    """Whether code of a plugin is among what is being executed by this thread."""
    return any(f"{name}.".startswith(f"{module}.") for name in _executing())


def _executing() -> Iterator[str]:
    frame = sys._getframe(2)
    while frame is not None:
        yield str(frame.f_globals.get("__name__", ""))
        frame = frame.f_back  # type: ignore[assignment]


def _expect_named(files: PluginFiles, given: str, inside: PurePath, *, copied: bool) -> None:
    name = inside.as_posix()
    own_code = {files.place.name, *(path for path in files.beside if path not in files.data)}
    if name in own_code or ("__pycache__" in inside.parts and inside.suffix != ".pyc"):
        return  # As whoever shows a line of code does, and compilers that keep what they made.
    if name not in files.data:
        source = inside.parent.parent / f"{inside.name.partition('.')[0]}.py"
        name = source.as_posix() if inside.suffix == ".pyc" else name
        way_out = (
            "import it by an import statement" if inside.suffix in (".py", ".pyc")
            else f'write {DATA_FILES} = ["{name}"] at the top of {files.known_as.name}'
        )  # fmt: skip
        _refuse(
            f"plugin file {files.known_as}: reads {name} from its own folder without naming it, so that neither its "
            f"content is part of what the run is, nor a copy of it goes with the run; {way_out}"
        )
    if not os.path.isabs(given) or not copied:
        _refuse(
            f"plugin file {files.known_as}: reads {given} in the folder that it was written in, where a copy of the "
            f"plugin does not find it; expected Path(__file__).parent / {name!r}"
        )
    _OWN.reading = True
    try:
        found = (files.place.parent / inside).read_bytes()
    finally:
        _OWN.reading = False
    if found != files.beside[name]:
        _refuse(f"plugin file {files.known_as}: {name} has changed since the plugin was loaded; start again")


def _refuse(message: str) -> None:
    _STRAYED.append(message)
    raise StrayRead(message)
