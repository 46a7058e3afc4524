"""Tables of errors as numbers on coloured cells, of which heat maps are made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from icl_curriculum.figures.lettering import TEXT, text_height, text_width, wrapped
from icl_curriculum.figures.names import ZERO
from icl_curriculum.figures.panels import MARGIN, PanelGrid
from icl_curriculum.figures.scales import error_label
from icl_curriculum.results.shown_metric import shown_metric

#: The lightness of these colours grows all the way, and they look alike to readers with any colour vision.
COLOURS = matplotlib.colormaps["viridis"]

#: Errors outside these bounds have the colours of the bounds. Within them the colours span the errors of the figure.
BEST, WORST = 0.001, 100.0
#: The colours span at least this factor, so that errors which hardly differ have colours which hardly differ.
_LEAST_SPAN = 3.0

_GREY = "#606060"
_MISSING: dict[str, Any] = {"facecolor": "#FAFAFA", "edgecolor": "#C4C4C4", "hatch": "////", "linewidth": 0.0}
_OUTLINE: dict[str, Any] = {"fill": False, "edgecolor": "black", "linewidth": 1.4}
_DAGGER = "†"

#: Inches.
_NARROWEST_CELL, _LOWEST_CELL = 0.44, 0.25
_ROW_LABEL, _COLUMN_LABEL = 3.0, 1.5
_BAR_WIDTH, _BAR_HEIGHT, _BAR_STRIP = 2.6, 0.1, 0.62
_GAP = 0.07
NARROWEST_FIGURE = 4.4


@dataclass(frozen=True)
class NumberTable:
    """Errors by row and column: ``numbers`` has NaN where there is none, ``by_median`` says which are median errors.

    ``outlined``: the rows and columns of the cells that are marked; ``outline``: what the mark means. ``headings``:
    rows that are the heading of those below and hold no numbers. ``what``: of what kind the numbers are.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    numbers: NDArray[np.float64]
    by_median: NDArray[np.bool_]
    outlined: frozenset[tuple[int, int]]
    outline: str
    headings: frozenset[int] = frozenset()
    what: str = "error"

    def texts(self) -> list[list[str]]:
        lines = zip(self.numbers, self.by_median, strict=True)
        return [
            [
                "" if i in self.headings else error_text(number) + _DAGGER * bool(median)
                for number, median in zip(*line, strict=True)
            ]
            for i, line in enumerate(lines)
        ]


def table_figure(
    table: NumberTable, metric: str, *, title: str | None, variant: str | None = None, note: Iterable[str],
    narrowest: float = NARROWEST_FIGURE, scale: str | None = None,
) -> Figure:  # fmt: skip
    """The table with a colour for each number, and the scale of the colours below it.

    ``metric``: the metric of the numbers that are no medians; ``title`` and ``note`` as in `PanelGrid.finish`;
    ``narrowest``: the least width; ``scale``: what the scale of the colours is of, if not of errors.
    """
    table, folded = _without_empty_rows(table)
    texts = table.texts()
    layout = _Layout.of(table.rows, table.columns, texts, narrowest)
    grid = PanelGrid.of(1, columns=1, height=layout.height, width=layout.width)
    axes = grid.axes[0]
    mesh = _draw_cells(axes, table, texts)
    for i, j in sorted(table.outlined):
        _outline(axes, i, j, gid=table.outline, inset=layout.inset)
    handles: dict[str, Artist] = {}
    if table.outlined:
        handles[table.outline] = Patch(**_OUTLINE)
    if np.isnan(np.delete(table.numbers, list(table.headings), axis=0)).any():
        handles["n/a: undefined, or not evaluated"] = Patch(**_MISSING)
    said = [*note, *folded]
    said += [f"{_DAGGER} median {table.what}, as the mean is infinite."] * bool(table.by_median.any())
    said += ["∞: the model's predictions overflowed."] * bool(np.isinf(table.numbers).any())
    bottom, _ = grid.frame(title, variant, said, handles)
    bar = grid.figure.add_subplot()
    _draw_scale(grid.figure, bar, mesh, table.numbers)
    level = shown_metric().trivial
    if scale is None and level is not None and mesh.norm.vmin <= level <= mesh.norm.vmax:  # type: ignore[operator]
        bar.axvline(level, -0.45, 1.45, color="black", linewidth=2, clip_on=False, gid=ZERO)
    bar.set_xlabel(error_label(metric).replace("\n", " ") if scale is None else scale, labelpad=2)
    layout.place(grid.figure, axes, bar, bottom)
    for i in table.headings:
        axes.get_yticklabels()[i].set_fontweight("bold")
    return grid.figure


