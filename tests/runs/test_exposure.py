"""The ledger of a run, exposure.csv: prompts and operations spent on each cell until each measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from finished_runs import FINISHED, PER_PROMPT, Finished, executed
from resealed import unsealed
from tiny_runs import Icl, Killed, killed_at, tiny_run, tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import COLUMNS, OPTIONAL
from icl_curriculum.results.comparison.sources import open_source
from icl_curriculum.results.directory import RunDirectory
from icl_curriculum.results.manifests import check_version
from icl_curriculum.runs.execution import directory_of, execute, is_finished, move_aside
from icl_curriculum.runs.launch import RunFailure, launch
from icl_curriculum.runs.pool import WorkerPool
from icl_curriculum.training.methods import InContext, register_method

CELL = ["function_class", "input_distribution"]

#: Of the tiny runs: prompts of an update, their inputs, and the model.
BATCH, DIMS, WIDTH, RATIO = 8, 2, 8, 4


def forward_operations(points: int, *, layers: int = 1, width: int = WIDTH, dims: int = DIMS) -> int:
    """Of one prompt through a transformer with ``tokens = "joint"``, a multiplication and an addition being two.

    Each of the T tokens holds an input and the pair before it; a block has queries, keys and values, scores and their
    mixture over all pairs of tokens, what goes out of them, and two products of the MLP.
    """
    t, w = points, width
    block = 2 * t * w * 3 * w + 4 * t * t * w + 2 * t * w * w + 4 * t * w * RATIO * w
    return 2 * t * w * (2 * dims + 1) + layers * block + 2 * t * w


def spent(run: Finished, column: str) -> pd.DataFrame:
    """A row per measurement, a column per cell."""
    return run.table("exposure").pivot(index="step", columns=CELL, values=column)


# Prompts


@pytest.fixture(params=["finished", "per_prompt"])
def either(request: pytest.FixtureRequest) -> Finished:
    """A batch of one class at a time, under a curriculum; and four cells in every batch."""
    run: Finished = request.getfixturevalue(request.param)
    return run


def test_the_ledger_has_a_row_for_every_cell_at_every_measurement(either: Finished) -> None:
    ledger, learning = either.table("exposure"), either.table("learning")
    assert list(ledger.columns) == COLUMNS["exposure"]
    cells = learning[["step", *CELL]].drop_duplicates()
    expected = set(cells.itertuples(index=False, name=None))
    assert set(ledger[["step", *CELL]].itertuples(index=False, name=None)) == expected
    assert len(ledger) == len(expected)


def test_prompts_are_those_of_the_training_table(either: Finished) -> None:
    drawn = either.table("training").pivot_table(index="step", columns=CELL, values="n_prompts", aggfunc="sum")
    by_hand = drawn.fillna(0).cumsum()
    found = spent(either, "prompts")
    later = found.index[found.index > 0]
    pd.testing.assert_frame_equal(found.loc[later], by_hand.loc[later], check_dtype=False)
    assert found.loc[12].min() > 0
    assert found.loc[12].nunique() > 1, "not simply the same for every cell"


def test_nothing_is_spent_before_training(either: Finished) -> None:
    start = either.table("exposure").query("step == 0")
    assert len(start) > 0
    assert (start[["prompts", "flops"]] == 0).all(axis=None)


def test_the_cells_sum_to_all_prompts_seen(either: Finished) -> None:
    total = spent(either, "prompts").sum(axis=1)
    assert total.to_dict() == {step: BATCH * step for step in total.index}
    learning = either.table("learning")
    assert (learning["step"].map(total) == learning["prompts_seen"]).all()


def test_the_inputs_of_a_class_sum_to_its_prompts(per_prompt: Finished) -> None:
    training = per_prompt.table("training")
    seen = training[training["step"] == 12].groupby("function_class")["class_prompts_seen"].first()
    assert spent(per_prompt, "prompts").loc[12].groupby("function_class").sum().to_dict() == seen.to_dict()


# Operations


def test_operations_are_a_constant_times_the_prompts(either: Finished) -> None:
    """A forward pass, and a backward one that is as much as two."""
    table = either.table("exposure")
    assert (table["flops"] == 3 * forward_operations(5) * table["prompts"]).all()
    assert table["flops"].max() > 0


@pytest.mark.parametrize("attention", ["fused", "plain"])
def test_operations_follow_the_models_size(attention: str, tmp_path: Path) -> None:
    changes = {"model.width": 12, "model.layers": 3, "dims": 3, "model.attention": attention, "training.steps": 2}
    table = executed(tmp_path, changes).table("exposure")
    expected = 3 * forward_operations(5, layers=3, width=12, dims=3)
    assert table.query("step == 2")["flops"].sum() == 2 * BATCH * expected


GROWING: dict[str, Any] = {
    "function_classes": ["linear"], "evaluation.shifts": [],
    "curriculum.points": {"start": 2, "add": 1, "every": 4}, "curriculum.dims": {"start": 1, "add": 1, "every": 6},
}  # fmt: skip


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Prompts of two points for four updates, of three for four more, then of four; and inputs that grow meanwhile."""
    return executed(tmp_path_factory.mktemp("growing"), GROWING)


