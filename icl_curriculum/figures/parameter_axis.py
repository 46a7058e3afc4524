"""The axis of a swept parameter: numbers by their size, and other values beside each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from icl_curriculum.figures.lettering import TEXT, text_width
from icl_curriculum.figures.names import pretty
from icl_curriculum.figures.panels import FULL_WIDTH, NARROW, PanelGrid
from icl_curriculum.results.swept import SweepAxis

#: The most panels in a row.
_ACROSS = 4
#: Inches between labels of values.
_GAP = 0.08
#: The ratio from which on two numbers stand on a logarithmic axis.
_WIDE = 8.0


def panel_grid(count: int, axis: SweepAxis, narrow: bool) -> PanelGrid:
    """Panels beside each other, as many as leave room for the labels of values that are no numbers."""
    most = 2 if narrow else _ACROSS
    if not axis.is_numeric:
        labels = len(axis.places) * _slot([pretty(value) for value in axis.places])
        most = max(1, min(most, int(((NARROW if narrow else FULL_WIDTH) - 0.65) / (labels + 0.2))))
    columns = min(count, most)
    if narrow:
        return PanelGrid.of(count, columns=columns, height=0.95, width=NARROW)
    return PanelGrid.of(
        count, columns=columns, height=1.7 if columns > 1 else 2.2,
        width=FULL_WIDTH if columns > 1 or not axis.is_numeric else None,
    )  # fmt: skip


def is_geometric(values: Sequence[float]) -> bool:
    """Whether numbers belong on a logarithmic axis: their ratios are more alike than their differences.

    >>> is_geometric([8, 16, 32]), is_geometric([1, 2, 3]), is_geometric([1e-4, 1e-2]), is_geometric([0, 1, 10])
    (True, False, True, False)
    """
    if len(values) < 2 or min(values) <= 0:
        return False
    if len(values) == 2:
        return max(values) / min(values) >= _WIDE
    gaps = np.diff(sorted(values))
    ratios = np.diff(np.log(sorted(values)))
    return bool(ratios.std() / ratios.mean() < gaps.std() / gaps.mean() - 1e-9)


def value_scale(grid: PanelGrid, axis: SweepAxis) -> None:
    """Set the axis of the values, which all panels share, with a tick at each of them for which there is room."""
    axes = grid.axes[0]
    values = sorted(axis.places.values())
    low, high = values[0], values[-1]
    geometric = axis.is_numeric and is_geometric(values)
    if geometric:
        room = (high / low) ** 0.06
        axes.set(xscale="log", xlim=(low / room, high * room))
    else:
        room = 0.06 * (high - low) if axis.is_numeric else 0.5
        axes.set_xlim(low - room, high + room)
    inches = (grid.figure.get_figwidth() - grid.left) / grid.columns - 0.2
    if axis.is_numeric:
        over = np.log(values) if geometric else np.asarray(values)
        places = (over - over[0]) / (over[-1] - over[0]) * inches / 1.12
        shown = _apart(values, [f"{value:.4g}" for value in values], list(places))
    else:
        shown = {place: pretty(value) for value, place in axis.places.items()}
        slot = inches / len(values)
        if _slot(list(shown.values())) > slot:
            shown = {place: _cut(label, slot - _GAP) for place, label in shown.items()}
    axes.xaxis.set_major_locator(FixedLocator(list(shown)))
    axes.xaxis.set_major_formatter(FixedFormatter(list(shown.values())))
    axes.xaxis.set_minor_locator(NullLocator())


def _slot(labels: Sequence[str]) -> float:
    """The inches from one label to the next that keep all of them apart."""
    widths = [text_width(label, TEXT) for label in labels]
    return max((one + other) / 2 for one, other in itertools.pairwise(widths)) + _GAP


def _apart(values: Sequence[float], labels: Sequence[str], places: Sequence[float]) -> dict[float, str]:
    """The labels that don't run into the one before them. ``places``: of their middles, in inches."""
    shown: dict[float, str] = {}
    end = -math.inf
    for value, label, middle in zip(values, labels, places, strict=True):
        half = text_width(label, TEXT) / 2
        if middle - half >= end:
            shown[value] = label
            end = middle + half + _GAP
    return shown


def _cut(label: str, inches: float) -> str:
    """A label that is no wider than there is room for, at least a few letters of it."""
    cut = label
    while text_width(cut, TEXT) > inches and len(cut) > 4:
        cut = f"{cut.removesuffix('…')[:-1]}…"
    return cut
