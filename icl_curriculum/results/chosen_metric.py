"""A metric that is chosen by its id, as the runs of an experiment describe it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from icl_curriculum.core.errors import UserError, closest_and_known
from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.core.options import option
from icl_curriculum.core.registry import METRICS
from icl_curriculum.results.manifests import MANIFEST, read_sealed
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
        missing = f"{option('--metric')}: {directory / 'evaluation.csv'} has no metric {chosen!r}"
        if Identifier.parse(chosen).name in METRICS.names():
            way_out = f"add it to the experiment, evaluation.metrics = [{chosen!r}], or ask for it by icl evaluate"
            raise UserError(missing, way_out=way_out)
        raise UserError(f"{missing}{closest_and_known(chosen, known)}")
    if chosen in USUAL.titles:
        return ShownMetric({chosen: USUAL.titles[chosen]}, chosen=None if chosen == "normalized_error" else chosen)
    manifests = [manifest for _, manifest in survey(directory).finished]
    if (directory / MANIFEST).is_file():  # That of a command's own folder, which holds no runs.
        with contextlib.suppress(OSError, ValueError):
            manifests.append(read_sealed(directory / MANIFEST))
    found = [said for manifest in manifests if (said := _of(chosen, manifest))]
    levels = [said["trivial"] for said in found if isinstance(said.get("trivial"), dict)]
    under = [said["shifted"] for said in found if isinstance(said.get("shifted"), dict)]
    joined = {"trivial": _numbered(levels), "shifted": _numbered(under)}
    return described_metric(chosen, {**found[0], **joined} if found else {})


def _of(chosen: str, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a manifest says of a metric."""
    described = manifest.get("metrics")
    said = described.get(chosen) if isinstance(described, dict) else None
    return said if isinstance(said, dict) else None


def _numbered(levels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The levels of several runs, each by a key of its own."""
    return {f"{number}/{name}": level for number, each in enumerate(levels) for name, level in each.items()}


def described_metric(chosen: str, described: Mapping[str, Any] = MappingProxyType({})) -> ShownMetric:
    """What a manifest says of a metric; where it says nothing, what the metric of that name says itself."""
    title, improves = described.get("title"), described.get("improves")
    if not isinstance(title, str) or improves not in ("down", "up"):
        with contextlib.suppress(UserError):
            cls: Any = METRICS.get(Identifier.parse(chosen).name)
            title, improves = cls.wording(), cls.improves
    trivial = _common(described.get("trivial"))
    shifted = _common(described.get("shifted"), trivial)
    return ShownMetric(
        {chosen: title if isinstance(title, str) else chosen.replace("_", " ")},
        "up" if improves == "up" else "down",
        trivial,
        shifted,
        chosen,
    )


def _common(levels: object, *others: float | None) -> float | None:
    """The number that all levels are, and the ``others``; None if there is none, or several."""
    numbers = [*levels.values(), *others] if isinstance(levels, dict) else list(others)
    known = [float(item) for item in numbers if isinstance(item, int | float) and math.isfinite(item)]
    same = known and len(known) == len(numbers) and max(known) - min(known) <= 1e-9 * abs(known[0])
    return known[0] if same else None