def error_text(error: float) -> str:
    """Words an error in few characters, to two significant digits; ``n/a`` for none.

    >>> [error_text(error) for error in (0.0553, 0.996, 1.24, 13.2, 134.0, 25_000.0, 0.00034)]
    ['0.055', '1.0', '1.2', '13', '130', '2e4', '3e-4']
    """
    if math.isnan(error):
        return "n/a"
    if error == 0 or math.isinf(error):
        return "∞" if error else "0"
    digits, exponent = f"{error:.1e}".split("e")
    power = int(exponent)
    if not -3 <= power <= 3:
        digits, exponent = f"{error:.0e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{float(digits) * 10.0**power:.{max(0, 1 - power)}f}"


def _draw_cells(axes: Axes, table: NumberTable, texts: Sequence[Sequence[str]]) -> QuadMesh:
    """Draw the coloured cells with their numbers."""
    numbers = table.numbers
    missing = np.isnan(numbers)
    scale = _colour_scale(numbers[~missing])
    coloured = np.ma.array(np.clip(numbers, scale.vmin, scale.vmax), mask=missing)
    # The best numbers are dark.
    palette = COLOURS if shown_metric().improves == "down" else COLOURS.reversed()
    mesh = axes.pcolormesh(coloured, cmap=palette, norm=scale, edgecolors="white", linewidth=0.8)
    colours = palette(scale(coloured))
    for (i, j), absent in np.ndenumerate(missing):
        if i in table.headings:
            continue
        if absent:
            axes.add_patch(Rectangle((j, i), 1, 1, gid="n/a", **_MISSING))
        colour = _GREY if absent else text_colour(tuple(colours[i, j]))
        axes.text(j + 0.5, i + 0.5, texts[i][j], ha="center", va="center", color=colour)
    axes.set(xlim=(0, numbers.shape[1]), ylim=(numbers.shape[0], 0))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return mesh


def _outline(axes: Axes, i: int, j: int, *, gid: str, inset: tuple[float, float]) -> None:
    """Mark a cell by an outline; ``inset``: its distance from the edges, in widths and heights of a cell."""
    x, y = inset
    box = Rectangle((j + x, i + y), 1 - 2 * x, 1 - 2 * y, gid=gid, zorder=3, **_OUTLINE)
    # White around the black shows it on the darkest colours too.
    box.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.add_patch(box)


def _draw_scale(figure: Figure, axes: Axes, mesh: QuadMesh, numbers: NDArray[np.float64]) -> None:
    """Draw the colour bar."""
    bar = figure.colorbar(mesh, cax=axes, orientation="horizontal")
    # No seams between the colours in viewers that smooth edges.
    bar.solids.set_edgecolor("face")  # type: ignore[union-attr]
    if shown_metric().chosen is None:
        low, high = _range(numbers)
        span = high / low
        steps = (1, 2, 5) if span < 50 else (1, 3) if span < 300 else (1,)
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        near = 1 + 1e-9
        ticks = [step * 10.0**e for e in decades for step in steps if low / near <= step * 10.0**e <= high * near]
        below, above = bool((numbers < low / near).any()), bool((numbers > high * near).any())
        labels = [f"{tick:g}" for tick in ticks]
        if below and ticks[0] <= low * near:
            labels[0] = f"≤{labels[0]}"
        if above and ticks[-1] >= high / near:
            labels[-1] = f"≥{labels[-1]}"
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.xaxis.set_minor_locator(NullLocator())


def _colour_scale(numbers: NDArray[np.float64]) -> Normalize:
    """The scale from the best to the worst colour, over the numbers that there are."""
    shown = shown_metric()
    if shown.chosen is None:
        return LogNorm(*_range(numbers))
    finite = numbers[np.isfinite(numbers)]
    if shown.improves == "up" or not len(finite):
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
        return Normalize(low, high if high > low else low + 1)
    if shown.trivial is not None and shown.trivial > 0:
        return LogNorm(BEST * shown.trivial, WORST * shown.trivial)
    low, high = np.clip([finite.min(), finite.max()], 1e-6, None)
    return LogNorm(float(low), float(high) if high > low else float(low) * 10)


def _range(numbers: NDArray[np.float64]) -> tuple[float, float]:
    """The range of errors in round numbers, 1, 2 or 5 times a power of ten, within the bounds of what has colours."""
    inside = numbers[np.isfinite(numbers)]
    if not len(inside):
        return 0.1, 1.0
    low, high = np.clip([inside.min(), inside.max()], BEST, WORST)
    rounds = np.array([step * 10.0**e for e in range(-4, 3) for step in (1, 2, 5)])
    first = max(float(rounds[rounds <= low * (1 + 1e-9)].max()), BEST)
    last = float(rounds[rounds >= high * (1 - 1e-9)].min())
    while last / first < _LEAST_SPAN:
        last = float(rounds[rounds > last * (1 + 1e-9)].min())
    return first, last


