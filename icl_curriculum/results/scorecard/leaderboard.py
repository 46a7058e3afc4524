"""The leaderboard: learners of any folders among those of the committed table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import check_writable, write_atomically
from icl_curriculum.core.options import option
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.scorecard.axes import MEAN
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.learners import ScoredLearner
from icl_curriculum.results.scorecard.table import leaderboard_rows
from icl_curriculum.results.tables import read_as_written

#: The committed table: inside an installed package, and at the top of a checkout.
_INSIDE = Path(__file__).parents[2] / "leaderboard"
COMMITTED = _INSIDE if _INSIDE.is_dir() else Path(__file__).parents[3] / "results"

#: The columns that tell a learner from others of its name.
LEARNER = ["experiment", "learner", "config_hashes", "command"]
#: What stands in them.
LearnerKey = tuple[str | None, ...]


def key_of(learner: ScoredLearner) -> LearnerKey:
    """What tells a learner from others, in the order of `LEARNER`."""
    return learner.experiment, learner.name, " ".join(learner.config_hashes) or None, learner.command


def committed_leaderboard(folder: Path = COMMITTED) -> pd.DataFrame:
    """The committed table. UserError for one of another benchmark, or whose numbers don't go together."""
    table = read_as_written(folder, "leaderboard")
    frozen = benchmark()
    if problem := _problem(table, frozen.name):
        raise UserError(f"{folder / 'leaderboard.csv'} is damaged: {problem}; restore it")
    return table


def _problem(table: pd.DataFrame, name: str) -> str | None:
    """What cannot be true of a leaderboard; None where nothing is found."""
    if others := sorted({*table["benchmark"].astype(str)} - {name}):
        return f"it is of {others[0]}, expected {name}"
    keys = [*LEARNER, "axis"]
    of_seeds = table[table["seed"].notna()]
    over_seeds = table[table["seed"].isna()].set_index(keys)["score"]
    if over_seeds.index.has_duplicates:
        return "a learner stands there twice"
    means = of_seeds.groupby(keys, observed=True, dropna=False)["score"].mean()
    if len(means) and not np.allclose(over_seeds.reindex(means.index), means, rtol=0, atol=1e-7):
        return "a score over seeds is not the mean of those of the seeds"
    return None


def leaderboard_table(found: Sequence[ScoredLearner], committed: pd.DataFrame) -> pd.DataFrame:
    """The rows of learners, and of the committed ones that are not among them, best first; those without rank last.

    A committed learner is among them where one has the same name and configs. Learners that were computed with other
    versions than all committed ones are remarked on.
    """
    header = TABLES["leaderboard"].header
    own = pd.DataFrame(list(leaderboard_rows(benchmark().name, found)), columns=header, dtype=object)
    if len(committed) and len(own):
        own["remark"] = [_with_versions(row, committed) for row in own.to_dict("records")]
    keys = {(row.learner, row.config_hashes, row.command if row.prompts is None else None) for row in own.itertuples()}
    kept = committed[header].astype(object).where(committed[header].notna(), None)
    again = [
        (row.learner, row.config_hashes, row.command if row.prompts is None else None) in keys
        for row in kept.itertuples()
    ]
    kept = kept[~np.array(again, dtype=bool)]
    table = pd.concat([part for part in (own, kept) if len(part)] or [own], ignore_index=True)
    means = table[(table["axis"] == MEAN) & table["seed"].isna()]
    order = means.sort_values(["ranked", "score"], ascending=False, kind="stable")[LEARNER]
    place = {key: number for number, key in enumerate(order.itertuples(index=False, name=None))}
    places = [place.get(key, len(place)) for key in table[LEARNER].itertuples(index=False, name=None)]
    ordered = table.assign(place=places).sort_values("place", kind="stable").drop(columns="place")
    return ordered.reset_index(drop=True).infer_objects()


def _with_versions(row: Mapping[Hashable, Any], committed: pd.DataFrame) -> str | None:
    """The remark of a row, with the versions that differ from those of all committed rows."""
    said = [row["remark"]] if row["remark"] else []
    for column, what in (("package_version", "icl_curriculum"), ("torch_version", "torch")):
        others = sorted({*committed[column].astype(str)})
        if row[column] not in others:
            said.append(f"computed with {what} {row[column]}, the committed table with {', '.join(others)}")
    return "; ".join(said) or None


def write_leaderboard(found: Sequence[ScoredLearner], path: Path) -> None:
    """Write the table of these learners alone into a file."""
    if path.is_dir():
        raise UserError(f"{option('--output')}: {path} is a folder; expected a file")
    check_writable(path.parent)
    rows = leaderboard_rows(benchmark().name, found)
    write_atomically(path, csv_text([TABLES["leaderboard"].header, *rows]))
