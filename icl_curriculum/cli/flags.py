"""The flags that every command takes, before its name or after it: --json, --quiet, --verbose and --debug.

Light: ``icl --help`` imports it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Annotated, Any

import typer

_GIVEN: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())


def forget() -> None:
    """Forget which flags were given: another command line is about to be read."""
    _GIVEN.set(frozenset())


def as_json() -> bool:
    """Whether standard output is to hold one JSON document instead of tables."""
    return "json" in _GIVEN.get()


def quiet() -> bool:
    """Whether progress and notes are left out, so that only results and errors are shown."""
    return "quiet" in _GIVEN.get()


def verbose() -> bool:
    """Whether details are shown: files that are written, devices, hashes, times."""
    return "verbose" in _GIVEN.get()


def _noting(name: str) -> Callable[[bool], None]:
    def note(asked: bool) -> None:
        # Parsed twice, before the command and after it: what is not given there does not undo what is given here.
        if asked:
            given = _GIVEN.get() | {name}
            if {"quiet", "verbose"} <= given:
                raise typer.BadParameter("--quiet and --verbose contradict each other; give one of them")
            _GIVEN.set(given)

    return note


def _flag(name: str, help: str, *short: str) -> Any:
    # Noted as soon as it is read, as it also decides how a mistake in the other arguments is told. Its metavar is
    # empty, as typer would show <bool> for a flag that takes no value.
    callback = _noting(name)
    return typer.Option(
        *short, f"--{name}", metavar="", expose_value=False, is_eager=True, callback=callback, help=help
    )


Json = Annotated[bool, _flag("json", "print one JSON document instead of tables")]
Quiet = Annotated[bool, _flag("quiet", "show results and errors alone: no progress, no notes", "-q")]
Verbose = Annotated[bool, _flag("verbose", "show details: devices, hashes, files written, times", "-v")]
Debug = Annotated[bool, _flag("debug", "show tracebacks")]

#: The names of these flags.
SHARED = ("json", "quiet", "verbose", "debug")
