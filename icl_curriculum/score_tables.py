"""The tables that ``icl score`` ends with, one for each cell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from icl_curriculum.result_tables import METRICS, read_table

#: Prompt lengths that are shown, as shares of the longest.
SHARES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)


def score_tables(
    directory: Path, asked: Sequence[tuple[str, str, str]], learners: Collection[str]
) -> Iterator[tuple[str, Table]]:
    """Errors of the learners and the oracle: a title and a table for each cell of class, inputs and shift."""
    frame = read_table(directory, "evaluation")
    frame = frame[frame["metric"].isin(METRICS)]
    frame = frame[frame["learner"].isin(learners) | (frame["learner_kind"] == "oracle")]
    for function_class, inputs, shift in asked:
        cell = frame[
            (frame["function_class"] == function_class)
            & (frame["input_distribution"] == inputs)
            & (frame["shift"] == shift)
        ]
        if len(cell):
            names = ", ".join([function_class, f"{inputs} inputs", *[shift] * (shift != "none")])
            median = (cell["metric"] == "median_error").any()
            kind = "median error (the mean is infinite)" if median else "normalized error (1 = predicting zero)"
            yield f"{names}: {kind}", _table(cell)


def _table(cell: pd.DataFrame) -> Table:
    table = Table(box=None, header_style="", pad_edge=False)
    table.add_column("learner", overflow="fold")
    lengths = _lengths(cell)
    for k in lengths:
        table.add_column(f"k={k}", justify="right")
    table.add_column("prompts", justify="right")
    for learner, rows in cell.groupby("learner", sort=False):
        values = rows.groupby("n_context")["value"].mean()
        counts = rows["n_prompts"]
        few, many = int(counts.min()), int(counts.max())
        table.add_row(
            str(learner),
            *(f"{values[k]:.3f}" if k in values.index else "–" for k in lengths),
            f"{few}" if few == many else f"{few}–{many}",
        )
    return table


def _lengths(cell: pd.DataFrame) -> list[int]:
    """Prompt lengths to show: those that all learners have, or else a few of the longest learner's, evenly."""
    by_learner = [set(rows["n_context"]) for _, rows in cell.groupby("learner")]
    common = sorted(set.intersection(*by_learner) - {0}) or sorted(set.union(*by_learner))
    if len(common) <= len(SHARES):
        return common
    return sorted({common[int(np.abs(np.asarray(common) - share * common[-1]).argmin())] for share in SHARES})
