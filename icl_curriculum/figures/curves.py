"""Curves of errors: a model's with its seeds, and those of learners that do not train."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from icl_curriculum.figures.names import LearnerStyle, learner_label
from icl_curriculum.figures.panels import bounded, range_label
from icl_curriculum.figures.tables import over_seeds

#: Curves closer than this everywhere, in powers of ten, look like one.
SAME = 0.03


def look_alike(one: pd.Series, other: pd.Series) -> bool:
    distance = np.abs(np.log10(bounded(one)) - np.log10(bounded(other.reindex(one.index))))
    return bool((distance < SAME).all())


def draw_reference(axes: Axes, curve: pd.Series, style: LearnerStyle, learner: str, *, marker: str = "") -> None:
    """The errors of a learner that does not train."""
    axes.plot(
        curve.index, bounded(curve), color=style.colour, linestyle=style.line, linewidth=style.width, marker=marker,
        markersize=3.5, label=learner_label(learner), gid=learner,
    )  # fmt: skip


def draw_model(
    axes: Axes, errors: pd.DataFrame, by: str, style: LearnerStyle, learner: str, *, marker: str = ""
) -> pd.DataFrame:
    """A model's mean, single seeds and band by a column, above the other learners' lines; returns the band."""
    seeds = errors["seed"].nunique()
    summary = over_seeds(errors, by)
    axes.plot(
        summary.index, bounded(summary["mean"]), color=style.colour, linewidth=style.width, marker=marker,
        markersize=4.5, label=learner_label(learner, seeds), gid=learner, zorder=4,
    )  # fmt: skip
    if (summary["low"] < summary["high"]).any():
        axes.fill_between(
            summary.index, bounded(summary["low"]), bounded(summary["high"]), color=style.colour, alpha=0.2,
            linewidth=0, label=range_label(seeds), gid=f"{learner} range",
        )  # fmt: skip
    if seeds > 1:
        for _, of_seed in errors.groupby("seed"):
            single = of_seed.groupby(by)["value"].mean()
            axes.plot(
                single.index, bounded(single), color=style.colour, linewidth=0.5, alpha=0.6, label="one seed",
                gid=f"{learner} seed", zorder=3,
            )  # fmt: skip
    return summary
