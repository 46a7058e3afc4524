"""A metric that is chosen by its id, as the runs of an experiment describe it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icl_curriculum.core.errors import UserError, closest_and_known
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.registry import METRICS
from icl_curriculum.results.shown_metric import USUAL, ShownMetric
from icl_curriculum.results.surveying import survey
from icl_curriculum.results.tables import read_table


def choose_metric(directory: Path, chosen: str | None) -> ShownMetric:
    """The metric ``chosen`` by id, as the runs of an experiment's folder describe it; None: the usual ones.

    UserError, with those that there are, for one that its evaluation.csv does not have.
    """
    if chosen is None:
        return USUAL
    known = sorted(map(str, read_table(directory, "evaluation")["metric"].unique()))
    if chosen not in known:
        missing = f"--metric: {directory / 'evaluation.csv'} has no metric {chosen!r}"
        if Identifier.parse(chosen).name in METRICS.names():
            way_out = f"add it to the experiment, evaluation.metrics = [{chosen!r}], or ask for it by icl evaluate"
            raise UserError(missing, way_out=way_out)
        raise UserError(f"{missing}{closest_and_known(chosen, known)}")
    if chosen in USUAL.titles:
        return ShownMetric({chosen: USUAL.titles[chosen]}, chosen=None if chosen == "normalized_error" else chosen)
    described: dict[str, Any] = {}
    for _, manifest in survey(directory).finished:
        found = manifest.get("metrics")
        if isinstance(found, dict) and isinstance(found.get(chosen), dict):
            described = found[chosen]
            break
    return described_metric(chosen, described)


def described_metric(chosen: str, described: Mapping[str, Any] = MappingProxyType({})) -> ShownMetric:
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
