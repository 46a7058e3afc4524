"""What experiments, variants and components may be called: names of folders everywhere, and cells of every table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import quote

from icl_curriculum.core.errors import UserError

#: What a spreadsheet takes a cell for a formula by, and a command a name for an option.
_COMMANDING = ("=", "+", "-", "@")
#: The folders beside experiments, or within one, that are no experiments.
_RESERVED = ("aside", "figures", "plugins", "compare", "score", "bench")


def check_folder(key: str, name: str) -> None:
    """Raise UserError for what cannot be the name of a folder everywhere."""
    if not re.fullmatch(r"[\w=,+%-][\w=,+%. -]*", name):
        raise UserError(
            f"{key}: {name!r} cannot name a folder; expected letters, digits and any of - _ . = , + %, no dot in front"
        )
    check_length(key, name)


def check_length(key: str, name: str) -> None:
    """Raise UserError for a name that the file system has no room for, where figures are named for it too."""
    longest = 180
    if len(quote(name, safe=" =,+")) > longest:
        raise UserError(
            f"{key}: {name[:40]!r}... is too long for the name of a folder; expected at most {longest} characters, "
            f"of which letters beyond a to z count for several"
        )


def check_new_folder(key: str, name: str) -> None:
    """`check_folder` for what is begun now: also no option, no formula, and no folder that has another use.

    Runs that earlier versions wrote by such a name are still read.
    """
    check_folder(key, name)
    check_cell(key, name)
    if key.endswith("name") and name.casefold() in _RESERVED:
        raise UserError(f"the folder {name!r} has a use of its own; choose another name", key=key)


def check_cell(key: str, name: str) -> None:
    """Raise UserError for an id or a name that a spreadsheet takes for a formula, or a command for an option."""
    if name.startswith(_COMMANDING):
        raise UserError(
            f"{name[:40]!r} begins with {name[0]!r}, by which spreadsheets take a cell for a formula and commands a "
            f"name for an option; expected a letter, a digit or _ in front",
            key=key,
        )
    if not name.isprintable():
        raise UserError(f"{name[:40]!r} holds characters that no table or figure can show", key=key)


def check_apart(key: str, names: Iterable[str]) -> None:
    """Raise UserError for two names that are one folder where upper and lower case are the same."""
    met: dict[str, str] = {}
    for name in names:
        folder = unicodedata.normalize("NFC", name).casefold()
        if folder in met:
            raise UserError(
                f"{met[folder]!r} and {name!r} are one folder where case does not count; rename one", key=key
            )
        met[folder] = name