def test_shorter_prompts_cost_less(growing: Finished) -> None:
    """Dimensions that are not in use yet are zeros, and cost as much as any."""
    table = growing.table("exposure").set_index("step")
    costs = [BATCH * 4 * 3 * forward_operations(points) for points in (2, 3, 4)]
    assert table["flops"].to_dict() == dict(zip((0, 4, 8, 12), np.cumsum([0, *costs]), strict=True))
    assert table["prompts"].to_dict() == {step: BATCH * step for step in (0, 4, 8, 12)}


@pytest.mark.parametrize("changes", [GROWING, PER_PROMPT], ids=["growing", "per prompt"])
def test_a_resumed_run_has_the_ledger_of_an_uninterrupted_one(
    changes: dict[str, Any], growing: Finished, per_prompt: Finished, tmp_path: Path
) -> None:
    """Killed at 8, after the measurement there, with a checkpoint at 5."""
    run, whole = tiny_run(changes), growing if changes is GROWING else per_prompt
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 10))
    assert 8 in Finished(run, tmp_path, []).table("exposure")["step"].to_numpy()
    execute(run, tmp_path)
    resumed = Finished(run, tmp_path, []).path / "exposure.csv"
    assert resumed.read_bytes() == (whole.path / "exposure.csv").read_bytes()


@pytest.mark.usefixtures("fresh_registries")
def test_a_method_says_what_its_updates_cost(tmp_path: Path) -> None:
    @register_method("costly")
    class Costly(InContext):
        """Three times as much as plain training."""

        def operations(self, role: str, forward: int) -> float:
            return 9.0 * forward

    assert InContext().operations("training", 7) == 21
    changes = {"training.steps": 2, "evaluation.shifts": [], "evaluation.baselines": []}
    plain, costly = (
        executed(tmp_path / name, {**changes, "training.method": name}) for name in ("in_context", "costly")
    )
    assert (costly.table("exposure")["flops"] == 3 * plain.table("exposure")["flops"]).all()
    assert (costly.table("exposure")["prompts"] == plain.table("exposure")["prompts"]).all()
    assert plain.table("exposure")["flops"].max() > 0


@pytest.mark.usefixtures("fresh_registries")
def test_a_method_may_cost_parts_of_a_pass(tmp_path: Path) -> None:
    @register_method("cheap")
    class Cheap(InContext):
        """Half a forward pass more than one."""

        def operations(self, role: str, forward: int) -> float:
            return 1.5 * forward

    run = executed(tmp_path, {"training.method": "cheap", "training.steps": 2, "evaluation.shifts": []})
    assert run.table("exposure").query("step == 2")["flops"].sum() == 2 * BATCH * round(1.5 * forward_operations(5))


# Results of an earlier version


def as_of_an_earlier_version(run: Finished) -> None:
    """As if it had been written before there was a ledger."""
    tables = run.manifest()["tables"]
    del tables["exposure"]
    unsealed(run.path / "manifest.json", {"tables": tables, "package_version": "0.1.0"})
    (run.path / "exposure.csv").unlink()


def refusal(run: Finished, fresh: str = "fresh=True", elsewhere: str = "results=DIR") -> str:
    """What is said in Python, or in the words of another caller."""
    return (
        f"{run.path} was written by icl_curriculum 0.1.0, which has no exposure.csv; {fresh} moves it aside and trains "
        f"it anew, {elsewhere} keeps both"
    )


def test_a_run_of_an_earlier_version_is_refused_and_left_as_it_is(copied: Finished) -> None:
    as_of_an_earlier_version(copied)
    before = {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()}
    started: list[str] = []
    with pytest.raises(UserError) as error:
        launch([copied.run], copied.results, report=lambda progress: None, started=started.append)
    assert str(error.value) == refusal(copied)
    assert started == []
    assert {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()} == before


def test_another_seed_is_not_trained_beside_a_run_of_an_earlier_version(copied: Finished) -> None:
    as_of_an_earlier_version(copied)
    with pytest.raises(UserError, match=r"has no exposure\.csv"):
        launch([copied.run, tiny_run(FINISHED, seed=1)], copied.results, report=lambda progress: None)
    assert not (copied.path.parent / "mixed-seed1").exists()


