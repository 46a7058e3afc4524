"""What masking heads does, over the seeds of each variant: masking.csv, from the errors of the runs alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from icl_curriculum.core.identifiers import Identifier
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.derived import write_derived
from icl_curriculum.results.head_rows import MaskingRow
from icl_curriculum.results.statistics.seeds import estimate
from icl_curriculum.results.tables import read_table, with_metric

#: What the id of a masked model begins with; the mask follows.
MASKED = "model/masked="
_RUN = ["experiment", "variant"]
_CELL = ["function_class", "input_distribution"]


def write_masking(folder: Path) -> Path:
    """Write ``folder``/masking.csv from its evaluation.csv, which holds the rows of `icl heads` of several runs."""
    path = folder / "masking.csv"
    write_derived(path, csv_text([TABLES["masking"].header, *masking_rows(read_table(folder, "evaluation"))]))
    return path


def masking_rows(evaluation: pd.DataFrame) -> Iterator[MaskingRow]:
    """The rows of masking.csv: for each variant, cell and mask, errors over seeds at the longest trained prompt."""
    # Along training, the last step is what the others led to.
    evaluation = evaluation[evaluation["step"] == evaluation.groupby("run", observed=True)["step"].transform("max")]
    inside = evaluation[evaluation["in_distribution"].astype(bool)]
    for (experiment, variant), of_variant in inside.groupby(_RUN, sort=False, observed=True):
        for (function_class, inputs), cell in of_variant.groupby(_CELL, sort=False, observed=True):
            last = cell[cell["n_context"] == cell["n_context"].max()]
            metric, rows = with_metric(last)
            errors = rows.pivot_table(index="seed", columns="learner", values="value", sort=False)
            for mask in masks_of(errors.columns):
                controls = errors[controls_of(mask, errors.columns)]
                for quantity, values in _quantities(errors["model"], errors[MASKED + mask], controls):
                    found = estimate([values.to_numpy()], "mean")
                    yield MaskingRow(
                        experiment=str(experiment), variant=str(variant), function_class=str(function_class),
                        input_distribution=str(inputs), mask=mask, n_context=int(last["n_context"].iloc[0]),
                        metric=metric, quantity=quantity, value=found.value, ci_low=found.low, ci_high=found.high,
                        n_seeds=len(values), n_controls=controls.shape[1],
                    )  # fmt: skip


def masks_of(learners: pd.Index[str]) -> list[str]:
    """The masks among the ids of learners, without their control sets.

    >>> masks_of(pd.Index(["model", "model/masked=start/n=2", "model/masked=start/n=2/control=1"]))
    ['start/n=2']
    """
    masked = [name.removeprefix(MASKED) for name in learners if name.startswith(MASKED)]
    return [mask for mask in masked if "control" not in Identifier.parse(mask).settings]


def controls_of(mask: str, learners: pd.Index[str]) -> list[str]:
    """The ids of a mask's control sets."""
    masked = [name for name in learners if name.startswith(MASKED)]
    parsed = {name: Identifier.parse(name.removeprefix(MASKED)) for name in masked}
    return [name for name, of in parsed.items() if "control" in of.settings and str(of.without("control")) == mask]


def _quantities(
    error: pd.Series[float], masked: pd.Series[float], controls: pd.DataFrame
) -> Iterator[tuple[str, pd.Series[float]]]:
    """Every quantity of masking.csv, seed by seed."""
    yield "error", error
    yield "masked", masked
    yield "masked_minus_error", masked - error
    if controls.shape[1]:
        yield "control", controls.mean(axis=1)
        yield "worst_control", controls.max(axis=1)
        yield "masked_minus_control", masked - controls.mean(axis=1)
        below = np.less(controls.to_numpy(), masked.to_numpy()[:, None]).mean(axis=1)
        yield "controls_below", pd.Series(below, index=masked.index)
