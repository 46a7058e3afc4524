"""How far long work is, shown where Python is used by hand: in a notebook, or as lines where that is asked for.

A notebook is known by the kernel that runs it; IPython is not imported for that.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

#: Seconds between two changes of what a notebook shows, and between two lines elsewhere.
NOTEBOOK_EVERY, LINE_EVERY = 0.5, 5.0


def in_notebook() -> bool:
    """Whether a notebook's kernel runs this process, which shows more than text."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class ProgressBoard:
    """A few lines, by what they are about, that are shown anew as the work goes on.

    ``shown``: whether they are shown at all; None: in a notebook alone. There, they stay in their place below the
    cell; elsewhere what has changed is written to standard error every few seconds.
    """

    def __init__(self, shown: bool | None = None) -> None:
        self._notebook = in_notebook()
        self.shown = self._notebook if shown is None else shown
        self._lines: dict[str, str] = {}
        self._changed: set[str] = set()
        self._place: Any = None
        self._last = time.monotonic() if not self._notebook else -NOTEBOOK_EVERY

    def set(self, about: str, text: str, *, now: bool = False) -> None:
        """Note a line, and show the lines if it is time; ``now``: whether or not it is."""
        if not self.shown:
            return
        self._lines[about] = text
        self._changed.add(about)
        if now or time.monotonic() - self._last >= (NOTEBOOK_EVERY if self._notebook else LINE_EVERY):
            self._last = time.monotonic()
            self._show()

    def _show(self) -> None:
        if not self._notebook:
            for about in [about for about in self._lines if about in self._changed]:
                print(f"{about}: {self._lines[about]}", file=sys.stderr, flush=True)
            self._changed.clear()
            return
        text = {"text/plain": "\n".join(f"{about}: {line}" for about, line in self._lines.items())}
        if self._place is None:
            show: Callable[..., Any] = sys.modules["IPython"].display.display
            self._place = show(text, raw=True, display_id=True)
        else:
            self._place.update(text, raw=True)
