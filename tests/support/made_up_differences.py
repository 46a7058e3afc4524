"""Differences of predictions that nobody computed, for tests of what is drawn and said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from icl_curriculum.results.columns import TABLES

Row = dict[str, Any]
#: By learner, then by the number of examples: a value for each seed.
Values = Mapping[str, Mapping[int, Sequence[float]]]


def differences(
    values: Values,
    function_class: str = "linear",
    *,
    inputs: str = "gaussian",
    shift: str = "none",
    variant: str = "mixed",
    metric: str = "normalized_difference",
    inside: bool = True,
    prompts: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """The rows of one cell; intervals over prompts reach a tenth to both sides."""
    rows: list[Row] = []
    for learner, by_length in values.items():
        kind = "oracle" if learner.endswith("oracle") else "baseline"
        for k, of_seeds in by_length.items():
            for seed, value in enumerate(of_seeds):
                run = {"experiment": "made_up", "run": f"{variant}-seed{seed}", "variant": variant, "seed": seed}
                who = {"step": 100, "learner": "model", "learner_kind": "model", "other_learner": learner,
                       "other_kind": kind, "other_run": None}  # fmt: skip
                cell = {"function_class": function_class, "input_distribution": inputs, "shift": shift}
                number = {"in_distribution": inside, "n_context": k, "metric": metric, "value": value,
                          "ci_low": 0.9 * value, "ci_high": 1.1 * value}  # fmt: skip
                rows.append(run | who | cell | number | {"n_prompts": (prompts or {}).get(learner, 640)})
    return pd.DataFrame(rows, columns=TABLES["prediction_differences"].header)