def test_the_command_refuses_with_one_message(copied: Finished, icl: Icl, tmp_path: Path) -> None:
    as_of_an_earlier_version(copied)
    file = write_toml(tmp_path / "tiny.toml", tiny_values(FINISHED))
    code, _, complaint = icl("run", file, "--results", copied.results, "--device", "cpu")
    assert code == 2
    assert refusal(copied, "--fresh", "--results DIR") in " ".join(complaint.split())
    assert "Traceback" not in complaint


@pytest.mark.parametrize("aside", [True, False], ids=["of an earlier version", "of this version"])
def test_fresh_moves_a_run_of_an_earlier_version_aside(copied: Finished, aside: bool) -> None:
    if aside:
        as_of_an_earlier_version(copied)
    moved = move_aside(copied.run, copied.results)
    assert moved == (copied.path.parent / "aside" / "mixed-seed0-1" if aside else None)
    assert copied.path.exists() != aside


@pytest.mark.usefixtures("undrawn")
def test_the_command_with_fresh_trains_it_anew(
    copied: Finished, finished: Finished, icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(pool: WorkerPool, runs: Sequence[Run], jobs: int) -> list[RunFailure]:
        """Without a worker process, which would have to import everything anew."""
        for run in runs:
            execute(run, copied.results)
        return []

    as_of_an_earlier_version(copied)
    monkeypatch.setattr(WorkerPool, "execute", here)
    file = write_toml(tmp_path / "tiny.toml", tiny_values(FINISHED))
    code, _, complaint = icl("run", file, "--results", copied.results, "--device", "cpu", "--fresh")
    assert code == 0, complaint
    assert (copied.path / "exposure.csv").read_bytes() == (finished.path / "exposure.csv").read_bytes()
    kept = json.loads((copied.path.parent / "aside" / "mixed-seed0-1" / "manifest.json").read_text())
    assert kept["package_version"] == "0.1.0"
    assert (copied.path.parent / "exposure.csv").read_text().count("\n") == 1 + 4 * 2


def test_a_half_finished_run_of_an_earlier_version_says_how_to_go_on(half: Finished) -> None:
    state = torch.load(half.path / "state.pt", weights_only=True)
    del state["tables"]["exposure"]
    torch.save(state, half.path / "state.pt")
    with pytest.raises(
        UserError, match=r"begun by a version of icl_curriculum that writes other tables; .* fresh=True"
    ):
        execute(half.run, half.results)


def test_a_run_without_prediction_differences_is_as_finished_as_others(copied: Finished) -> None:
    """Versions before 0.3.0 compared no predictions. A file that the run did not write is not read."""
    table = copied.path / "prediction_differences.csv"
    tables = copied.manifest()["tables"]
    del tables["prediction_differences"]
    unsealed(copied.path / "manifest.json", {"tables": tables})
    table.write_text("somebody else's\n")
    directory_of(copied.run, copied.results).check_intact()
    assert is_finished(copied.run, copied.results)
    assert move_aside(copied.run, copied.results) is None
    experiment = copied.path.parent
    collect(experiment, {"mixed": copied.run.hash()})
    assert not (experiment / "prediction_differences.csv").exists()
    copy = executed(copied.results, FINISHED, seed=1)
    collect(experiment, {"mixed": copied.run.hash()})
    assert (experiment / "prediction_differences.csv").read_text() == (copy.path / table.name).read_text()
    said = " ".join(open_source(experiment).missing)
    assert "prediction_differences.csv lacks mixed-seed0, of an earlier version of icl_curriculum" in said


def test_a_table_of_differences_that_a_run_wrote_must_be_there(copied: Finished) -> None:
    (copied.path / "prediction_differences.csv").unlink()
    with pytest.raises(UserError, match=r"prediction_differences\.csv is damaged: it is missing"):
        directory_of(copied.run, copied.results).check_intact()


def test_an_earlier_version_need_not_be_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"icl_curriculum of another version, which has no training\.csv"):
        check_version(tmp_path, {"tables": {"learning": "0"}})


def test_a_run_of_this_version_passes(finished: Finished) -> None:
    check_version(finished.path, finished.manifest())
    directory = RunDirectory(finished.path, experiment="tiny", variant="mixed", seed=0)
    assert directory.is_intact()
    assert set(finished.manifest()["tables"]) == {*COLUMNS, *OPTIONAL}
    assert math.isfinite(finished.table("exposure")["flops"].sum())
