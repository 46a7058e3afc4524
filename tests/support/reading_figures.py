"""What a reader sees in a figure: lines, bands, words, and whether anything overlaps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from made_up_tables import Tables, make_tables
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.text import Text

from icl_curriculum import figures

NAMES = ("error_by_examples", "learning_curves", "out_of_distribution", "curriculum")


def draw(figure: str, tables: Tables, **options: Any) -> Figure:
    needed = {"learning_curves": ("learning", "curriculum"), "curriculum": ("curriculum",)}
    function: Callable[..., Figure] = getattr(figures, figure)
    return function(*(tables[name] for name in needed.get(figure, ("evaluation",))), **options)


@functools.cache
def drawn(name: str) -> Figure:
    """A figure of four classes and three seeds, for tests that only look."""
    return draw(name, make_tables())


def small() -> Tables:
    return make_tables(["hermite/3"], [0])


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes}


def line(axes: Axes, gid: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [item for item in axes.lines if item.get_gid() == gid]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def vertices(area: Collection) -> np.ndarray:
    return np.asarray(area.get_paths()[0].vertices, dtype=float)


def band(axes: Axes, gid: str) -> dict[float, tuple[float, float]]:
    """x -> (low, high) of a filled band."""
    (found,) = [item for item in axes.collections if item.get_gid() == gid]
    xy = vertices(found)
    return {x: (xy[xy[:, 0] == x, 1].min(), xy[xy[:, 0] == x, 1].max()) for x in np.unique(xy[:, 0])}


def axes_hold(axes: Axes, values: Sequence[float]) -> bool:
    low, high = axes.get_ylim()
    return low <= min(values) and max(values) <= high


def said(figure: Figure) -> str:
    """The note under the title."""
    return " ".join(text.get_text().replace("\n", " ") for text in figure.texts)


def legend_labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def tick_labels(axes: Axes, which: str) -> list[Text]:
    """The labels of ticks within view."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.get_majorticklabels()  # brings the ticks up to date
    low, high = sorted(axis.get_view_interval())
    return [t.label1 for t in axis.get_major_ticks() if t.label1.get_visible() and low <= t.get_loc() <= high]


def texts(figure: Figure) -> list[Text]:
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        found += [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
        found += [*tick_labels(axes, "x"), *tick_labels(axes, "y")]
    return [text for text in found if text.get_text()]


def check_layout(figure: Figure, name: str, *, lowest: float = 0.3) -> None:
    """``lowest``: inches that every panel has at least, where a bar of colours is one too."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    edges = figure.bbox.padded(1)
    shown = texts(figure)
    left, low, right, high = np.array([text.get_window_extent().padded(-1).extents for text in shown]).T
    outside = (left < edges.x0) | (low < edges.y0) | (right > edges.x1) | (high > edges.y1)
    assert not [text for text, out in zip(shown, outside, strict=True) if out], name
    apart = (right[:, None] < left) | (high[:, None] < low)
    overlaps = ~(apart | apart.T | np.eye(len(shown), dtype=bool))
    assert not [(shown[i], shown[j]) for i, j in np.argwhere(overlaps)], name
    (legend,) = figure.legends
    for axes in figure.axes:
        assert not legend.get_window_extent().overlaps(axes.get_window_extent()), name
        assert axes.get_window_extent().height / figure.dpi > lowest, name
    assert min(float(text.get_fontsize()) for text in shown) >= 8
