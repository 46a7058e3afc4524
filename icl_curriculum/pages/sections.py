"""What a report is made of: sections of sentences, pictures and tables."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from urllib.parse import quote

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
    #: The same for a window as wide as a telephone, where there is one.
    narrow: Figure | None = None
    #: The name of the function that drew it, as files of it have it, with the variant's if it is of one of several.
    figure_name: str = ""

    @cached_property
    def image(self) -> str:
        """The figure as the address of an image that stands in the page itself."""
        return _image(self.figure)

    @property
    def inches(self) -> float:
        """How wide it is as printed: letters of all figures are to be of one size."""
        return float(self.figure.get_figwidth())

    @cached_property
    def narrow_image(self) -> str:
        """The same of the narrow figure; empty without one."""
        return "" if self.narrow is None else _image(self.narrow)


@dataclass(frozen=True)
class DrawnFile:
    """A figure that was drawn before, as it lies in the experiment's folder: its ``image``, and what it is of."""

    image: str
    caption: str
    alternative: str
    wide: bool = False
    narrow_image: str = ""
    figure_name: str = ""
    inches: float = 7.2


@dataclass(frozen=True)
class PageTable:
    """A sortable table with its caption."""

    caption: str
    sheet: sheets.Sheet


@dataclass(frozen=True)
class PageSection:
    """A part of the page with an anchor of its own. ``drawn``: its pictures, or why they are not there.

    ``listed``: sentences of one kind, each on a class or a variant. ``folded``: what the fold of the pictures is
    called, where they are folded; empty where they are open.
    """

    anchor: str
    heading: str
    sentences: Sequence[str] = ()
    drawn: Sequence[Picture | DrawnFile | NotShown] = ()
    tables: Sequence[PageTable] = ()
    listed: Sequence[str] = ()
    folded: str = ""
    #: The same of the tables.
    folded_tables: str = ""

    @property
    def pictures(self) -> list[Picture | DrawnFile]:
        """The pictures that could be drawn."""
        return [picture for picture in self.drawn if not isinstance(picture, NotShown)]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.pictures or self.tables or self.sentences or self.listed)

    @property
    def missed(self) -> list[NotShown]:
        """Why others could not."""
        return [picture for picture in self.drawn if isinstance(picture, NotShown)]


def drawn(
    draw: partial[Figure], caption: str, alternative: str, *, wide: bool = False, narrow: partial[Figure] | None = None
) -> list[Picture | NotShown]:
    """A picture, or why it could not be drawn; none where there is nothing to draw.

    ``narrow``: draws the same for a window as wide as a telephone.
    """
    made: list[Picture | NotShown] = []
    with said_if_not_shown(f"the figure {draw.func.__name__}", missed=made.append), contextlib.suppress(NothingToDraw):
        picture = Picture(draw(), caption, alternative, wide, None if narrow is None else narrow(), _name(draw))
        # Some faults show only when the figure is written.
        _ = picture.image, picture.narrow_image
        made.append(picture)
    return made


def _name(draw: partial[Figure]) -> str:
    """What a file of the figure is called, without its ending."""
    variant = draw.keywords.get("variant")
    return draw.func.__name__ + (f"_{quote(variant, safe='=,+')}" if variant else "")


@styled
def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    # Without a ground of its own, a figure stands on the page's.
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return address_of(buffer.getvalue())


def address_of(svg: bytes) -> str:
    """An SVG file as the address of an image that stands in the page itself."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
