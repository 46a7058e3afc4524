"""Outcomes of runs that nobody trained, for what is computed from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.results.comparison.outcomes import QUANTITIES, SHIFTED, Curve, Key, Outcomes
from icl_curriculum.results.comparison.sources import CELL, RUN

LINEAR, QUADRATIC = ("linear", "gaussian"), ("quadratic", "gaussian")


def variant(errors: Mapping[tuple[str, str], Sequence[float]], **more: Any) -> dict[str, Any]:
    """A variant trained on the cells of ``errors``, final errors by seed; ``more``: steps, prompts, curves, ..."""
    return {"errors": errors, "steps": 100, "prompts": 6400.0, "asked": {}, **more}


def made_up(
    variants: Mapping[str, Mapping[str, Any]], *, threshold: float = 0.5, metric: str = "normalized_error"
) -> Outcomes:
    """A row per variant, cell and seed. Errors fall in a straight line from 1 at step 0, as prompts rise to theirs.

    ``asked``: errors in cells that a variant was not trained on. ``devices``: the kind of device of each seed.
    """
    rows, curves = [], {}
    devices = {
        (name, seed): kind for name, given in variants.items() for seed, kind in enumerate(given.get("devices", ()))
    }
    for name, given in variants.items():
        cells = {**given["errors"], **given["asked"]}
        for cell, errors in cells.items():
            trained = cell in given["errors"]
            for seed, error in enumerate(errors):
                if math.isnan(error):
                    continue
                steps, prompts = float(given["steps"]), given["prompts"] if trained else 0.0
                values = {
                    "steps": steps, "trained": trained, "single": trained and len(given["errors"]) == 1,
                    "prompts": prompts, "flops": 1000 * prompts, "error": error, "error_low": 0.9 * error,
                    "error_high": 1.1 * error, "plateau_end": given.get("plateau_end", 50.0),
                    "steps_to_error": given.get("steps_to_error", 100.0),
                    "prompts_to_error": given.get("prompts_to_error", prompts),
                    "error_after_block": error - given["forgotten"] if "forgotten" in given else math.nan,
                    "forgotten": given.get("forgotten", math.nan),
                    "worst_error": given.get("worst_error", 2 * error) if trained else math.nan,
                    "worst_shift": "skewed" if trained else "",
                }  # fmt: skip
                rows.append(["made_up", name, seed, *cell, 20, metric, *(values[key] for key in QUANTITIES)])
                part = np.array([0.0, 0.5, 1.0])
                key: Key = (name, seed, *cell)
                curves[key] = Curve(steps * part, prompts * part, np.array([1.0, (1 + error) / 2, error]))
    table = pd.DataFrame(rows, columns=[*RUN, *CELL, "n_context", "metric", *QUANTITIES])
    return Outcomes(table, curves, threshold, 0.9, pd.DataFrame(columns=SHIFTED), devices=devices)
