"""The errors that users see, and how a cause or a misspelt name is worded.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


class UserError(Exception):
    """A mistake in what the user wrote. The command line prints it and exits with code 2.

    The message is ``source: key: subject: reason; way_out``, of which only the reason must be given. ``source``: the
    file or the option that holds the mistake; ``key``: the dotted key there; ``subject``: the component that cannot be
    what is asked for, by name or id; ``way_out``: what to set in an experiment file. Whoever adds to a message reads
    these, never its words. ``mistakes``: itself, or each of several that are told at once (`SeveralMistakes`).

    >>> print(UserError("expected 1 dimension, found 3", subject="chebyshev", way_out="set dims = 1"))
    chebyshev: expected 1 dimension, found 3; set dims = 1
    """

    def __init__(self, reason: str, *, key: str = "", subject: str = "", way_out: str = "", source: str = "") -> None:
        text = ": ".join(filter(None, (source, key, subject, reason))) + (f"; {way_out}" if way_out else "")
        super().__init__(_cut(text) if source else text)
        self.reason, self.key, self.subject, self.way_out, self.source = reason, key, subject, way_out, source

    @property
    def mistakes(self) -> tuple[UserError, ...]:
        """All mistakes that it tells of: itself alone, unless they are several."""
        return (self,)

    def found_in(self, source: str) -> UserError:
        """The same mistake, found in a file or an option."""
        return UserError(self.reason, key=self.key, subject=self.subject, way_out=self.way_out, source=source)


class SeveralMistakes(UserError):
    """Mistakes that are told at once, a line each. ``mistakes``: each with its own ``source``, ``key`` and reason."""

    def __init__(self, mistakes: Sequence[UserError]) -> None:
        lines = [str(mistake) for mistake in mistakes[:MOST]]
        left = len(mistakes) - MOST
        more = f"{mistakes[0].source}: and {left} more" if mistakes[0].source else f"and {left} more"
        super().__init__("\n".join(lines + [more] * (left > 0)))
        self._mistakes = tuple(mistakes)

    @property
    def mistakes(self) -> tuple[UserError, ...]:
        return self._mistakes

    def found_in(self, source: str) -> UserError:
        return SeveralMistakes([mistake.found_in(source) for mistake in self._mistakes])


class BadArguments(SeveralMistakes, ValueError):
    """Arguments in Python that a component or a table of a config does not take.

    It is a ValueError, too, so that pydantic gathers it with others where a validator raises it.
    """


def together(mistakes: Sequence[UserError]) -> UserError:
    """One error for all mistakes: the only one itself, or `SeveralMistakes`."""
    return mistakes[0] if len(mistakes) == 1 else SeveralMistakes(mistakes)


#: Characters of a line on what stands in a file, and lines of a message on several mistakes.
LONGEST, MOST = 1000, 20


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 200]} … {text[-200:]}"


class RunFailed(Exception):
    """A run, or another long piece of work, that started and could not finish; what it wrote is kept.

    ``reason``: why, without the name; ``run``: what failed, with which the message begins; None where the reason
    names it. ``results``: the `Results` of the runs that finished, where ``icl_curriculum.run`` raises it.
    """

    def __init__(self, reason: str, *, run: str | None = None, results: Any = None) -> None:
        super().__init__(reason if run is None else f"{run}: {reason}")
        self.reason, self.run, self.results = reason, run, results


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` with the closest known name, or else the list of all known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {_listed(known)}" if known else ""


def _listed(names: list[str]) -> str:
    """The names in alphabetical order; of very many the first, and how many there are."""
    shown = [name for i, name in enumerate(names) if len(", ".join(names[: i + 1])) <= _LONGEST_LIST]
    return ", ".join(names) if len(shown) == len(names) else f"{', '.join(shown)}, … ({len(names)} in all)"


#: Letters of the longest list of known names that is given whole.
_LONGEST_LIST = 240


def closest_and_known(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'? known: x, y``: the closest known name, if one is close, and the list of them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}? known: {_listed(known)}" if close else did_you_mean(name, known)


def described(error: BaseException, source: str | Path | None = None) -> str:
    """Returns an exception as one line, such as ``KeyError: 'w' (my_class.py, line 12)``.

    ``source``: the file whose innermost line in the traceback is named.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    text = " ".join(text.split())
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(source)]
    return f"{text} ({Path(str(source)).name}, line {lines[-1]})" if lines else text
