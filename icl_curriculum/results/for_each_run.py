"""An experiment's evaluation.csv as comparisons take it: with the rows of baselines and oracles for each run.

In the file they stand once (`standing_once`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_BANK = ["function_class", "input_distribution", "shift"]
#: The columns of a run that are empty where rows stand for several.
_EMPTY = ["run", "variant", "seed", "step"]

_Numbers = NDArray[np.int64]


def needs_run(evaluation: pd.DataFrame, column: str) -> pd.Series[bool]:
    """In which rows a column of the run may not be empty: in those of models, and of all that name a run."""
    return (evaluation["learner_kind"] == "model") | (evaluation["run"].notna() & (column in _EMPTY))


def for_each_run(evaluation: pd.DataFrame) -> pd.DataFrame:
    """The table in which each run has all of its rows, bank by bank, its model before the other learners.

    A row without a run is repeated for each run of its variant, or of all variants where it has none, with the run's
    own columns; whether its prompts are in distribution is what the rows of the run's model say. A table without such
    rows is returned as it is.
    """
    shared = evaluation["run"].isna().to_numpy()
    if not shared.any():
        return evaluation.astype({"seed": "int64"})
    bank = _numbered(evaluation[_BANK])
    run = _numbered(evaluation[["experiment", "run"]].assign(run=evaluation["run"].astype(object)))
    own = np.flatnonzero(~shared)
    if not len(own):
        return evaluation.iloc[:0].astype({"seed": "int64"})
    # A run has model rows, from which its other rows take what they lack.
    first_of_run = own[np.unique(run[own], return_index=True)[1]]
    variants = evaluation["variant"].astype(object)
    of_all, of_variant = np.flatnonzero(shared & variants.isna().to_numpy()), variants[shared].groupby(variants).indices
    at = np.flatnonzero(shared)
    rows, places = [own], [run[own]]
    for first, variant in zip(first_of_run, variants.iloc[first_of_run], strict=True):
        rows += [of_all, at[of_variant.get(variant, [])]]
        places.append(np.full(len(rows[-2]) + len(rows[-1]), run[first]))
    row, whose = np.concatenate(rows), np.concatenate(places)
    code = whose * (bank.max() + 1) + bank[row]
    begins = np.full(code.max() + 1, len(evaluation))
    np.minimum.at(begins, code[: len(own)], own)
    order = np.lexsort((row, begins[code], np.searchsorted(run[first_of_run], whose)))
    row, whose, code = (numbers[order] for numbers in (row, whose, code))
    table = evaluation.iloc[row].reset_index(drop=True)
    was_shared = shared[row]
    given = np.where(was_shared, first_of_run[np.searchsorted(run[first_of_run], whose)], row)
    for column in _EMPTY:
        table[column] = evaluation[column].iloc[given].reset_index(drop=True)
    length = table["n_context"].to_numpy(dtype=np.int64)
    asked = code * (length.max() + 1) + length
    inside = (table["learner_kind"] == "model").to_numpy() & table["in_distribution"].to_numpy(dtype=bool)
    told = np.where(was_shared, np.isin(asked, asked[inside]), table["in_distribution"].to_numpy(dtype=bool))
    return table.assign(in_distribution=told).astype({"seed": "int64"})


def _numbered(columns: pd.DataFrame) -> _Numbers:
    """A number for each row, equal where the rows are, in order of appearance."""
    groups = columns.groupby([*columns], observed=True, sort=False, dropna=False)
    return np.asarray(groups.ngroup(), dtype=np.int64)
