"""Curves of errors: a model's with its seeds, and those of learners that do not train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from icl_curriculum.figures.emphasis import OTHER
from icl_curriculum.figures.names import LearnerStyle, learner_label
from icl_curriculum.figures.scales import as_costs, bounded, range_label
from icl_curriculum.results.tables import over_seeds

#: Curves closer than this everywhere, in powers of ten, look like one.
SAME = 0.05

#: Curves with up to this many points have them marked.
FEW = 4


def look_alike(one: pd.Series, other: pd.Series) -> bool:
    distance = np.abs(as_costs(one) - as_costs(other.reindex(one.index)))
    return bool((distance < SAME).all())


def draw_reference(
    axes: Axes, curve: pd.Series, style: LearnerStyle, learner: str, *, marker: str = "", labelled: bool = True
) -> None:
    """Draw the errors of a learner that does not train. ``labelled``: for the legend."""
    axes.plot(
        curve.index, bounded(curve), color=style.colour, linestyle=style.line, linewidth=style.width, marker=marker,
        markersize=3.5, label=learner_label(learner) if labelled else None, gid=learner,
    )  # fmt: skip


@dataclass(frozen=True)
class ModelCurves:
    """Models that are drawn as one line, their seeds together; ``name`` tells it from others, if there are any."""

    learner: str
    experiment: str = ""
    variant: str = ""
    name: str = ""

    @property
    def gid(self) -> str:
        return f"{self.learner} {self.name}".rstrip()

    def of(self, rows: pd.DataFrame) -> pd.DataFrame:
        own = rows[(rows["learner"] == self.learner) & (rows["learner_kind"] == "model")]
        return own[(own["experiment"] == self.experiment) & (own["variant"] == self.variant)]


def trained_models(rows: pd.DataFrame) -> list[ModelCurves]:
    """The models in a table: one for each learner of an experiment's variant.

    They are named by their experiments where these differ, by their variants within one experiment, and by both where
    neither is enough.
    """
    models = rows.loc[rows["learner_kind"] == "model", ["learner", "experiment", "variant"]].drop_duplicates()
    trained = models[["experiment", "variant"]].drop_duplicates()
    if len(trained) == 1:
        names = [""] * len(models)
    elif trained["experiment"].is_unique:
        names = list(models["experiment"])
    elif trained["experiment"].nunique() == 1:
        names = list(models["variant"])
    else:
        names = list(models["experiment"] + ", " + models["variant"])
    found = zip(models["learner"], models["experiment"], models["variant"], names, strict=True)
    return [ModelCurves(*map(str, each)) for each in found]


def draw_model(
    axes: Axes, errors: pd.DataFrame, by: str, style: LearnerStyle, model: ModelCurves, *, marker: str = "",
    spread: bool = True,
) -> pd.DataFrame:  # fmt: skip
    """Draw a model's mean, single seeds and band against a column, above other learners' lines. Returns the band.

    ``spread``: whether the legend explains the single seeds and the band; otherwise the note is to (`spread_note`). One
    that has no colour of its own has a mean alone.
    """
    seeds = errors["seed"].nunique()
    summary = over_seeds(errors, by)
    if style == OTHER:
        axes.plot(
            summary.index, bounded(summary["mean"]), color=style.colour, linestyle=style.line, linewidth=style.width,
            gid=model.gid, zorder=2.5,
        )  # fmt: skip
        return summary[["mean"]]
    axes.plot(
        summary.index, bounded(summary["mean"]), color=style.colour, linestyle=style.line, linewidth=style.width,
        marker=marker or (style.marker if len(summary) <= FEW else ""), markersize=4.5,
        label=learner_label(model.learner, seeds, model.name), gid=model.gid, zorder=4,
    )  # fmt: skip
    if (summary["low"] < summary["high"]).any():
        low, high = bounded(summary["low"]), bounded(summary["high"])
        look: dict[str, Any] = {
            "color": style.colour, "label": range_label(seeds) if spread else None, "gid": f"{model.gid} range"
        }  # fmt: skip
        if len(summary) == 1:
            axes.vlines(summary.index, low, high, linewidth=1.2, **look)
        else:
            axes.fill_between(summary.index, low, high, alpha=0.2, linewidth=0, **look)
    if seeds > 1:
        for _, of_seed in errors.groupby("seed"):
            single = of_seed.groupby(by)["value"].mean()
            axes.plot(
                single.index, bounded(single), color=style.colour, linewidth=0.5, alpha=0.6,
                label="one seed" if spread else None, gid=f"{model.gid} seed", zorder=3,
            )  # fmt: skip
    return summary


def spread_note(seeds: int, *, band: bool = True) -> list[str]:
    """A sentence on what the bands and thin lines of `draw_model` are. ``band``: whether there is one."""
    what = [f"bands: {range_label(seeds)}"] * band + ["thin lines: single seeds"] * (seeds > 1)
    text = ", ".join(what)
    return [f"{text[:1].upper()}{text[1:]}."] if text else []