def _without_empty_rows(table: NumberTable) -> tuple[NumberTable, list[str]]:
    """The table without rows that hold no number, and a sentence that names them."""
    empty = [
        i for i, line in enumerate(table.numbers) if np.isnan(line).all() and i not in table.headings
    ]  # fmt: skip
    if not empty or len(empty) == len(table.rows) - len(table.headings):
        return table, []
    kept = [i for i in range(len(table.rows)) if i not in empty]
    # A heading of which nothing is left goes with its rows.
    kept = [
        i for place, i in enumerate(kept)
        if i not in table.headings or (place + 1 < len(kept) and kept[place + 1] not in table.headings)
    ]  # fmt: skip
    place = {i: new for new, i in enumerate(kept)}
    made = replace(
        table, rows=[table.rows[i] for i in kept], numbers=table.numbers[kept], by_median=table.by_median[kept],
        outlined=frozenset((place[i], j) for i, j in table.outlined if i in place),
        headings=frozenset(place[i] for i in table.headings if i in place),
    )  # fmt: skip
    names = ", ".join(dict.fromkeys(table.rows[i] for i in empty))
    return made, [f"Undefined or not evaluated throughout, and left out: {names}."]


def text_colour(background: tuple[float, float, float, float]) -> str:
    """Black or white, whichever has the greater contrast by WCAG 2's relative luminance."""
    channels = np.array(to_rgb(background))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    return "black" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "white"


@dataclass(frozen=True)
class _Layout:
    """Sizes and places in inches. Column labels rise towards their columns at 45 degrees."""

    rows: Sequence[str]
    columns: Sequence[str]
    cell_width: float
    cell_height: float
    narrowest: float

    @classmethod
    def of(
        cls, rows: Sequence[str], columns: Sequence[str], texts: Sequence[Sequence[str]], narrowest: float
    ) -> _Layout:
        """A layout with room for every text: ``rows`` and ``columns`` are labels, ``texts`` stand in the cells."""
        rows = [wrapped(label, _ROW_LABEL, TEXT) for label in rows]
        width = _COLUMN_LABEL
        while any(wrapped(label, width, TEXT).count("\n") > 1 for label in columns):
            width *= 1.2
        columns = [wrapped(label, width, TEXT) for label in columns]
        widest = max(text_width(text, TEXT) for line in texts for text in line)
        highest = max(text_height(label, TEXT) for label in rows)
        return cls(rows, columns, max(_NARROWEST_CELL, widest + 0.1), max(_LOWEST_CELL, highest + _GAP), narrowest)

    @property
    def left(self) -> float:
        """The room left of the cells, for labels of the rows or of the first columns."""
        taken = [text_width(label, TEXT) + _GAP for label in self.rows]
        taken += [self._reach(label) - (j + 0.5) * self.cell_width for j, label in enumerate(self.columns)]
        return MARGIN + max(taken)

    @property
    def below(self) -> float:
        """The room below the cells, for the labels of the columns."""
        return self._drop + max(self._reach(label) for label in self.columns)

    @property
    def width(self) -> float:
        return max(self.narrowest, self.left + len(self.columns) * self.cell_width + 2 * MARGIN)

    @property
    def height(self) -> float:
        """The height of everything between the note and the legend."""
        return len(self.rows) * self.cell_height + self.below + _BAR_STRIP

    @property
    def inset(self) -> tuple[float, float]:
        return 0.02 / self.cell_width, 0.02 / self.cell_height

    @property
    def _drop(self) -> float:
        """The distance from the cells to the middle of the labels' ends."""
        return _GAP + max(text_height(label, TEXT) for label in self.columns) / 2 * math.sqrt(0.5)

    @staticmethod
    def _reach(label: str) -> float:
        """How far a label extends from its end, both to the left and down."""
        return (text_width(label, TEXT) + text_height(label, TEXT) / 2) * math.sqrt(0.5)

    def place(self, figure: Figure, axes: Axes, bar: Axes, bottom: float) -> None:
        """Put the cells with their labels and the colour bar above ``bottom``."""
        figure_width, figure_height = self.width, figure.get_figheight()
        width, height = len(self.columns) * self.cell_width, len(self.rows) * self.cell_height
        places = {
            axes: (self.left, bottom + _BAR_STRIP + self.below, width, height),
            bar: ((figure_width - _BAR_WIDTH) / 2, bottom + _BAR_STRIP / 2, _BAR_WIDTH, _BAR_HEIGHT),
        }
        for placed, (x, y, w, h) in places.items():
            placed.set_position((x / figure_width, y / figure_height, w / figure_width, h / figure_height))
        axes.set_yticks(np.arange(len(self.rows)) + 0.5, self.rows)
        axes.set_xticks(
            np.arange(len(self.columns)) + 0.5, self.columns, rotation=45, ha="right", va="center",
            rotation_mode="anchor",
        )  # fmt: skip
        axes.tick_params(length=0, pad=_GAP * 72)
        axes.tick_params(axis="x", pad=self._drop * 72)
