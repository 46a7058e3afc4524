"""How much room text takes, and where it is broken. Sizes of letters are in points, all else is in inches."""

from __future__ import annotations

import functools
import textwrap

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties

#: Sizes of letters in points.
TEXT, TITLE_OF_PANEL, TITLE = 8.0, 8.5, 10.0

#: A resolution that is fine enough to measure text in.
_DPI = 100


#: Marks where a name may be broken; no text holds it.
_SEAM = "\ue000"


def wrapped(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """Text broken into lines that fit a width."""
    # Fewer letters are tried until the lines fit, as a line may hold wider letters than the text on average.
    characters = 0.95 * len(text) * inches / max(text_width(text, points, weight), 0.01)
    longest = max(8, int(characters))
    # "k = 10" is kept in one piece.
    words = text.replace(" = ", "\u00a0=\u00a0").split(" ")
    # A name that is too long is broken behind its underscores, as far as that suffices.
    pieces = [word.replace("_", f"_{_SEAM} ") if len(word) > longest else word for word in words]
    filled = textwrap.fill(" ".join(pieces), longest).replace(f"_{_SEAM} ", "_").replace(_SEAM, "")
    return filled.replace("\u00a0", " ")


@functools.lru_cache(maxsize=4096)
def text_width(text: str, points: float, weight: str = "normal") -> float:
    """The width in inches of text, which may have several lines."""
    font = FontProperties(size=points, weight=weight)
    renderer = _renderer()
    widths = [renderer.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.splitlines()]
    return max(widths, default=0.0) / _DPI


def text_height(text: str, points: float) -> float:
    return 1.25 * points / 72 * len(text.splitlines())


@functools.cache
def _renderer() -> RendererBase:
    renderer: RendererBase = RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]
    return renderer
