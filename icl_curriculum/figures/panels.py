"""The sheet that all figures share: a title and note, a grid of panels, one legend in a strip of its own."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from icl_curriculum.figures.names import GREY, ZERO, inputs_label, learner_label, plain, pretty
from icl_curriculum.figures.tables import METRICS, Cell

#: Errors outside these bounds are drawn on them, so that 0 has a place on a logarithmic axis.
FLOOR, CEILING = 1e-3, 1e2

#: Inches, as printed.
FULL_WIDTH = 7.2
WIDEST_PANEL = 3.6
MARGIN = 0.08

#: Points.
TEXT, TITLE_OF_PANEL, TITLE = 8.0, 8.5, 10.0

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

#: Decorator or context: the look of a figure, whatever the user's own settings, which stay untouched.
styled = matplotlib.style.context(["default", _STYLE])


def columns_for(count: int, most: int = 4) -> int:
    """Panels per row: all in one row where they fit, else the number that leaves the fewest gaps."""
    if count <= most:
        return count
    return min((most, most - 1), key=lambda columns: -count % columns)


@dataclass(frozen=True)
class Grid:
    """A figure and its panels, row by row."""

    figure: Figure
    axes: list[Axes]
    columns: int
    height: float
    left: float

    @classmethod
    def of(cls, count: int, *, columns: int, height: float, left: float = 0.65, width: float | None = None) -> Grid:
        """``count`` panels with shared axes; ``height`` of each, and what labels take at the ``left``, in inches.

        ``width``: of the figure, if it is not to follow from the number of columns.
        """
        width = width or min(FULL_WIDTH, left + columns * WIDEST_PANEL)
        figure = Figure(figsize=(width, 4))
        cells = figure.add_gridspec(math.ceil(count / columns), columns)
        axes: list[Axes] = []
        for i in range(count):
            first = axes[0] if axes else None
            axes.append(figure.add_subplot(cells[divmod(i, columns)], sharex=first, sharey=first))
        return cls(figure, axes, columns, height, left)

    @property
    def rows(self) -> int:
        return math.ceil(len(self.axes) / self.columns)

    def label(self, xlabel: str, ylabels: Sequence[str]) -> None:
        """Labels at the left and lower edges of the grid, and wherever a panel's y label is not its neighbour's."""
        for i, (axes, ylabel) in enumerate(zip(self.axes, ylabels, strict=True)):
            lowest, leftmost = i + self.columns >= len(self.axes), i % self.columns == 0
            axes.tick_params(labelbottom=lowest, labelleft=leftmost)
            if lowest:
                axes.set_xlabel(xlabel)
            if leftmost or ylabel != ylabels[i - 1]:
                axes.set_ylabel(ylabel)

    def title_panel(self, axes: Axes, *lines: str) -> None:
        """A panel's title, broken to the width of the panel."""
        inches = (self.figure.get_figwidth() - self.left) / self.columns - 0.1
        axes.set_title("\n".join(wrapped(line, inches, TITLE_OF_PANEL) for line in lines))

    def title_cells(self, cells: Sequence[Cell]) -> None:
        """Panels' titles from their cells; with the inputs only where there are several to tell apart."""
        several_inputs = len({cell.inputs for cell in cells}) > 1
        for axes, cell in zip(self.axes, cells, strict=True):
            lines = [pretty(cell.function_class)]
            lines += [inputs_label(cell.inputs)] * several_inputs
            lines += ["(not trained on)"] * (not cell.trained)
            self.title_panel(axes, *lines)

    def finish(
        self, title: str, variant: str | None, note: Iterable[str], extra: Mapping[str, Artist] | None = None
    ) -> Figure:
        """The figure, framed, with the panels laid out within the frame."""
        body = self.frame(title, variant, note, extra)
        self.figure.set_layout_engine(ConstrainedLayoutEngine(rect=body, w_pad=0.05, h_pad=0.05))
        return self.figure

    def frame(
        self, title: str, variant: str | None, note: Iterable[str], extra: Mapping[str, Artist] | None = None
    ) -> tuple[float, float, float, float]:
        """Title and note above the panels, below them a legend of all labelled artists and of ``extra``.

        Gives the figure its height. Returns what is left for the panels, as (left, bottom, width, height) in
        fractions of the figure.
        """
        figure = self.figure
        width = figure.get_figwidth()
        title = title if variant is None else f"{title}: {plain(variant)}"
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

        total = header + sum(self._row_height(row) for row in range(self.rows)) + legend_height
        figure.set_figheight(total)
        figure.suptitle(
            title, x=MARGIN / width, y=1 - MARGIN / total, ha="left", va="top", fontsize=TITLE, fontweight="bold",
            in_layout=False,
        )  # fmt: skip
        figure.text(
            MARGIN / width, 1 - (MARGIN + title_height) / total, text, ha="left", va="top", fontsize=TEXT,
            color="#444444", in_layout=False,
        )  # fmt: skip
        return 0, legend_height / total, 1, 1 - (header + legend_height) / total

    def _row_height(self, row: int) -> float:
        """Inches of a row: the panels, their titles, and what stands below them."""
        axes = self.axes[row * self.columns : (row + 1) * self.columns]
        titles = max(text_height(panel.get_title(), TITLE_OF_PANEL) for panel in axes)
        labels = max(text_height(panel.get_xlabel(), TEXT) for panel in axes)
        return self.height + 0.2 + titles + (labels + 0.25 if labels else 0)

    def _add_legend(self, handles: Mapping[str, Artist]) -> float:
        """A legend at the figure's lower edge in as few rows as fit; its height in inches."""
        if not handles:
            return 0.0
        figure = self.figure
        renderer = _renderer(figure)
        for rows in range(1, len(handles) + 1):
            legend = figure.legend(
                list(handles.values()), list(handles), loc="lower center", ncols=math.ceil(len(handles) / rows),
                borderaxespad=0.4, borderpad=0.2, handlelength=2.6, columnspacing=1.6,
            )  # fmt: skip
            legend.set_in_layout(False)
            box = legend.get_window_extent(renderer)
            if box.width / figure.dpi <= figure.get_figwidth() - 2 * MARGIN or rows == len(handles):
                break
            legend.remove()
        return float(box.height / figure.dpi + 2 * MARGIN)


