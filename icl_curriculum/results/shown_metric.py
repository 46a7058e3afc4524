"""The metric that figures and comparisons show: the normalized error, unless another is chosen."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from icl_curriculum.core.errors import UserError, closest_and_known
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.registry import METRICS
from icl_curriculum.results.statistics import THRESHOLD
from icl_curriculum.results.surveying import survey


@dataclass(frozen=True)
class ShownMetric:
    """What is shown.

    ``titles``: what the metrics are called, by id, the first that a table has being shown. ``improves``: which way a
    better learner's number lies. ``trivial``: the number of a learner that knows nothing, where it is the same in all
    cells. ``chosen``: the id of one that was asked for in the place of the usual ones.
    """

    titles: Mapping[str, str] = field(
        default_factory=lambda: {"normalized_error": "normalized error", "median_error": "median error"}
    )
    improves: Literal["down", "up"] = "down"
    trivial: float | None = 1.0
    chosen: str | None = None

    @property
    def sign(self) -> int:
        """1 where less is better, -1 where more is: times it, less is always better."""
        return 1 if self.improves == "down" else -1

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
        if self.trivial is None:
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


def choose_metric(directory: Path, chosen: str | None) -> ShownMetric:
    """The metric ``chosen`` by id, as the runs of an experiment's folder describe it; None: the usual ones.

    UserError, with those that there are, for one that its evaluation.csv does not have.
    """
    if chosen is None:
        return USUAL
    from icl_curriculum.results.tables import read_table

    known = sorted(map(str, read_table(directory, "evaluation")["metric"].unique()))
    if chosen not in known:
        raise UserError(
            f"--metric: {directory / 'evaluation.csv'} has no metric {chosen!r}{closest_and_known(chosen, known)}",
            way_out=f"add it to the experiment, evaluation.metrics = [{chosen!r}], or ask for it by icl evaluate",
        )
    if chosen in USUAL.titles:
        return ShownMetric({chosen: USUAL.titles[chosen]}, chosen=None if chosen == "normalized_error" else chosen)
    described: dict[str, Any] = {}
    for _, manifest in survey(directory).finished:
        found = manifest.get("metrics")
        if isinstance(found, dict) and isinstance(found.get(chosen), dict):
            described = found[chosen]
            break
    return _described(chosen, described)


def _described(chosen: str, described: Mapping[str, Any]) -> ShownMetric:
    """What a manifest says of a metric; where it says nothing, what the metric of that name says itself."""
    title, improves = described.get("title"), described.get("improves")
    if not isinstance(title, str) or improves not in ("down", "up"):
        with contextlib.suppress(UserError):
            cls: Any = METRICS.get(Identifier.parse(chosen).name)
            title, improves = cls.wording(), cls.improves
    levels = described.get("trivial")
    numbers = set(levels.values()) if isinstance(levels, dict) else set()
    level = next(iter(numbers)) if len(numbers) == 1 else None
    known = isinstance(level, int | float) and math.isfinite(level)
    return ShownMetric(
        {chosen: title if isinstance(title, str) else chosen.replace("_", " ")},
        "up" if improves == "up" else "down",
        float(level) if known and level is not None else None,
        chosen,
    )


def of_shown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table with the metrics that are shown."""
    return table[table["metric"].isin(metric_titles())]
