"""Axes of errors and of counts, the same in every figure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from icl_curriculum.figures.names import GREY, ZERO, learner_label
from icl_curriculum.results.tables import METRICS

#: Errors outside these bounds are drawn at the bounds, so that 0 has a place on a logarithmic axis.
FLOOR, CEILING = 1e-3, 1e2


def error_label(metric: str) -> str:
    return f"{METRICS[metric]}\n(1 = predicting zero)"


def bounded(values: ArrayLike) -> NDArray[np.float64]:
    """Errors as they are drawn, moved to the bounds of the axis if they lie outside."""
    return np.clip(np.asarray(values, dtype=np.float64), FLOOR, CEILING)


def error_scale(axes: Axes, which: Literal["x", "y"], values: Iterable[ArrayLike], *, across: int = 5) -> list[str]:
    """Set a logarithmic axis over ``values`` and 1, for all axes that share it. Returns what the note should say.

    ``across``: how many labels fit beside each other. With more ticks on an x axis, every other one has a label.
    """
    found = np.concatenate([[1.0], *(np.ravel(np.asarray(value, dtype=np.float64)) for value in values)])
    found = found[~np.isnan(found)]
    drawn = bounded(found)
    low, high = float(drawn.min()), float(drawn.max())
    # A line that runs along the edge needs room for its width.
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
    """Draw the error of predicting zero on an axis of errors."""
    draw = axes.axvline if which == "x" else axes.axhline
    draw(1, color=GREY, linewidth=0.8, label=learner_label(ZERO), gid=ZERO)


def count_scale(axis: Axis, bins: int = 4) -> None:
    """Label an axis with whole numbers, in thousands or millions where they are large."""
    axis.set_major_locator(MaxNLocator(bins, integer=True, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def log_count_scale(axes: Axes, values: Iterable[ArrayLike]) -> None:
    """Set a logarithmic x axis over counts ``values``, with one to three labels in each power of ten."""
    found = np.concatenate([np.ravel(np.asarray(value, dtype=np.float64)) for value in values])
    low, high = float(found.min()) / 1.15, float(found.max()) * 1.15
    axes.set(xscale="log", xlim=(low, high))
    steps = (1,) if high / low > 300 else (1, 3) if high / low > 12 else (1, 2, 5)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**e for e in decades for step in steps if low <= step * 10.0**e <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks or [float(found.max())]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))
    axes.xaxis.set_minor_locator(NullLocator())


def short_count(value: float) -> str:
    """Words a count in few characters.

    >>> short_count(1400), short_count(250_000), short_count(1.5e6)
    ('1400', '250k', '1.5M')
    """
    if abs(value) < 10_000:
        return f"{value:g}"
    size, suffix = (1e6, "M") if abs(value) >= 1e6 else (1e3, "k")
    return f"{value / size:g}{suffix}"


def range_label(seeds: int) -> str:
    """Words what a band or whisker spans; see `tables.over_seeds`."""
    return "minimum to maximum over seeds" if seeds > 1 else "confidence interval over prompts"
