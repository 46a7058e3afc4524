"""The leaderboard: learners of any folders among those of the committed table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from icl_curriculum.core.files import check_writable, write_atomically
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.scorecard.axes import MEAN
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.learners import ScoredLearner
from icl_curriculum.results.scorecard.table import leaderboard_rows
from icl_curriculum.results.tables import read_as_written

#: The committed table: inside an installed package, and at the top of a checkout.
_INSIDE = Path(__file__).parents[2] / "leaderboard"
COMMITTED = _INSIDE if _INSIDE.is_dir() else Path(__file__).parents[3] / "results"

#: The columns that tell a learner.
LEARNER = ["experiment", "learner"]


def committed_leaderboard(folder: Path = COMMITTED) -> pd.DataFrame:
    """The committed table."""
    return read_as_written(folder, "leaderboard")


def leaderboard_table(found: Sequence[ScoredLearner], committed: pd.DataFrame) -> pd.DataFrame:
    """The rows of learners, and of the committed ones that are not among them, best first; those without rank last.

    A committed learner is among them where one has the same configs, or is the same baseline.
    """
    header = TABLES["leaderboard"].header
    own = pd.DataFrame(list(leaderboard_rows(benchmark().name, found)), columns=header, dtype=object)
    hashes = {" ".join(learner.config_hashes) for learner in found if learner.config_hashes}
    baselines = {learner.name for learner in found if learner.kind == "baseline"}
    again = committed["config_hashes"].isin(hashes)
    again |= committed["learner"].isin(baselines) & (committed["learner_kind"] == "baseline")
    kept = committed.loc[~again, header].astype(object)
    table = pd.concat([part for part in (own, kept) if len(part)] or [own], ignore_index=True)
    means = table[(table["axis"] == MEAN) & table["seed"].isna()]
    order = means.sort_values(["ranked", "score"], ascending=False, kind="stable")[LEARNER]
    place = {key: number for number, key in enumerate(order.itertuples(index=False, name=None))}
    places = [place.get(key, len(place)) for key in table[LEARNER].itertuples(index=False, name=None)]
    ordered = table.assign(place=places).sort_values("place", kind="stable").drop(columns="place")
    return ordered.reset_index(drop=True).infer_objects()


def write_leaderboard(found: Sequence[ScoredLearner], path: Path) -> None:
    """Write the table of these learners alone into a file."""
    check_writable(path.parent)
    rows = leaderboard_rows(benchmark().name, found)
    write_atomically(path, csv_text([TABLES["leaderboard"].header, *rows]))
