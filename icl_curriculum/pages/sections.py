"""What a report is made of: sections of sentences, pictures and tables."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from matplotlib.figure import Figure

from icl_curriculum.core.notices import NotShown, said_if_not_shown
from icl_curriculum.figures.panels import styled
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

    @cached_property
    def image(self) -> str:
        """The figure as the address of an image that stands in the page itself."""
        return _image(self.figure)


@dataclass(frozen=True)
class PageTable:
    """A sortable table with its caption."""

    caption: str
    sheet: sheets.Sheet


@dataclass(frozen=True)
class PageSection:
    """A part of the page with an anchor of its own. ``drawn``: its pictures, or why they are not there."""

    anchor: str
    heading: str
    sentences: Sequence[str] = ()
    drawn: Sequence[Picture | NotShown] = ()
    tables: Sequence[PageTable] = ()

    @property
    def pictures(self) -> list[Picture]:
        """The pictures that could be drawn."""
        return [picture for picture in self.drawn if isinstance(picture, Picture)]

    @property
    def missed(self) -> list[NotShown]:
        """Why others could not."""
        return [picture for picture in self.drawn if isinstance(picture, NotShown)]


def drawn(draw: partial[Figure], caption: str, alternative: str, *, wide: bool = False) -> list[Picture | NotShown]:
    """A picture, or why it could not be drawn; none where there is nothing to draw."""
    made: list[Picture | NotShown] = []
    with said_if_not_shown(f"the figure {draw.func.__name__}", missed=made.append), contextlib.suppress(NothingToDraw):
        picture = Picture(draw(), caption, alternative, wide)
        # Some faults show only when the figure is written.
        _ = picture.image
        made.append(picture)
    return made


@styled
def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
