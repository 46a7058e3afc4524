"""The scores of learners without training, from a folder that ``icl score --benchmark`` wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from icl_curriculum.results.collecting import check_tables_alone
from icl_curriculum.results.manifests import read_of_command
from icl_curriculum.results.scorecard.axes import scores_on_banks
from icl_curriculum.results.scorecard.frozen import Benchmark
from icl_curriculum.results.scorecard.learners import (
    Computed,
    FoundLearners,
    SamePrompts,
    ScoredLearner,
    hash_of_banks,
    why_other_prompts,
)
from icl_curriculum.results.scorecard.trained_runs import bank_errors
from icl_curriculum.results.tables import read_as_written

#: The kind of the manifests of scores.
COMMAND = "icl score"


def scored_learners(frozen: Benchmark, folder: Path, same: SamePrompts) -> FoundLearners:
    """The learners without training that a folder of scores holds. DamagedFile if its tables are not what was written.

    Trained models among them are left out: the folders of their runs say more.
    """
    manifest = read_of_command(COMMAND, folder)
    check_tables_alone(folder)
    table = read_as_written(folder, "evaluation")
    table = table[table["learner_kind"] == "baseline"]
    learners = FoundLearners()
    reason = why_other_prompts(frozen, manifest, same)
    for name in table["learner"].drop_duplicates().astype(str):
        rows = table[table["learner"] == name]
        found = None if reason is not None else learner_of_rows(frozen, name, rows, manifest)
        if found is None:
            learners.refused[name] = reason or f"it was not asked all banks of {frozen.name}"
        else:
            learners.scored.append(found)
    return learners


def learner_of_rows(
    frozen: Benchmark, name: str, rows: pd.DataFrame, manifest: Mapping[str, Any]
) -> ScoredLearner | None:
    """A learner without training, from its rows of evaluation.csv; None where it was not asked all banks.

    ``manifest``: with the ``banks``, and what the errors were computed with.
    """
    errors = bank_errors(rows)
    if {*frozen.banks} - {*errors}:
        return None
    return ScoredLearner(
        experiment="score", name=name, kind="baseline", scores={None: scores_on_banks(frozen, errors)},
        banks=hash_of_banks(frozen, manifest), computed=Computed.of(manifest),
        command=f"icl score --benchmark {name}", remarks=tuple(_remarks(frozen, rows, errors)),
    )  # fmt: skip


def _remarks(frozen: Benchmark, rows: pd.DataFrame, errors: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """What a learner was not asked, or did not answer."""
    fewest = int(rows["n_prompts"].min())
    if fewest < frozen.n_prompts:
        yield f"answered as few as {fewest} of {frozen.n_prompts} prompts"
    name = frozen.trained[0]
    asked, all_lengths = sum(0 < k < frozen.points for k in errors[name]), frozen.points - 1
    if asked < all_lengths:
        yield f"asked at {asked} of {all_lengths} lengths of trained prompts"
