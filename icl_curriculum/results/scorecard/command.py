"""Finds who was scored on the benchmark in a folder of results, and writes scorecard.csv of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.files import check_writable
from icl_curriculum.results.columns import TABLES, csv_text
from icl_curriculum.results.derived import write_derived
from icl_curriculum.results.manifests import MANIFEST, is_run_name
from icl_curriculum.results.scorecard.frozen import Benchmark, benchmark
from icl_curriculum.results.scorecard.learners import FoundLearners, SamePrompts, no_other
from icl_curriculum.results.scorecard.scored_learners import scored_learners
from icl_curriculum.results.scorecard.table import scorecard_rows
from icl_curriculum.results.scorecard.trained_runs import trained_learners
from icl_curriculum.results.surveying import Survey, survey
from icl_curriculum.results.tables import read_as_written


@dataclass(frozen=True)
class WrittenScorecard:
    """The table, where it was written, and the learners that were refused, each with the reason."""

    table: pd.DataFrame
    path: Path
    refused: dict[str, str]


def takes_part(found: Survey, frozen: Benchmark) -> bool:
    """Whether a finished run of an experiment was asked banks that bear the names of all those of the benchmark."""
    return any(frozen.banks.keys() <= (manifest.get("banks") or {}).keys() for _, manifest in found.finished)


def learners_in(folder: Path, same: SamePrompts = no_other) -> FoundLearners:
    """The learners in a folder of results, an experiment's or one of scores. UserError if it holds neither."""
    frozen = benchmark()
    if is_run_name(folder.resolve().name) and (folder / "config.toml").is_file():
        raise UserError(f"{folder} is the folder of one run; expected that of its experiment, {folder.parent}")
    if (folder / MANIFEST).is_file():
        return scored_learners(frozen, folder, same)
    found = survey(folder, files=True)
    if not found.finished:
        problems = [*found.damaged.values(), *(f"{run} is {status}" for run, status in found.unfinished.items())]
        raise UserError(
            f"{folder} holds no finished run and no scores" + (f" ({'; '.join(problems)})" if problems else "")
        )
    return trained_learners(frozen, found, same)


def write_scorecard(directory: Path, same: SamePrompts = no_other) -> WrittenScorecard | None:
    """Write scorecard.csv of an experiment whose runs were asked the benchmark's banks; None for any other one.

    One of an earlier evaluation is taken away where it would be no one's any more.
    """
    path = directory / "scorecard.csv"
    if not takes_part(survey(directory), benchmark()):
        path.unlink(missing_ok=True)
        return None
    found = learners_in(directory, same)
    if not found.scored:
        path.unlink(missing_ok=True)
        return WrittenScorecard(pd.DataFrame(columns=TABLES["scorecard"].header), path, found.refused)
    check_writable(directory)
    rows = scorecard_rows(benchmark().name, found.scored)
    write_derived(path, csv_text([TABLES["scorecard"].header, *rows]))
    return WrittenScorecard(read_as_written(directory, "scorecard"), path, found.refused)
