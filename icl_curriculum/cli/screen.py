"""Where everything is printed. Names and messages come from outside: they are shown as they are, and obeyed never."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from icl_curriculum.cli.endings import OutputClosed
from icl_curriculum.core.printable import harmless


class Screen(Console):
    """A console that takes nothing in a text for markup, a colour, an emoji or a command to the terminal."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, soft_wrap=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(harmless(text), **settings)

    def on_broken_pipe(self) -> None:
        """What is raised when nobody reads what is printed any more."""
        self.quiet = True
        raise OutputClosed
