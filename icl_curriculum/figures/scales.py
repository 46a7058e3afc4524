"""Axes of errors and of counts, the same in every figure."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Literal, ParamSpec

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from icl_curriculum.figures.names import GREY, ZERO
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


#: The bounds of a figure that leaves empty decades out, and those that `error_scale` found while it was drawn at first.
_NARROWED: ContextVar[tuple[float, float] | None] = ContextVar("_NARROWED", default=None)
_FOUND: ContextVar[list[tuple[float, float]] | None] = ContextVar("_FOUND", default=None)

#: What is moved to a bound lies at least so far below the least error that is not, or above the greatest.
_APART_BELOW, _APART_ABOVE = 2.0, 3.0

#: The least error that is drawn where it lies, of a figure that reaches lower than others.
_FLOOR: ContextVar[float] = ContextVar("_FLOOR", default=FLOOR)

P = ParamSpec("P")


def reaching_down_to(floor: float) -> Callable[[Callable[P, Figure]], Callable[P, Figure]]:
    """Decorates what draws a figure of errors below ``FLOOR``: those down to ``floor`` are drawn where they lie."""

    def decorated(draw: Callable[P, Figure]) -> Callable[P, Figure]:
        @functools.wraps(draw)
        def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
            token = _FLOOR.set(floor)
            try:
                return draw(*args, **kwargs)
            finally:
                _FLOOR.reset(token)

        return drawn

    return decorated


def without_empty_decades(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorates what draws a figure: errors out of bounds are drawn right beside the others, not decades away.

    A figure that has none is drawn once. Any other is drawn again, within the bounds that `error_scale` found for it.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        token = _FOUND.set([])
        try:
            figure = draw(*args, **kwargs)
            found = _FOUND.get() or []
        finally:
            _FOUND.reset(token)
        if not found:
            return figure
        narrowed = _NARROWED.set((min(low for low, _ in found), max(high for _, high in found)))
        try:
            return draw(*args, **kwargs)
        finally:
            _NARROWED.reset(narrowed)

    return drawn


def _narrowed(found: NDArray[np.float64]) -> tuple[float, float] | None:
    """The bounds nearest to the errors that lie within the usual ones; None where these are as near."""
    floor, ceiling = usual = _usual_bounds()
    inside = found[(found > floor * (1 + 1e-9)) & (found <= ceiling)]
    if shown_metric().improves == "up" or not len(inside):
        return None
    if (found <= floor).any():
        floor = max(floor, _round_number(float(inside.min()) / _APART_BELOW, down=True))
    if (found > ceiling).any():
        ceiling = min(ceiling, _round_number(float(inside.max()) * _APART_ABOVE, down=False))
    return None if (floor, ceiling) == usual else (floor, ceiling)


def _round_number(value: float, *, down: bool) -> float:
    """The nearest of 1, 2 and 5 times a power of ten, at most or at least a value.

    >>> _round_number(0.3, down=True), _round_number(0.3, down=False)
    (0.2, 0.5)
    """
    power = math.floor(math.log10(value))
    # As decimals, so that 0.2 is 0.2.
    rounds = [float(f"{step}e{power + more}") for more in (0, 1) for step in (1, 2, 5)]
    if down:
        return max(each for each in rounds if each <= value * (1 + 1e-9))
    return min(each for each in rounds if each >= value * (1 - 1e-9))


def _usual_bounds() -> tuple[float, float]:
    shown = shown_metric()
    if shown.improves == "up":
        return -math.inf, math.inf
    if shown.trivial is None:
        return 1e-6, math.inf
    level = shown.trivial if shown.trivial > 0 else 1.0
    return _FLOOR.get() * level, CEILING * level


def bounds() -> tuple[float, float]:
    """The bounds of what is drawn: 0.001 and 100, times the trivial level of the metric that is shown.

    In a figure `without_empty_decades` they are nearer to its errors. Of a metric without a level, of which nothing is
    known, only 0 is moved; nothing is of one that improves upwards.
    """
    return _NARROWED.get() or _usual_bounds()


def bounded(values: ArrayLike) -> NDArray[np.float64]:
    """Errors as they are drawn, moved to the bounds of the axis if they lie outside."""
    return np.clip(np.asarray(values, dtype=np.float64), *bounds())


def as_costs(values: ArrayLike) -> NDArray[np.float64]:
    """How much worse than knowing nothing values look, in powers of ten, or linearly where more is better."""
    shown = shown_metric()
    # The same however a figure narrows its axis.
    drawn = np.clip(np.asarray(values, dtype=np.float64), *_usual_bounds())
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
    if (noted := _FOUND.get()) is not None and (narrowed := _narrowed(found)):
        noted.append(narrowed)
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
    # A bound that something was moved to has a tick, and no other too close to it; side by side, labels need room.
    near = max(1.9, span ** (1 / across)) if which == "x" else 1.9
    for bound in [floor] * below + [ceiling] * above:
        major = sorted([*(tick for tick in major if max(tick / bound, bound / tick) >= near), bound])
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


def zero_line(axes: Axes, which: Literal["x", "y"]) -> None:
    """Draw the error of predicting zero where it is the same everywhere; the axis's label, `error_label`, names it."""
    level = shown_metric().trivial
    if level is None:
        return
    draw = axes.axvline if which == "x" else axes.axhline
    draw(level, color=GREY, linewidth=0.8, gid=ZERO)


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
