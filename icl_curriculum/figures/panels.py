"""The sheet that all figures share: a title and note, a grid of panels, one legend in a strip of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from icl_curriculum.figures.lettering import TEXT, TITLE, TITLE_OF_PANEL, text_height, text_width, wrapped
from icl_curriculum.figures.names import inputs_label, plain, pretty
from icl_curriculum.results.shown_metric import shown_metric
from icl_curriculum.results.tables import Cell

#: Sizes in inches, as printed.
FULL_WIDTH = 7.2
WIDEST_PANEL = 3.6
#: A figure as wide as a telephone.
NARROW = 3.6
MARGIN = 0.08

#: Inches from a panel to its title, inches below a panel without labels, and inches of ticks up to their labels.
_ABOVE, _BELOW, _TICKS = 0.12, 0.08, 0.1

#: Widths in a legend, in ems: of its samples, from a sample to its label, and between columns.
_SAMPLE, _HANDLE_PAD, _COLUMN_GAP = 2.6, 0.8, 1.6

_MARKUP = str.maketrans("", "", "${}^")

_STYLE: dict[str, Any] = {
    "font.size": TEXT,
    "axes.titlesize": TITLE_OF_PANEL,
    "axes.labelsize": TEXT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "legend.fontsize": TEXT,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "icl_curriculum",
}

#: A decorator or context that gives figures their look. The user's own settings have no effect and stay untouched.
styled = matplotlib.style.context(["default", _STYLE])


def columns_for(count: int, most: int = 4) -> int:
    """The number of panels in a row: all where they fit, else the number that leaves the fewest gaps."""
    if count <= most:
        return count
    return min((most, most - 1), key=lambda columns: -count % columns)


@dataclass(frozen=True)
class PanelGrid:
    """A figure and its panels, row by row; ``places``: the row and the column of each."""

    figure: Figure
    axes: list[Axes]
    places: list[tuple[int, int]]
    columns: int
    #: Of the panels of each row.
    heights: list[float]
    left: float
    right: float = 0.0
    shared_rows: bool = True

    @classmethod
    def of(
        cls, count: int | Sequence[int], *, columns: int, height: float | Sequence[float], left: float = 0.65,
        right: float = 0.0, width: float | None = None, shared_rows: bool = True,
    ) -> PanelGrid:  # fmt: skip
        """A grid of ``count`` panels with shared axes. Of several counts, each begins a row and a y axis of its own.

        In inches: ``height``: of each panel, or of the panels of each count; ``left``: for labels at the left;
        ``right``: for what stands at the right of each panel; ``width``: of the figure, which by default follows from
        the number of columns. ``shared_rows``: whether panels share their y axis; otherwise each has labels of its own.
        """
        width = width or min(FULL_WIDTH, left + columns * WIDEST_PANEL)
        figure = Figure(figsize=(width, 4))
        counts = [count] if isinstance(count, int) else count
        rows = [math.ceil(each / columns) for each in counts]
        cells = figure.add_gridspec(sum(rows), columns)
        axes: list[Axes] = []
        places = []
        for number, each in enumerate(counts):
            begun = len(axes)
            for i in range(each):
                row, column = divmod(i, columns)
                places.append((sum(rows[:number]) + row, column))
                of_block = axes[begun] if i and shared_rows else None
                axes.append(figure.add_subplot(cells[places[-1]], sharex=axes[0] if axes else None, sharey=of_block))
        of_counts = [height] * len(rows) if isinstance(height, int | float) else height
        heights = [float(one) for one, own in zip(of_counts, rows, strict=True) for _ in range(own)]
        return cls(figure, axes, places, columns, heights, left, right, shared_rows)

    @property
    def rows(self) -> int:
        return self.places[-1][0] + 1

    def label(self, xlabel: str, ylabels: Sequence[str]) -> None:
        """Label the left and lower edges of the grid, and every panel whose y label is not its neighbour's."""
        for i, (axes, ylabel) in enumerate(zip(self.axes, ylabels, strict=True)):
            row, column = self.places[i]
            lowest, leftmost = (row + 1, column) not in self.places, column == 0
            axes.tick_params(labelbottom=lowest, labelleft=leftmost or not self.shared_rows)
            if lowest:
                axes.set_xlabel(xlabel)
            if leftmost or ylabel != ylabels[i - 1]:
                axes.set_ylabel(ylabel)

    def title_panel(self, axes: Axes, *lines: str) -> None:
        """Give a panel a title, broken into lines that fit the panel."""
        inches = (self.figure.get_figwidth() - self.left) / self.columns - 0.2
        axes.set_title("\n".join(wrapped(line, inches, TITLE_OF_PANEL) for line in lines))

    def title_cells(self, cells: Sequence[Cell]) -> None:
        """Give panels titles by their cells, which name the inputs only where there are several to tell apart."""
        several_inputs = len({cell.inputs for cell in cells}) > 1
        for axes, cell in zip(self.axes, cells, strict=True):
            lines = [pretty(cell.function_class)]
            lines += [inputs_label(cell.inputs)] * several_inputs
            lines += ["(not trained on)"] * (not cell.trained)
            self.title_panel(axes, *lines)

    def finish(
        self, title: str | None, variant: str | None, note: Iterable[str], extra: Mapping[str, Artist] | None = None
    ) -> Figure:
        """Add the frame, lay out the panels within it, and return the figure.

        ``title``: None where a caption beside the figure replaces it; the note stays.
        """
        self._place(*self.frame(title, variant, note, extra))
        return self.figure

    def frame(
        self, title: str | None, variant: str | None, note: Iterable[str], extra: Mapping[str, Artist] | None = None
    ) -> tuple[float, float]:
        """Add title and note above the panels, and below them a legend of all labelled artists and of ``extra``.

        This also sets the figure's height. Returns where the panels end at the bottom and at the top, in inches.
        """
        figure = self.figure
        width = figure.get_figwidth()
        title = _of_metric((title or "") if variant is None else f"{title}: {plain(variant)}")
        title = wrapped(title, width - 2 * MARGIN, TITLE, "bold")
        text = wrapped(" ".join(note), width - 2 * MARGIN, TEXT)
        title_height, note_height = text_height(title, TITLE), text_height(text, TEXT)
        header = title_height + note_height + 2 * MARGIN

        handles: dict[str, Artist] = {}
        for axes in self.axes:
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        handles.update(extra or {})
        legend_height = self._add_legend(handles)

        total = header + sum(sum(self._row(row)) for row in range(self.rows)) + legend_height
        figure.set_figheight(total)
        if title:
            figure.suptitle(
                title, x=MARGIN / width, y=1 - MARGIN / total, ha="left", va="top", fontsize=TITLE, fontweight="bold"
            )
        figure.text(
            MARGIN / width, 1 - (MARGIN + title_height) / total, text, ha="left", va="top", fontsize=TEXT,
            color="#444444",
        )  # fmt: skip
        return legend_height, total - header

    def _row(self, row: int) -> tuple[float, float, float]:
        """The inches of a row from top to bottom: of titles, of panels, and of what stands below them."""
        axes = [axes for axes, place in zip(self.axes, self.places, strict=True) if place[0] == row]
        titles = max(text_height(panel.get_title(), TITLE_OF_PANEL) for panel in axes)
        labels = max(text_height(panel.get_xlabel(), TEXT) for panel in axes)
        return titles + _ABOVE, self.heights[row], _BELOW + (labels + 0.25 if labels else 0)

    def _place(self, bottom: float, top: float) -> None:
        """Put the panels between these heights: as wide as labels leave room for, all alike.

        Not by matplotlib's constrained layout, which fits panels into a figure of a given height, while here the
        figure's height follows from the panels, the note and the legend. It also takes 45 ms for four panels, which
        are drawn in 100 to 140; this takes 1 to 6.
        """
        width, height = self.figure.get_size_inches()
        before, after = self._overhang((width - self.left) / self.columns)
        lefts = [before] * self.columns
        for i, (_, column) in enumerate(self.places):
            lefts[column] = max(lefts[column], self._left_of(i))
        panel = (width - sum(lefts)) / self.columns - after
        for axes, (row, column) in zip(self.axes, self.places, strict=True):
            if column == 0:
                titles, of_panel, below = self._row(row)
                y = top - titles - of_panel
                top -= titles + of_panel + below
            x = sum(lefts[: column + 1]) + column * (panel + after)
            axes.set_position((x / width, y / height, panel / width, of_panel / height))

    def _left_of(self, i: int) -> float:
        """The inches that a panel's labels and ticks take at its left."""
        axes = self.axes[i]
        taken = MARGIN + _TICKS
        if self.places[i][1] == 0 or not self.shared_rows:
            taken += max(text_width(label, TEXT) for _, label in _ticks(axes.yaxis))
        if ylabel := axes.get_ylabel():
            taken += text_height(ylabel, TEXT) + 0.05
        return taken

    def _overhang(self, panel: float) -> tuple[float, float]:
        """The inches by which labels below a panel of this width extend beyond it, left and right."""
        places = [(place * panel, text_width(label, TEXT) / 2) for place, label in _ticks(self.axes[0].xaxis)]
        before = max((half - place for place, half in places), default=0)
        after = max((place + half - panel for place, half in places), default=0)
        return MARGIN + max(before, 0), MARGIN + max(after, self.right, 0)

    def _add_legend(self, handles: Mapping[str, Artist]) -> float:
        """Add a legend at the figure's lower edge, in as few rows as fit. Returns its height in inches."""
        if not handles:
            return 0.0
        figure = self.figure
        em = TEXT / 72
        room = figure.get_figwidth() - 2 * MARGIN
        labels = [wrapped(label, room - (_SAMPLE + 1) * em, TEXT) for label in handles]
        legend = figure.legend(
            list(handles.values()), labels, loc="lower center", ncols=_columns_of_legend(labels, room / em),
            borderaxespad=0.4, borderpad=0.2, handlelength=_SAMPLE, handletextpad=_HANDLE_PAD,
            columnspacing=_COLUMN_GAP,
        )  # fmt: skip
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        return float(legend.get_window_extent(renderer).height / figure.dpi + 2 * MARGIN)