def wrapped(text: str, inches: float, points: float, weight: str = "normal") -> str:
    """Text broken into lines that fit a width."""
    # A line may hold wider letters than the text does on average.
    characters = 0.95 * len(text) * inches / max(text_width(text, points, weight), 0.01)
    # "k = 10" stays in one piece.
    return textwrap.fill(text.replace(" = ", "\u00a0=\u00a0"), max(8, int(characters))).replace("\u00a0", " ")


def text_width(text: str, points: float, weight: str = "normal") -> float:
    """Inches that text takes, in lines or in one."""
    font = FontProperties(size=points, weight=weight)
    figure = Figure(figsize=(1, 1))
    measure = _renderer(figure).get_text_width_height_descent
    return max((measure(line, font, ismath=False)[0] for line in text.splitlines()), default=0.0) / figure.dpi


def _renderer(figure: Figure) -> RendererBase:
    renderer: RendererBase = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
    return renderer


def text_height(text: str, points: float) -> float:
    return 1.25 * points / 72 * len(text.splitlines())


def error_label(metric: str) -> str:
    return f"{METRICS[metric]}\n(1 = predicting zero)"


def bounded(values: ArrayLike) -> NDArray[np.float64]:
    """Errors as they are drawn: within the bounds of the axis."""
    return np.clip(np.asarray(values, dtype=np.float64), FLOOR, CEILING)


def error_scale(axes: Axes, which: Literal["x", "y"], values: Iterable[ArrayLike], *, across: int = 5) -> list[str]:
    """A logarithmic axis over ``values`` and 1, for all axes that share it; returns what the note should say.

    ``across``: the labels that fit beside each other; of more ticks on an x axis, every other one has a label.
    """
    found = np.concatenate([np.ravel(np.asarray(value, dtype=np.float64)) for value in values])
    found = np.append(found[~np.isnan(found)], 1.0)
    drawn = bounded(found)
    low, high = float(drawn.min()), float(drawn.max())
    # Room for the width of a line that runs along the edge.
    limits = low / 1.3, high * 1.3
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": limits})

    decades = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    span = limits[1] / limits[0]
    steps = (1, 2, 5) if span < 15 else (1, 3) if span < 150 else (1,)
    major = [step * 10.0**e for e in decades for step in steps if limits[0] <= step * 10.0**e <= limits[1]]
    below, above = bool((found < FLOOR).any()), bool((found > CEILING).any())
    marks = {FLOOR: "≤" if below else "", CEILING: "≥" if above else ""}
    labels = [f"{marks.get(float(f'{tick:g}'), '')}{tick:g}" for tick in major]
    if which == "x" and len(major) > across:
        labels = [label if i % 2 == 0 else "" for i, label in enumerate(labels)]
    axis.set_major_locator(FixedLocator(major))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    return [f"Errors below {FLOOR:g} are drawn at {FLOOR:g}."] * below + [
        f"Errors above {CEILING:g} are drawn at {CEILING:g}."
    ] * above


def zero_line(axes: Axes, which: Literal["x", "y"]) -> None:
    """The error of predicting zero, on an axis of errors."""
    draw = axes.axvline if which == "x" else axes.axhline
    draw(1, color=GREY, linewidth=0.8, label=learner_label(ZERO), gid=ZERO)


def count_scale(axis: Axis, bins: int = 4) -> None:
    """Whole numbers on an axis, in thousands or millions where they are large."""
    axis.set_major_locator(MaxNLocator(bins, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def short_count(value: float) -> str:
    """A count in few characters.

    >>> short_count(1400), short_count(250_000), short_count(1.5e6)
    ('1400', '250k', '1.5M')
    """
    if abs(value) < 10_000:
        return f"{value:g}"
    size, suffix = (1e6, "M") if abs(value) >= 1e6 else (1e3, "k")
    return f"{value / size:g}{suffix}"


def range_label(seeds: int) -> str:
    """What a band or whisker spans; see `tables.over_seeds`."""
    return "minimum to maximum over seeds" if seeds > 1 else "confidence interval over prompts"
