"""What may be printed: text from outside without power over the terminal, and streams that take every character.

Light: it imports nothing beyond the standard library.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from typing import TextIO

# What moves the cursor, colours or turns text round: the control characters but for line feed and tab, marks of the
# direction of writing, separators of lines that only some programs know, and halves of characters, as which Python
# holds the bytes of a path that are no text.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

#: How what is not ASCII is written where a terminal or a file takes nothing else.
_READABLE = {
    "–": "-", "—": "-", "−": "-", "‑": "-", "×": "x", "·": "*", "±": "+-", "≤": "<=", "≥": ">=", "∞": "inf",
    "→": "->", "←": "<-", "…": "...", "‘": "'", "’": "'", "“": '"', "”": '"', "†": "+", "✓": "x", "²": "^2",
    "³": "^3", "α": "alpha", "β": "beta", "λ": "lambda", "μ": "mu", "π": "pi", "σ": "sigma", "\u00a0": " ",
    "ß": "ss", "•": "*",
}  # fmt: skip


def harmless(text: str) -> str:
    """The text with what a terminal would obey instead of showing it written out; line feeds and tabs stay.

    Bytes that are no text, in the name of a file say, are written as ``\\\\xe9``.

    >>> print(harmless("\\x1b[31mred, \\u202e and r\\udce9sultats"))
    \\u001b[31mred, \\u202e and r\\xe9sultats
    """
    return _UNPRINTABLE.sub(lambda found: _written_out(found[0]), text)


def in_a_cell(name: str) -> str:
    """The name of a folder as a cell of a table holds it: one line of text, and no formula to a spreadsheet.

    >>> in_a_cell("=cmd()"), in_a_cell("results")
    ('./=cmd()', 'results')
    """
    line = harmless(name).replace("\n", "\\n").replace("\t", "\\t")
    return f"./{line}" if line.startswith(("=", "+", "-", "@")) else line


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def readable(text: str) -> str:
    """The text in ASCII, as close as that comes: ``<=`` for the sign, letters without their accents.

    >>> readable("café: 1–2 × d, k ≤ 4, 線")
    'cafe: 1-2 x d, k <= 4, \\\\u7dda'
    """
    return "".join(character if character.isascii() else _in_ascii(character) for character in text)


def _in_ascii(character: str) -> str:
    if character in _READABLE:
        return _READABLE[character]
    plain = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    if plain and plain.isascii():
        return plain
    return _written_out(character) if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return readable(error.object[error.start : error.end]), error.end


codecs.register_error("icl-readable", _replaced)


def make_tolerant(stream: TextIO | None, *, encoding: str | None = None) -> None:
    """Have a stream write what its encoding lacks as close as that comes (`readable`) instead of failing.

    ``encoding``: another encoding for it. A stream that is no file is left as it is.
    """
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding=encoding, errors="icl-readable")
