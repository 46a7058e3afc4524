"""What a report is made of: sections of sentences, pictures and tables."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from icl_curriculum.results.comparison import sheets
from icl_curriculum.results.tables import NothingToDraw


@dataclass(frozen=True)
class Picture:
    """A figure, what it shows in a sentence, and the same in words with numbers, for who cannot see it.

    ``wide``: whether it takes the width of several.
    """

    figure: Figure
    caption: str
    alternative: str
    wide: bool = False


@dataclass(frozen=True)
class PageTable:
    """A sortable table with its caption."""

    caption: str
    sheet: sheets.Sheet


@dataclass(frozen=True)
class PageSection:
    """A part of the page with an anchor of its own."""

    anchor: str
    heading: str
    sentences: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[PageTable] = ()


def drawn(draw: Callable[[], Figure], caption: str, alternative: str, *, wide: bool = False) -> list[Picture]:
    """A picture, or none where there is nothing to draw."""
    with contextlib.suppress(NothingToDraw):
        return [Picture(draw(), caption, alternative, wide)]
    return []
