"""Values on the command line: those of ``--set`` and ``--sweep``, as TOML writes them, and bare words as text."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from icl_curriculum.config.mistakes import named, refuse_impossible
from icl_curriculum.core.errors import UserError

#: What Python does not read, and no experiment needs.
TOO_MUCH = "it holds a number of thousands of digits, or brackets in hundreds of brackets"

_CLOSING = {"[": "]", "{": "}"}


def parse_value(text: str, source: str) -> Any:
    """The value that a text is in TOML; what is none is taken as a text. UserError that begins with ``source``."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        table = {"value": text}
    except (ValueError, RecursionError):
        raise UserError(TOO_MUCH, source=source) from None
    if list(table) != ["value"]:
        raise UserError("expected one value, found several lines of TOML", source=source)
    return table["value"]


def parse_sweeps(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Reads ``model.width=8,16`` as values of a dotted key, each as that of ``--set``; UserError for anything else.

    A comma within brackets, braces or quotes belongs to the value.
    """
    found: dict[str, list[Any]] = {}
    for text in texts:
        option = f"--sweep {named(text)}"
        key, separator, values = text.partition("=")
        key = key.strip()
        if not separator or not all(key.split(".")):
            raise UserError(f"{option}: expected key=value,value,... with a dotted key, e.g. --sweep model.width=16,32")
        if key in found:
            raise UserError(f"{option}: {key} is swept twice; give all of its values in one --sweep")
        parts = split_values(values)
        if not all(parts):
            raise UserError(f"{option}: expected a value on either side of every comma, e.g. --sweep model.width=16,32")
        found[key] = [parse_value(part, option) for part in parts]
        try:
            refuse_impossible({key: found[key]})
        except UserError as error:
            raise error.found_in(option) from None
    return found


def split_values(text: str) -> list[str]:
    """The parts between commas that stand in no brackets, braces or quotes.

    >>> split_values("8, [1, 2], 'a,b', mixed")
    ['8', '[1, 2]', "'a,b'", 'mixed']
    """
    parts, closing, quote, begun = list[str](), list[str](), "", 0
    for place, letter in enumerate(text):
        if quote:
            if letter == quote and not (quote == '"' and _is_escaped(text, place)):
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif letter in _CLOSING:
            closing.append(_CLOSING[letter])
        elif closing and letter == closing[-1]:
            closing.pop()
        elif letter == "," and not closing:
            parts.append(text[begun:place])
            begun = place + 1
    return [part.strip() for part in [*parts, text[begun:]]]


def _is_escaped(text: str, place: int) -> bool:
    """Whether a letter is escaped: an odd number of backslashes stands before it."""
    before = text[:place]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
