"""Whom a model answers most like, from prediction_differences.csv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from icl_curriculum.results.statistics.seeds import CONFIDENCE, Estimate, estimate, paired_difference

#: Both are 0 where two learners answer alike; the median stands in where the mean is infinite.
DIFFERENCES = {"normalized_difference": "normalized difference", "median_difference": "median difference"}

#: Prompt lengths to show, as shares of the longest: d/2, d, 2d and 4d where that is 4d.
SHARES = (1 / 8, 1 / 4, 1 / 2, 1)

#: Learners whose differences from a model are as near to each other as this, in relative terms, answer alike.
_ALIKE = 1e-6


def final_differences(table: pd.DataFrame) -> pd.DataFrame:
    """The differences of each run's model, at its last step, from the learners that do not train.

    Where a cell has no mean, its rows are those of the median.
    """
    models = table[(table["learner_kind"] == "model") & (table["other_kind"] != "model")]
    last = models.groupby(["experiment", "run"], observed=True)["step"].transform("max")
    return models[models["metric"].isin(DIFFERENCES) & (models["step"] == last)]


def shown_lengths(rows: pd.DataFrame) -> list[int]:
    """A few prompt lengths, within those trained on, that show the whole: where there are, those that all others have.

    ``rows``: of one cell without a shift. Costly learners are asked at d/2, d, 2d and 4d examples.
    """
    inside = rows[rows["in_distribution"].astype(bool)]
    inside = inside if len(inside) else rows
    inside = inside[inside["n_context"] > 0]
    if inside.empty:
        return []
    common = set.intersection(*(set(own["n_context"]) for _, own in inside.groupby("other_learner", observed=True)))
    lengths = np.array(sorted(common or set(inside["n_context"])))
    if len(lengths) <= len(SHARES):
        return [int(k) for k in lengths]
    return sorted({int(lengths[np.abs(lengths - share * lengths[-1]).argmin()]) for share in SHARES})


@dataclass(frozen=True)
class Closest:
    """The learner whose answers are closest to a model's at one prompt length.

    ``learners``: its id, and those of others that answer the same. ``difference``: from the model, over seeds, or of
    one seed over prompts. ``contested``: those of which it is open whether they are closer, by the paired difference
    over seeds, or for one seed as intervals over prompts overlap. ``n_prompts``: how many prompts it was asked.
    """

    k: int
    learners: tuple[str, ...]
    difference: Estimate
    contested: tuple[str, ...]
    n_prompts: int


def closest(rows: pd.DataFrame, k: int, *, confidence: float = CONFIDENCE) -> Closest | None:
    """The learner that is closest at ``k`` examples; None where there is no number.

    ``rows``: of `final_differences`, of one model and one bank, any number of seeds.
    """
    at = rows[rows["n_context"] == k]
    of_learner = {
        str(name): own.sort_values("run") for name, own in at.groupby("other_learner", sort=False, observed=True)
    }
    runs = at["run"].nunique()
    values = {name: own["value"].to_numpy(np.float64) for name, own in of_learner.items()}
    values = {name: own for name, own in values.items() if len(own) == runs and not np.isnan(own).any()}
    if not values:
        return None
    found = {
        name: estimate([own], confidence=confidence) if runs > 1 else _over_prompts(of_learner[name])
        for name, own in values.items()
    }
    best = min(found, key=lambda name: found[name].value)
    same = [name for name, own in values.items() if np.allclose(own, values[best], rtol=_ALIKE, atol=1e-12)]
    contested = []
    for name, own in values.items():
        if runs > 1:
            apart = paired_difference(own, values[best], confidence=confidence).low > 0
        else:
            # Without an interval nothing can be said, so nothing is.
            apart = not found[name].low <= found[best].high
        if name not in same and not apart:
            contested.append(name)
    return Closest(k, tuple(same), found[best], tuple(contested), int(of_learner[best]["n_prompts"].min()))


def _over_prompts(rows: pd.DataFrame) -> Estimate:
    """The one number of one run, with its interval over prompts."""
    value, low, high = (float(rows[name].iloc[0]) for name in ("value", "ci_low", "ci_high"))
    return Estimate(value, low, high, 1)
