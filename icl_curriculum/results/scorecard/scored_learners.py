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

    ``manifest``: with the ``banks``, what the errors were computed with, how ``costly`` learners were asked, and where
    each learner came from.
    """
    errors = bank_errors(rows)
    if {*frozen.banks} - {*errors}:
        return None
    origin = (manifest.get("learners") or {}).get(f"score/{name}")
    of_file = isinstance(origin, Mapping) and "file" in origin
    called = f"{origin['file']}:{origin['name']}" if of_file and isinstance(origin, Mapping) else name
    unanswered = _unanswered(frozen, rows, manifest)
    return ScoredLearner(
        experiment="score", name=name, kind="baseline", scores={None: scores_on_banks(frozen, errors)},
        banks=hash_of_banks(frozen, manifest), computed=Computed.of(manifest),
        command=f"icl score --benchmark {called}",
        # What tells a learner of a file from one of the suite with its name.
        config_hashes=(str(origin.get("hash", "")),) if of_file and isinstance(origin, Mapping) else (),
        remarks=tuple(_remarks(frozen, rows, errors)), broken=() if unanswered is None else (unanswered,),
    )  # fmt: skip


def _unanswered(frozen: Benchmark, rows: pd.DataFrame, manifest: Mapping[str, Any]) -> str | None:
    """The rule that all prompts are answered, where it is broken: whoever leaves out the hard ones has less error."""
    costly = min(frozen.n_prompts, (manifest.get("costly") or {}).get("n_prompts", frozen.n_prompts))
    most, fewest = int(rows["n_prompts"].max()), int(rows["n_prompts"].min())
    if most == fewest and most in (frozen.n_prompts, costly):
        return None
    return f"left prompts unanswered, up to {max(most, costly) - fewest} of a bank"


def _remarks(frozen: Benchmark, rows: pd.DataFrame, errors: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """What a learner was not asked."""
    most = int(rows["n_prompts"].max())
    if most < frozen.n_prompts:
        yield f"asked {most} of the {frozen.n_prompts} prompts of each bank"
    name = frozen.trained[0]
    asked, all_lengths = sum(0 < k < frozen.points for k in errors[name]), frozen.points - 1
    if asked < all_lengths:
        yield f"asked at {asked} of {all_lengths} lengths of trained prompts"
