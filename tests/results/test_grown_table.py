"""Rows of growing tables: kept in memory between checkpoints, all on disk when a run ends, fails or is interrupted."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_runs import tables, tiny_run

from icl_curriculum.core.errors import RunFailed
from icl_curriculum.results import directory as directories
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.grown_table import GrownTable
from icl_curriculum.runs.execution import Progress, execute
from icl_curriculum.training import Trainer

ROW = [10, "linear", "gaussian", 64, 0.5, 0.5, 1e-3, 640, 640]
LONG = {
    "training.steps": 12, "training.log_every": 1, "training.learning_every": 6, "training.checkpoint_every": 6,
    "evaluation.shifts": [], "evaluation.baselines": ["zero"], "evaluation.n_prompts": 4,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "mixed-seed0", experiment="mine", variant="mixed", seed=0)
    made.path.mkdir()
    made.start_tables()
    return made


def test_rows_are_in_the_file_after_a_checkpoint_asks_how_long_it_is(run: RunDirectory) -> None:
    before = run.table("training").read_bytes()
    run.append("training", [ROW])
    run.append("training", [ROW])
    assert run.table("training").read_bytes() == before
    lengths = run.table_lengths()
    after = run.table("training").read_bytes()
    assert lengths["training"] == len(after) > len(before)
    assert after.count(b"\n") == 3


def test_no_more_rows_are_kept_in_memory_than_a_megabyte(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert directories.MOST_PENDING == 1_000_000
    monkeypatch.setattr(directories, "MOST_PENDING", 170)
    for _ in range(2):
        run.append("training", [ROW])
        assert run.table("training").read_bytes().count(b"\n") == 1
    run.append("training", [ROW])
    assert run.table("training").read_bytes().count(b"\n") == 4


def test_a_run_writes_to_its_tables_with_its_checkpoints_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, flush = list[str](), GrownTable.flush

    def counted(table: GrownTable, *arguments: object) -> None:
        written.extend([table.path.stem] * bool(table.pending))
        flush(table, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(GrownTable, "flush", counted)
    said = list[Progress]()
    execute(tiny_run(LONG), tmp_path, report=said.append)
    # Steps 6 and 12 have checkpoints, and whoever watches is told of every step all the same.
    assert written.count("training") == 2
    assert [progress.done for progress in said if progress.phase == "training" and progress.loss is not None][-1] == 12
    assert (tmp_path / "tiny/mixed-seed0/training.csv").read_text().count("\n") == 1 + 12


@pytest.mark.parametrize("how", [KeyboardInterrupt, MemoryError])
def test_a_run_that_is_interrupted_leaves_its_rows_and_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException]
) -> None:
    run = tiny_run(LONG)
    execute(run, tmp_path / "whole")
    update = Trainer.update

    def interrupted(trainer: Trainer) -> object:
        if trainer.step == 9:
            raise how
        return update(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        with pytest.raises((KeyboardInterrupt, RunFailed)):
            execute(run, tmp_path / "cut")
    left = (tmp_path / "cut/tiny/mixed-seed0/training.csv").read_text()
    assert (tmp_path / "whole/tiny/mixed-seed0/training.csv").read_text().startswith(left)
    assert left.count("\n") == 1 + 9
    execute(run, tmp_path / "cut")
    assert tables(tmp_path / "cut/tiny/mixed-seed0") == tables(tmp_path / "whole/tiny/mixed-seed0")


def test_a_run_that_diverges_leaves_all_rows_up_to_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update = Trainer.update

    def poisoned(trainer: Trainer) -> object:
        if trainer.step == 9:
            with torch.no_grad():
                trainer.model.read_out_bias.fill_(math.nan)
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", poisoned)
    with pytest.raises(RunFailed, match=r"diverged by step 10: "):
        execute(tiny_run(LONG), tmp_path)
    rows = (tmp_path / "tiny/mixed-seed0/training.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[4]) for row in rows] == [*range(1, 11)]
