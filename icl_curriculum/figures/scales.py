"""Axes of errors and of counts, the same in every figure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from icl_curriculum.figures.names import GREY, ZERO, learner_label
from icl_curriculum.results.shown_metric import USUAL, metric_titles, shown_metric

#: Errors outside these bounds are drawn at the bounds, so that 0 has a place on a logarithmic axis. Of a metric that
#: is no share of the error of predicting zero, they are in units of its own, see `bounds`.
FLOOR, CEILING = 1e-3, 1e2


def error_label(metric: str) -> str:
    title, shown = metric_titles()[metric], shown_metric()
    if metric in USUAL.titles:
        return f"{title}\n(1 = {shown.nothing})"
    if shown.trivial is not None:
        return f"{title}\n({shown.trivial:.3g} = {shown.nothing})"
    return title if shown.improves == "down" else f"{title}\n(more is better)"


#: By how much the lower bound is raised in a figure that has nothing between it and what is drawn.
_RAISED: ContextVar[float] = ContextVar("_RAISED", default=1.0)


@contextlib.contextmanager
def without_empty_decades(values: Iterable[ArrayLike]) -> Iterator[None]:
    """Within the block, errors below the bounds are drawn right below the others: no power of ten stays empty.

    ``values``: everything that will be drawn.
    """
    floor, ceiling = bounds()
    found = np.concatenate([np.zeros(0), *(np.ravel(np.asarray(value, dtype=np.float64)) for value in values)])
    inside = found[(found > floor * (1 + 1e-9)) & (found <= ceiling)]
    raised = 1.0
    if shown_metric().improves == "down" and 0 < floor < math.inf and (found <= floor).any() and len(inside):
        raised = 10.0 ** max(0, math.floor(math.log10(float(inside.min()) / floor) + 1e-9))
    token = _RAISED.set(raised)
    try:
        yield
    finally:
        _RAISED.reset(token)


def bounds() -> tuple[float, float]:
    """The bounds of what is drawn: 0.001 and 100, times the trivial level of the metric that is shown.

    In a figure `without_empty_decades` the lower one is 0.01 or 0.1 where no error lies between.

    Of a metric without one, of which nothing is known, only 0 is moved; nothing is of one that improves upwards.
    """
    shown = shown_metric()
    if shown.improves == "up":
        return -math.inf, math.inf
    if shown.trivial is None:
        return 1e-6 * _RAISED.get(), math.inf
    level = shown.trivial if shown.trivial > 0 else 1.0
    return FLOOR * level * _RAISED.get(), CEILING * level


def bounded(values: ArrayLike) -> NDArray[np.float64]:
    """Errors as they are drawn, moved to the bounds of the axis if they lie outside."""
    return np.clip(np.asarray(values, dtype=np.float64), *bounds())


def as_costs(values: ArrayLike) -> NDArray[np.float64]:
    """How much worse than knowing nothing values look, in powers of ten, or linearly where more is better."""
    shown = shown_metric()
    drawn = bounded(values)
    level = shown.trivial
    if shown.improves == "up":
        return (0.0 if level is None else level) - drawn
    return np.log10(drawn) - (math.log10(level) if level is not None and level > 0 else 0.0)


def error_scale(axes: Axes, which: Literal["x", "y"], values: Iterable[ArrayLike], *, across: int = 5) -> list[str]:
    """Set a logarithmic axis over ``values`` and 1, for all axes that share it. Returns what the note should say.

    ``across``: how many labels fit beside each other. With more ticks on an x axis, every other one has a label.
    """
    shown = shown_metric()
    least = [] if shown.trivial is None else [shown.trivial]
    found = np.concatenate([least, *(np.ravel(np.asarray(value, dtype=np.float64)) for value in values)])
    found = found[~np.isnan(found)]
    if shown.improves == "up":
        return _linear_scale(axes, which, found, across)
    floor, ceiling = bounds()
    drawn = bounded(found)
    drawn = drawn[np.isfinite(drawn)] if np.isfinite(drawn).any() else np.ones(1)
    low, high = float(drawn.min()), float(drawn.max())
    # A line that runs along the edge needs room for its width.
    limits = low / 1.3, high * 1.3
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set(**{f"{which}scale": "log", f"{which}lim": limits})

    decades = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    span = limits[1] / limits[0]
    steps = (1, 2, 5) if span < 15 else (1, 3) if span < 150 else (1,)
    major = [step * 10.0**e for e in decades for step in steps if limits[0] <= step * 10.0**e <= limits[1]]
    if not major:  # Numbers that lie close together, and no level that they are read against.
        major = [tick for tick in MaxNLocator(3).tick_values(*limits) if limits[0] <= tick <= limits[1]]
    below, above = bool((found < floor).any()), bool((found > ceiling).any())
    marks = {float(f"{floor:g}"): "≤" if below else "", float(f"{ceiling:g}"): "≥" if above else ""}
    labels = [f"{marks.get(float(f'{tick:g}'), '')}{tick:g}" for tick in major]
    if which == "x" and len(major) > across:
        labels = [label if i % 2 == 0 else "" for i, label in enumerate(labels)]
    axis.set_major_locator(FixedLocator(major))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
    return [f"Errors below {floor:g} are drawn at {floor:g}."] * below + [
        f"Errors above {ceiling:g} are drawn at {ceiling:g}."
    ] * above


def _linear_scale(axes: Axes, which: Literal["x", "y"], found: NDArray[np.float64], across: int) -> list[str]:
    """Set a linear axis over what was found. Nothing is moved, so there is nothing to note."""
    finite = found[np.isfinite(found)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = 0.05 * (high - low) or 0.05
    axes.set(**{f"{which}lim": (low - room, high + room)})
    axis: Axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(across))
    axis.set_minor_locator(NullLocator())
    return []


def zero_line(axes: Axes, which: Literal["x", "y"], *, labelled: bool = True) -> None:
    """Draw the error of predicting zero on an axis of errors, where it is the same everywhere.

    ``labelled``: for the legend; where that is made otherwise, `zero_handle` is for it.
    """
    level = shown_metric().trivial
    if level is None:
        return
    draw = axes.axvline if which == "x" else axes.axhline
    draw(level, color=GREY, linewidth=0.8, label=learner_label(ZERO) if labelled else None, gid=ZERO)


def zero_handle() -> dict[str, Artist]:
    """What a legend of one's own says of `zero_line`."""
    shown = shown_metric()
    if shown.trivial is None:
        return {}
    return {learner_label(ZERO): Line2D([], [], color=GREY, linewidth=0.8)}


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
