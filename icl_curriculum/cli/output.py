"""Where what a command says goes: results to standard output, all else to standard error; or one JSON document.

The document has the tables that the terminal would show, row by row, under the names and with the columns of the CSV
files; beside them ``files``, what was written, and ``notes``, what was said. See docs/command_line.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from rich.table import Table

from icl_curriculum.cli import endings, flags
from icl_curriculum.cli.narrow import print_table
from icl_curriculum.cli.screen import Screen
from icl_curriculum.core.log import LOG


class ResultScreen(Screen):
    """Standard output. Where a bar is drawn on the same terminal, what is printed goes above it."""

    def print(self, *objects: Any, **settings: Any) -> None:
        if _BARS.get() and self.is_terminal and messages.is_terminal:
            messages.print(*objects, **settings)
        else:
            super().print(*objects, **settings)


_BARS: ContextVar[bool] = ContextVar("bars", default=False)
#: Standard output, for what was asked for.
results = ResultScreen()
#: Standard error, for progress, notes and warnings.
messages = Screen(stderr=True)


@dataclasses.dataclass
class Document:
    """What a command has to say so far."""

    parts: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: list[dict[str, str]] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


_DOCUMENT: ContextVar[Document | None] = ContextVar("document", default=None)


def _document() -> Document:
    found = _DOCUMENT.get()
    if found is None:
        found = Document()
        _DOCUMENT.set(found)
    return found


@contextlib.contextmanager
def bars_drawn() -> Iterator[None]:
    """Tell results that progress bars are drawn on standard error while the block runs."""
    before = _BARS.set(True)
    try:
        yield
    finally:
        _BARS.reset(before)


def progress(text: str) -> None:
    """Say how far a command is, unless --quiet is given."""
    if not flags.quiet():
        messages.print(text, soft_wrap=True)


def note(text: str, *, label: str = "", style: str | None = None) -> None:
    """Say what is to be known of the results, unless --quiet is given. ``label``: what stands first, in the style."""
    _document().notes.append(f"{label}{text}")
    if not flags.quiet():
        _labelled(label, style, text)


def failure(text: str, *, label: str = "failed: ") -> bool:
    """Say what failed, also if --quiet is given; returns False, and says nothing, where it was said before."""
    notes = _document().notes
    if f"{label}{text}" in notes:
        return False
    notes.append(f"{label}{text}")
    _labelled(label, "red", text)
    return True


def _labelled(label: str, style: str | None, text: str) -> None:
    if label:
        messages.print(label, style=style, end="")
    messages.print(text, soft_wrap=True)


def written(kind: str, path: str | Path, *, asked: bool = False) -> None:
    """Say where something was written. ``asked``: that is what the command was asked for, and so its result."""
    _document().files.append({"kind": kind, "path": str(path)})
    line = f"{kind + ':':<8} {path}"
    if not asked:
        progress(line)
    elif not flags.as_json():
        results.print(line, soft_wrap=True)


def show(text: str | Table, *, style: str | None = None, end: str = "\n") -> None:
    """Print a result, unless it is to be a JSON document: then `put` has it."""
    if flags.as_json():
        return
    if isinstance(text, str):
        # A terminal breaks lines between words; what goes into a pipe or a file is read by lines.
        results.print(text, style=style, end=end, soft_wrap=not results.is_terminal)
    else:
        print_table(results, text)


def put(**parts: Any) -> None:
    """Add parts to the JSON document; of one that must be called to be made, only if there is to be a document."""
    if flags.as_json():
        _document().parts |= {key: part() if callable(part) else part for key, part in parts.items()}


def put_all(made: Callable[[], Mapping[str, Any]]) -> None:
    """Add several parts to the JSON document that are made together, only if there is to be a document."""
    if flags.as_json():
        _document().parts |= made()


def plain_json(value: Any) -> Any:
    """A value as JSON has it: tables as lists of objects, and what is no finite number as null.

    >>> plain_json({"value": float("nan"), "path": Path("results"), "rows": (1, 2.5)})
    {'value': None, 'path': 'results', 'rows': [1, 2.5]}
    """
    if hasattr(value, "tolist") and not isinstance(value, list | tuple):
        value = value.tolist()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_json(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else _missing_or_text(value)


def _missing_or_text(value: Any) -> str | None:
    # pandas writes what is missing as NaT or NA, which differ from themselves or from nothing.
    return None if type(value).__name__ in ("NaTType", "NAType") else str(value)


@contextlib.contextmanager
def one_command(name: str) -> Iterator[None]:
    """Gather what a command says while the block runs; at its end print it as JSON if --json is given.

    Nothing is printed of a command that ends with an error: then standard output stays empty.
    """
    _DOCUMENT.set(None)
    began = time.monotonic()
    with _details_shown():
        try:
            yield
        except BaseException as end:
            # A command whose runs failed has ended all the same, and says what there is.
            if not _is_exit(end):
                raise
            _print(name)
            raise
        _print(name)
        LOG.info("%s took %.1f s", name, time.monotonic() - began)


def _is_exit(error: BaseException) -> bool:
    return hasattr(error, "exit_code") and not hasattr(error, "format_message")


def _print(name: str) -> None:
    if flags.as_json():
        document = _document()
        whole = {"command": name, **document.parts, "files": document.files, "notes": document.notes}
        endings.echo(json.dumps(plain_json(whole), ensure_ascii=True, indent=2, allow_nan=False))


class _ToMessages(logging.Handler):
    """Shows what the package logs among the messages."""

    def emit(self, record: logging.LogRecord) -> None:
        messages.print(record.getMessage(), style="dim", soft_wrap=True)


@contextlib.contextmanager
def _details_shown() -> Iterator[None]:
    """Show what the package logs while the block runs, if --verbose is given."""
    if not flags.verbose():
        yield
        return
    handler, level = _ToMessages(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
