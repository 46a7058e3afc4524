"""The metric that figures and comparisons show: the normalized error, unless another is chosen."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from icl_curriculum.results.statistics import THRESHOLD

PREDICTING_ZERO = "predicting zero"


@dataclass(frozen=True)
class ShownMetric:
    """What is shown.

    ``titles``: what the metrics are called, by id, the first that a table has being shown. ``improves``: which way a
    better learner's number lies. ``trivial``: the number of a learner that knows nothing, where it is the same in all
    cells, and ``shifted`` where it is that also under every shift. ``chosen``: the id of one that was asked for in the
    place of the usual ones. ``nothing``: what a learner that knows nothing does, in two words.
    """

    titles: Mapping[str, str] = field(
        default_factory=lambda: {"normalized_error": "normalized error", "median_error": "median error"}
    )
    improves: Literal["down", "up"] = "down"
    trivial: float | None = 1.0
    shifted: float | None = 1.0
    chosen: str | None = None
    nothing: str = PREDICTING_ZERO

    def of(self, evaluation: pd.DataFrame) -> ShownMetric:
        """The same, worded for what is in a table: where labels are classes, chance is what knows nothing."""
        classes = bool((evaluation["metric"] == "negative_log_likelihood").any())
        return replace(self, nothing="chance" if classes else PREDICTING_ZERO)

    @property
    def sign(self) -> int:
        """1 where less is better, -1 where more is: times it, less is always better."""
        return 1 if self.improves == "down" else -1

    @property
    def title(self) -> str:
        """What the first of the metrics is called."""
        return next(iter(self.titles.values()))

    @property
    def least(self) -> float:
        """Below which no number can be: an interval that reaches further is cut there."""
        return 0.0 if self.improves == "down" else -math.inf

    @property
    def noun(self) -> str:
        """What a number of it is called in a sentence."""
        return "error" if self.chosen is None else self.title

    @property
    def grows_worse(self) -> str:
        """What a number does that grows worse."""
        return "rises" if self.improves == "down" else "falls"

    @property
    def folder(self) -> str:
        """The folder for what is made with it; of the usual ones none."""
        return "" if self.chosen is None else "metric_" + self.chosen.replace("/", "-")

    @property
    def better(self) -> str:
        """Where a better number lies."""
        return "lower" if self.improves == "down" else "higher"

    @property
    def best(self) -> str:
        """Where the best number lies."""
        return "lowest" if self.improves == "down" else "highest"

    @property
    def worst(self) -> str:
        """Where the worst number lies."""
        return "highest" if self.improves == "down" else "lowest"

    @property
    def usual_threshold(self) -> float:
        """The number that counts as learned where nobody says one: halfway to what is best; NaN if that is unknown."""
        if self.chosen is None:
            return THRESHOLD
        if self.trivial is None or (self.improves == "up" and not self.trivial < 1):
            return math.nan
        return self.trivial / 2 if self.improves == "down" else (1 + self.trivial) / 2


#: Normalized: 1 is predicting zero and 0 perfect. The median stands in where the mean is infinite.
USUAL = ShownMetric()
_SHOWN: ContextVar[ShownMetric] = ContextVar("_SHOWN", default=USUAL)


def shown_metric() -> ShownMetric:
    """The metric that is shown at this moment."""
    return _SHOWN.get()


def metric_titles() -> Mapping[str, str]:
    """What the metrics that are shown are called, by id, the first that a table has being shown."""
    return shown_metric().titles


@contextlib.contextmanager
def showing(metric: ShownMetric) -> Iterator[None]:
    """Show this metric within the block."""
    token = _SHOWN.set(metric)
    try:
        yield
    finally:
        _SHOWN.reset(token)


@contextlib.contextmanager
def under_shifts() -> Iterator[None]:
    """For figures that show numbers under shifts: what is known of the trivial level is what holds under all."""
    shown = shown_metric()
    with showing(replace(shown, trivial=shown.shifted)):
        yield


def of_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with the metrics that are shown: in each cell the first of `metric_titles` that it has.

    So a median that was asked for beside the normalized error isn't shown in its place.
    """
    rows = table[table["metric"].isin(metric_titles())]
    there = [name for name in metric_titles() if (rows["metric"] == name).any()]
    if len(there) < 2:
        return rows
    keys = [name for name in ("function_class", "input_distribution", "shift") if name in rows]
    rank = rows["metric"].astype(object).map({name: number for number, name in enumerate(there)})
    cells = rows[keys].astype(object).assign(rank=rank)
    return rows[rank == cells.groupby(keys)["rank"].transform("min")]
