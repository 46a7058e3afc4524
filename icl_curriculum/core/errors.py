"""The errors that users see, and how a cause or a misspelt name is worded.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """A mistake in what the user wrote. The command line prints it and exits with code 2."""


class RunFailed(Exception):
    """A run, or another long piece of work, that started and could not finish; what it wrote is kept.

    ``reason``: why, without the name; ``run``: what failed, with which the message begins; None where the reason
    names it.
    """

    def __init__(self, reason: str, *, run: str | None = None) -> None:
        super().__init__(reason if run is None else f"{run}: {reason}")
        self.reason, self.run = reason, run


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` with the closest known name, or else the list of all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def described(error: BaseException, source: str | Path | None = None) -> str:
    """Returns an exception as one line, such as ``KeyError: 'w' (my_class.py, line 12)``.

    ``source``: the file whose innermost line in the traceback is named.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    text = " ".join(text.split())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(source)]
    return f"{text} ({Path(str(source)).name}, line {lines[-1]})" if lines else text