def _columns_of_legend(labels: Sequence[str], room: float) -> int:
    """The most columns in which a legend is no wider than ``room``, in ems."""
    widths = [text_width(label, TEXT) / (TEXT / 72) + _SAMPLE + _HANDLE_PAD + _COLUMN_GAP for label in labels]
    for rows in range(1, len(labels)):
        columns = math.ceil(len(labels) / rows)
        if sum(float(column.max()) for column in np.array_split(widths, columns)) <= room:
            return columns
    return 1


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    """The labelled ticks of an axis, each with its place in fractions of the axis."""
    locations = list(axis.get_major_locator()())
    # The markup of a formula takes no room.
    labels = [label.translate(_MARKUP) for label in axis.get_major_formatter().format_ticks(locations)]
    transform = axis.get_transform().transform
    low, high = transform(np.sort(axis.get_view_interval()))
    places = (transform(np.asarray(locations, dtype=np.float64)) - low) / (high - low)
    return [(float(place), label) for place, label in zip(places, labels, strict=True) if -0.01 <= place <= 1.01]


def _of_metric(title: str) -> str:
    """A title that speaks of errors, with the name of the metric in their place where another is shown."""
    shown = shown_metric()
    if shown.chosen is None or not title.startswith("Error"):
        return title
    name = shown.titles[shown.chosen]
    return f"{name[:1].upper()}{name[1:]}{title.removeprefix('Error').removeprefix('s')}"
