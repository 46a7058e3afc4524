"""Where everything is printed. Names and messages come from outside: they are shown as they are, and obeyed never."""

from __future__ import annotations

import os
import re
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from icl_curriculum.cli.endings import OutputClosed
from icl_curriculum.core.printable import harmless

#: The width of what is not read on a terminal.
UNBOUNDED = 1000


class Screen(Console):
    """A console that takes nothing in a text for markup, a colour, an emoji or a command to the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=False, **settings)
        # Not what COLUMNS is while this module is imported, but what it is when something is printed.
        self._width = settings.get("width")

    @property
    def size(self) -> ConsoleDimensions:
        """Width and height; what goes into a pipe or a file is read by lines, which are as long as they are."""
        found = super().size
        columns = os.environ.get("COLUMNS", "")
        if self._width is not None or (self.is_terminal and not columns.isdigit()):
            return found
        return ConsoleDimensions(int(columns) if columns.isdigit() else UNBOUNDED, found.height)

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        self._width, self._height = new_size

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(harmless(text), **settings)

    def on_broken_pipe(self) -> None:
        """What is raised when nobody reads what is printed any more."""
        self.quiet = True
        raise OutputClosed


class Name:
    """An identifier in a cell of a table, which is broken between its words alone."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = re.findall(r"[^/:_ =]*[/:_ =]?", harmless(text))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = [cell_len(part) for part in self.parts]
        return Measurement(max(widths, default=0), sum(widths))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for part in self.parts:
            if lines[-1] and cell_len(lines[-1] + part) > options.max_width:
                lines.append("")
            lines[-1] += part
        yield Text("\n".join(line.rstrip(" ") for line in lines), overflow="fold")
