"""The frozen benchmark for learners without training, and the leaderboard of any folders of results."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from icl_curriculum.core.arguments import as_path
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import option
from icl_curriculum.core.provenance import provenance
from icl_curriculum.core.settings import own_settings
from icl_curriculum.evaluation import BANK_VERSION, BaselineFailure
from icl_curriculum.evaluation.asking import CostlyConfig
from icl_curriculum.evaluation.benchmark_banks import bank_of, drawn_alike
from icl_curriculum.models import Model
from icl_curriculum.results.columns import TABLES, of_run
from icl_curriculum.results.directory import find_results
from icl_curriculum.results.scorecard.command import learners_in
from icl_curriculum.results.scorecard.frozen import benchmark
from icl_curriculum.results.scorecard.leaderboard import (
    LearnerKey,
    committed_leaderboard,
    key_of,
    leaderboard_table,
    write_leaderboard,
)
from icl_curriculum.results.scorecard.learners import ScoredLearner
from icl_curriculum.results.scorecard.scored_learners import learner_of_rows
from icl_curriculum.scoring.asked_bank import AskedBank
from icl_curriculum.scoring.grid import BankGrid
from icl_curriculum.scoring.learners import contenders, for_training_on, read_dims
from icl_curriculum.scoring.score import costly_config


def benchmark_grid() -> BankGrid:
    """All banks of the benchmark."""
    frozen = benchmark()
    return BankGrid(tuple(bank_of(frozen, bank) for bank in frozen.banks.values()), ())


def benchmark_costly(costly: CostlyConfig) -> CostlyConfig:
    """How costly learners are asked: as ``costly`` says; where that names no lengths at d/2, d, 2 d, 4 d and 8 d."""
    if costly.lengths is not None:
        return costly
    frozen = benchmark()
    lengths = {frozen.dims // 2, *(times * frozen.dims for times in (1, 2, 4, 8))}
    longest = 2 * (frozen.points - 1)
    return costly.model_copy(update={"lengths": tuple(sorted(k for k in lengths if 0 < k <= longest))})


def score_on_benchmark(
    learners: Any, *, costly_prompts: int = 128, lengths: Literal["all"] | Sequence[int] | None = None
) -> pd.DataFrame:
    """What learners without training score on the frozen benchmark, as a table like ``leaderboard.csv``.

    ``learners``: one, a list, or a dict by name, of anything that `score` takes: names of baselines, scikit-learn
    regressors, functions ``(xs, ys, x_query) -> y``, objects with ``predict``. What fits every prompt anew is asked on
    the first ``costly_prompts`` of each bank and with d/2, d, 2 d, 4 d and 8 d examples, or the numbers in ``lengths``,
    or ``"all"``, and marked so. The same as ``icl score --benchmark``, which also keeps the errors. UserError for a
    learner that cannot be meant, or was not able to answer all banks.
    """
    frozen, grid = benchmark(), benchmark_grid()
    costly = benchmark_costly(costly_config(costly_prompts, lengths))
    costly.check(max(bank.length for bank in grid.banks) - 1, "lengths")
    tasks = [bank.drawn_task for bank in grid.banks]
    found = for_training_on(contenders(learners), [task.function_class for task in tasks], read_dims(tasks))
    for item in found:
        if item.trained is not None or isinstance(item.entry.learner, Model):
            raise UserError(
                f"{item.entry.id} is a trained model, whose training counts, too; leaderboard(folder) scores the runs "
                f"of an experiment",
                key="learners",
            )
    rows: list[tuple[Any, ...]] = []
    manifest: dict[str, Any] = {"banks": {}, "bank_version": BANK_VERSION, **provenance()}
    manifest["costly"] = costly.model_dump()
    manifest["learners"] = {f"score/{item.entry.id}": item.origin for item in found}
    probed: set[tuple[str, str]] = set()
    with own_settings():
        for bank in grid.banks:
            failures: list[BaselineFailure] = []
            asked = AskedBank(bank, found, 0.9, costly, failures.append, probed=probed)
            rows += [row for item in asked.contenders for row in of_run(item.columns, asked.rows(item))]
            manifest["banks"][asked.name] = asked.content
            for said in failures:
                warnings.warn(f"{asked.name}: {said}", stacklevel=2)
    table = pd.DataFrame(rows, columns=TABLES["evaluation"].header)
    scored = []
    for item in found:
        name = item.entry.id
        made = learner_of_rows(frozen, name, table[table["learner"] == name], manifest)
        if made is None:
            raise UserError(f"{name} did not answer all banks of {frozen.name}", key="learners")
        scored.append(made)
    return leaderboard_table(scored, committed_leaderboard().iloc[:0])


@dataclass(frozen=True)
class Leaderboard:
    """The table of all learners, and those that were refused, by folder and name, each with the reason.

    ``path``: where the table was written. ``own``: the keys of the learners of the folders that were
    asked for; the others are those of the committed table.
    """

    table: pd.DataFrame
    refused: dict[str, str]
    own: frozenset[LearnerKey] = frozenset()
    path: Path | None = None


def leaderboard(
    folders: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    *,
    results: str | os.PathLike[str] = "results",
    output: str | os.PathLike[str] | None = None,
) -> pd.DataFrame:
    """The leaderboard of the frozen benchmark, as a table: a row for each learner, axis and seed, and over seeds.

    ``folders``: one or several, of experiments, or of scores that ``icl score --benchmark`` wrote, or their names in
    ``results``. Their learners stand among those of the committed table; without folders it is that table alone. A
    learner of a folder stands in the place of a committed one with its name and configs. ``output``: a file into which
    the folders' learners alone are written. UserError where a folder holds no learner that can be scored, with the
    reason for each.
    """
    several = [folders] if isinstance(folders, str | os.PathLike) else folders
    return build_leaderboard(
        [os.fsdecode(as_path(folder, "folders")) for folder in several], as_path(results, "results"),
        None if output is None else as_path(output, "output"),
    ).table  # fmt: skip


def build_leaderboard(folders: Sequence[str], results: Path, output: Path | None) -> Leaderboard:
    """What `leaderboard` does, with what is to be said of it."""
    found: list[ScoredLearner] = []
    refused: dict[str, str] = {}
    # Each once, by whatever path.
    for folder in {found.resolve(): found for found in (find_results(name, results) for name in folders)}.values():
        learners = learners_in(folder, drawn_alike)
        found += learners.scored
        refused |= {f"{folder}: {learner}": reason for learner, reason in learners.refused.items()}
    if folders and not found:
        reasons = [f"{who}: {reason}" for who, reason in refused.items()]
        raise UserError("\n".join(reasons) or f"{', '.join(folders)}: holds no learner that answered all banks")
    if output is not None:
        if not found:
            raise UserError(f"{option('--output')}: name the folders whose learners are to be written")
        write_leaderboard(found, output)
    by_key = {key_of(each): each for each in found}
    return Leaderboard(
        leaderboard_table([*by_key.values()], committed_leaderboard()), refused, frozenset(by_key), output
    )
