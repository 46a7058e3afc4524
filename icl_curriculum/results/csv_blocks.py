"""Reading a large CSV file block by block: no more of it is held as text, and a block is checked before it is parsed.

A file is refused, with a ValueError or a csv.Error that says what is wrong with it, unless it is UTF-8 without control
characters and each of its lines is whole and has a cell for each column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

#: The bytes of a block, as far as its lines allow.
BLOCK = 2**24

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: The same as bytes.
_CONTROL_BYTES = bytes(code for code in range(128) if _CONTROL.match(chr(code)))


def csv_blocks(file: BinaryIO) -> tuple[list[str], Iterator[bytes]]:
    """The header of a CSV file, and its other lines in blocks, each of which is checked when it is asked for."""
    first = file.readline()
    _check_characters(first)
    header = next(csv.reader([first.decode()], strict=True), [])
    # Of two columns with one name, pandas would rename one.
    if not header or len(set(header)) < len(header):
        raise ValueError("its first line is not the table's header")
    if not first.endswith(b"\n"):
        raise ValueError(_CUT_OFF)
    return header, _checked(file, len(header))


_CUT_OFF = "its last line is cut off"


def _checked(file: BinaryIO, columns: int) -> Iterator[bytes]:
    lines = 1
    for block in _whole_lines(file):
        _check_characters(block)
        lines += _count_lines(block, columns, lines)
        if not block.endswith(b"\n"):
            raise ValueError(_CUT_OFF)
        yield block


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Blocks that end with a line, the last one however the file ends."""
    rest = b""
    while more := file.read(BLOCK):
        rest += more
        if end := _end_of_lines(rest):
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > BLOCK:
            raise ValueError("a quotation mark is never closed")
    if rest:
        yield rest


def _end_of_lines(text: bytes) -> int:
    """Where the last whole line ends. A line feed between quotation marks ends none."""
    if b'"' not in text:
        return text.rfind(b"\n") + 1
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    outside = ends[np.searchsorted(np.flatnonzero(codes == ord('"')), ends) % 2 == 0]
    return int(outside[-1]) + 1 if len(outside) else 0


def _check_characters(block: bytes) -> None:
    if len(block.translate(None, _CONTROL_BYTES)) < len(block) and (found := _CONTROL.search(block.decode())):
        raise ValueError(f"it holds the control character {found.group()!r}")
    if not block.isascii():
        block.decode()


def _count_lines(block: bytes, columns: int, before: int) -> int:
    """The number of lines, each of which has a cell for each column. ``before``: the lines before the block."""
    codes = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    longest = int(np.diff(ends, prepend=-1).max())
    # csv.reader takes four times as long, and is only asked about what is not plain.
    if b'"' in block or b"\r" in block or longest > csv.field_size_limit():
        rows = csv.reader(io.StringIO(block.decode(), newline=""), strict=True)
        for row in rows:
            _check_cells(len(row), columns, before + rows.line_num)
        return rows.line_num
    cells = np.diff(np.searchsorted(np.flatnonzero(codes == ord(",")), ends), prepend=0) + 1
    # A line without anything has no cell.
    cells[np.diff(ends, prepend=-1) == 1] = 0
    if len(wrong := np.flatnonzero(cells != columns)):
        _check_cells(int(cells[wrong[0]]), columns, before + int(wrong[0]) + 1)
    return len(ends)


def _check_cells(found: int, expected: int, line: int) -> None:
    if found != expected:
        raise ValueError(f"line {line} has {found} cells, expected {expected}")
