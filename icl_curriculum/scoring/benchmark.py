"""The frozen benchmark for learners without training, and the leaderboard of any folders of results."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.evaluation.benchmark_banks import bank_of, drawn_alike
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.scorecard.command import learners_in
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.leaderboard import (
    committed_leaderboard,
    leaderboard_table,
    write_leaderboard,
)
from icl_curriculum.results.scorecard.learners import ScoredLearner
from icl_curriculum.scoring.grid import BankGrid

#: The numbers of examples at which learners that fit every prompt anew are asked, unless others are named.
COSTLY_LENGTHS = (2, 5, 10, 20, 40)


def benchmark_grid() -> BankGrid:
    """All banks of the benchmark."""
    frozen = benchmark()
    return BankGrid(tuple(bank_of(frozen, bank) for bank in frozen.banks.values()), ())


def benchmark_costly(costly: CostlyConfig) -> CostlyConfig:
    """How costly learners are asked: as ``costly`` says, and where that names no lengths at some of all banks."""
    return costly if costly.lengths is not None else costly.model_copy(update={"lengths": COSTLY_LENGTHS})


def refuse_other_prompts(asked: Mapping[str, object]) -> None:
    """UserError for options beside ``--benchmark`` that ask for other prompts than its own. ``asked``: by option."""
    for name, value in asked.items():
        if value:
            raise UserError(
                f"{option(name)} asks for other prompts, and those of {benchmark().name} are frozen; leave it out, or "
                f"{option('--benchmark')}"
            )


@dataclass(frozen=True)
class Leaderboard:
    """The table of all learners, and those that were refused, by folder and name, each with the reason.

    ``path``: where the table was written. ``own``:
    experiment and name of the learners of the folders that were asked for; the others are those of the committed table.
    """

    table: pd.DataFrame
    refused: dict[str, str]
    own: tuple[tuple[str, str], ...] = ()
    path: Path | None = None


def leaderboard(
    folders: Sequence[str | os.PathLike[str]] = (),
    *,
    results: str | os.PathLike[str] = "results",
    output: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """The leaderboard of the frozen benchmark, as a table: a row for each learner, axis and seed, and over seeds.

    ``folders``: of experiments, or of scores that ``icl score --benchmark`` wrote, or their names in ``results``. Their
    learners stand among those of the committed table; without folders it is that table alone. A learner of a folder
    stands in the place of a committed one with the same configs. ``output``: a file into which the folders' learners
    alone are written. UserError where a folder holds no learner that can be scored, with the reason for each.
    """
    return build_leaderboard(
        [os.fsdecode(as_path(folder, "folders")) for folder in folders], as_path(results, "results"),
        None if output is None else as_path(output, "output"),
    ).table  # fmt: skip


def build_leaderboard(folders: Sequence[str], results: Path, output: Path | None) -> Leaderboard:
    """What `leaderboard` does, with what is to be said of it."""
    found: list[ScoredLearner] = []
    refused: dict[str, str] = {}
    for name in folders:
        folder = find_results(name, results)
        learners = learners_in(folder, drawn_alike)
        found += learners.scored
        refused |= {f"{folder}: {learner}": reason for learner, reason in learners.refused.items()}
    if folders and not found:
        raise UserError("\n".join(f"{who}: {reason}" for who, reason in refused.items()))
    if output is not None:
        if not found:
            raise UserError(f"{option('--output')}: name the folders whose learners are to be written")
        write_leaderboard(found, output)
    own = tuple((learner.experiment, learner.name) for learner in found)
    return Leaderboard(leaderboard_table(found, committed_leaderboard()), refused, own, output)
