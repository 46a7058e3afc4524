"""Outcomes of runs that nobody trained, for tests of the figures that set variants side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.results.comparison.outcomes import QUANTITIES, SHIFTED, Curve, Outcomes
from icl_curriculum.results.comparison.sources import CELL, RUN

Cell = tuple[str, str]
LINEAR, QUADRATIC = ("linear", "gaussian"), ("quadratic", "gaussian")
STEPS = np.array([0.0, 100.0, 200.0, 300.0, 400.0])
BATCH = 10
SHIFTS = (("shift", "scaled_inputs/2", 2.0), ("inputs", "skewed", 1.5))

#: Variant -> the cells that it trains on, each from a step to a step.
VARIANTS: dict[str, dict[Cell, tuple[float, float]]] = {
    "single_linear": {LINEAR: (0, 400)},
    "single_quadratic": {QUADRATIC: (0, 400)},
    "sequential": {LINEAR: (0, 200), QUADRATIC: (200, 400)},
    "mixed": {LINEAR: (0, 400), QUADRATIC: (0, 400)},
    "brief_linear": {LINEAR: (0, 300)},
}
#: Least first, so that the middle three are easily told.
FIVE = (0.1, 0.2, 0.3, 0.4, 2.0)


def make_outcomes(
    variants: Mapping[str, Mapping[Cell, tuple[float, float]]] = VARIANTS,
    errors: Sequence[float] = FIVE,
    *,
    factors: Mapping[str, float] | None = None,
    metrics: Mapping[Cell, str] | None = None,
    ledger: bool = True,
    shifts: Sequence[tuple[str, str, float]] = SHIFTS,
) -> Outcomes:
    """A run for each variant and error, on every cell: the error at the end, times the variant's factor.

    A cell that was not trained on has ten times the error. Curves fall from 1 in a straight line to the error in the
    end; the error after a block is half of that.
    """
    cells = list(dict.fromkeys(cell for trained in variants.values() for cell in trained))
    rows: list[list[Any]] = []
    curves = {}
    shifted: list[list[Any]] = []
    for variant, trained in variants.items():
        steps = STEPS[: np.searchsorted(STEPS, max(end for _, end in trained.values())) + 1]
        for cell in cells:
            start, end = trained.get(cell, (0, 0))
            for seed, given in enumerate(errors):
                error = given * (factors or {}).get(variant, 1.0) * (1 if cell in trained else 10)
                spent = np.clip(steps - start, 0, end - start) * BATCH * (1 + seed / 10) if ledger else steps * math.nan
                values = np.append(1 + (min(error, 1e9) - 1) * steps[:-1] / steps[-1], error)
                curves[variant, seed, *cell] = Curve(steps, spent, values)
                stopped = cell in trained and end < steps[-1]
                metric = (metrics or {}).get(cell, "normalized_error")
                found = dict.fromkeys(QUANTITIES, math.nan) | {
                    "steps": steps[-1], "trained": cell in trained, "single": [*trained] == [cell], "error": error,
                    "prompts": spent[-1], "error_after_block": error / 2 if stopped else math.nan,
                    "forgotten": error / 2 if stopped else math.nan, "worst_shift": "",
                }  # fmt: skip
                run = ["made_up", variant, seed, *cell]
                rows.append([*run, 10, metric, *found.values()])
                if cell in trained:
                    shifted += [[*run, name, kind, 10, metric, factor * error] for kind, name, factor in shifts]
    table = pd.DataFrame(rows, columns=[*RUN, *CELL, "n_context", "metric", *QUANTITIES])
    return Outcomes(table, curves, 0.5, 0.9, pd.DataFrame(shifted, columns=SHIFTED))
