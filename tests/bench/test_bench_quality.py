"""``icl bench quality``: training until an error is reached, or not, and the recorded comparison."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Icl

from icl_curriculum import bench
from icl_curriculum.bench import quality, tables
from icl_curriculum.bench.quality import Plan, TrainedPlan
from icl_curriculum.bench.tables import BenchTable, Settings
from icl_curriculum.cli import measuring, output
from icl_curriculum.cli.screen import Screen

#: A model of one layer in one dimension, learnt within some dozens of steps.
TINY = (
    "dims=1", "points=4", "model.width=8", "model.layers=1", "model.heads=1", "training.batch_size=16",
    'function_classes=["linear"]',
)  # fmt: skip


def quiet(share: float, detail: str = "") -> None:
    """Nobody is told how far it is."""


def here(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """Let plans be trained in this process; returns those that were."""
    trained: list[Plan] = []

    def in_this_process(work: Any, requests: Sequence[Plan], heard: Callable[[int, Any], None]) -> list[TrainedPlan]:
        trained.extend(requests)
        return [work(plan, lambda said, number=number: heard(number, said)) for number, plan in enumerate(requests)]

    monkeypatch.setattr(quality, "in_children", in_this_process)
    return trained


def test_a_level_that_is_reached_has_its_seconds_and_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "LEVELS", (0.9, 0.6))
    said: list[tuple[float, float]] = []
    plan = Plan("fast", (*TINY, "training.steps=300"), 0, prompts=64)
    trained = quality.train(plan, said.append)
    assert list(trained.reached) == [0.9, 0.6]
    (first, early), (second, later) = trained.reached.values()
    assert 0 < first <= second == trained.seconds
    assert 0 < early <= later == trained.steps < 300  # the last level ends it
    assert early % 6 == later % 6 == 0  # a look every 2% of the steps
    assert trained.error <= 0.6
    assert said[-1] == (later / 300, trained.error)
    rows = quality.rows_of(plan, trained)
    assert [(row["level"], row["steps"], row["outcome"]) for row in rows] == [
        (0.9, early, "reached"), (0.6, later, "reached"),
    ]  # fmt: skip
    assert all(row["k"] == 2 and row["threads"] == 1 for row in rows)


def test_what_does_not_arrive_says_how_far_it_came() -> None:
    plan = Plan("fast", (*TINY, "training.steps=3"), 0, prompts=64)
    rows = quality.rows_of(plan, quality.train(plan, lambda said: None))
    assert len(rows) == len(quality.LEVELS)
    for row in rows:
        assert row["seconds"] is row["steps"] is None
        assert row["outcome"] == f"not within 3 steps (error {row['final_error']:.2g} at step 3)"


def test_a_budget_of_seconds_ends_a_run() -> None:
    plan = Plan("reference", (*TINY, *quality.REFERENCE), 0, every=2, budget=1e-9, prompts=64)
    trained = quality.train(plan, lambda said: None)
    assert trained.steps == 2
    assert quality.rows_of(plan, trained)[0]["outcome"].startswith("not within 0 s (error ")


def test_the_clock_stands_still_while_the_error_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def tick() -> float:
        return now

    def looks(run: Any, plan: Plan) -> Callable[[Any], float]:
        def error(trainer: Any) -> float:
            nonlocal now
            now += 1000.0
            return math.nan if trainer.step > 3 else 1.0

        return error

    class Quick(quality.Trainer):
        def update(self) -> Any:
            nonlocal now
            now += 1.0
            return super().update()

    monkeypatch.setattr(quality, "Trainer", Quick)
    monkeypatch.setattr(quality.time, "perf_counter", tick)
    monkeypatch.setattr(quality, "_error_of", looks)
    trained = quality.train(Plan("fast", (*TINY, "training.steps=9"), 0, prompts=64), lambda said: None)
    # An error that is no number ends it.
    assert (trained.seconds, trained.steps) == (4.0, 4)
    assert math.isnan(trained.error)


def test_both_recipes_are_of_the_same_size_and_reference_has_a_budget_by_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def made_up(plan: Plan, say: Callable[[Any], None]) -> TrainedPlan:
        say((1.0, 0.3))
        if plan.recipe == "reference":
            return TrainedPlan(100.0 + plan.seed, 900, 0.97, {} if plan.seed else {0.2: (30.0, 9), 0.1: (60.0, 99)})
        return TrainedPlan(4.0, 300, 0.04, {0.2: (1.0, 50), 0.1: (2.0 + plan.seed, 100)})

    monkeypatch.setattr(quality, "train", made_up)
    trained = here(monkeypatch)
    monkeypatch.setattr(quality, "RECORD", tmp_path / "record.json")
    settings = Settings(full=True, record=True, results=tmp_path, overrides=("model.width=32", "dims=4"))
    written = io.StringIO()
    monkeypatch.setattr(output, "results", Screen(file=written, width=200))
    measuring.show({"quality": bench.SECTIONS["quality"]}, settings)
    fast, _, reference, other = trained
    assert [(plan.recipe, plan.seed) for plan in trained] == [
        ("fast", 0), ("fast", 1), ("reference", 0), ("reference", 1),
    ]  # fmt: skip
    assert (reference.budget, other.budget) == (50 * 2.0, 50 * 3.0)
    ours, theirs = fast.run().experiment, reference.run().experiment
    assert ours.training.steps == quality.FAST_STEPS
    assert (ours.dims, ours.points) == (theirs.dims, theirs.points) == (4, 21)
    sizes = [{key: getattr(each.model, key) for key in ("width", "layers", "heads")} for each in (ours, theirs)]
    assert sizes[0] == sizes[1]
    assert sizes[0]["width"] == 32
    assert theirs.model.tokens == "alternate"
    assert (theirs.training.optimizer.name, theirs.training.optimizer.learning_rate) == ("adam", 1e-4)
    assert theirs.training.clip == math.inf
    out = written.getvalue()
    assert "  seed 0: to 0.10 the reference recipe took 30.0 times as long as fast\n" in out
    assert "  seed 1: to 0.10 the reference recipe took more than 33 times as long as fast\n" in out
    assert "not within 150 s (error 0.97 at step 900)" in out
    record = json.loads((tmp_path / "record.json").read_text())
    assert len(record["rows"]) == 12
    assert {key for row in record["rows"] for key in row} >= set(tables.PROVENANCE)


def test_a_fast_recipe_that_does_not_arrive_leaves_reference_without_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality, "train", lambda plan, say: TrainedPlan(4.0, 300, 0.4, {}))
    trained = here(monkeypatch)
    plans = [Plan("fast", (), seed) for seed in (0, 1)]
    table = quality.measure_both(plans, False, quiet)
    assert [plan.recipe for plan in trained] == ["fast", "fast"]
    assert table.notes[1] == "seed 0: fast did not reach 0.10, which leaves reference without a budget"


def test_the_default_trains_fast_and_shows_the_record_with_its_date(
    icl: Icl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    row = {"recipe": "reference", "seed": 0, "level": 0.1, "outcome": "not within 99 s (error 0.9 at step 8)"}
    on = {**tables.measured_on(1, "cpu"), "date": "2024-05-06T07:08:09+00:00", "cpu": "An old one"}
    quality.write_record(BenchTable("", [{**row, **on}], ["what it took"]), record)
    monkeypatch.setattr(quality, "RECORD", record)
    monkeypatch.setattr(quality, "train", lambda plan, say: TrainedPlan(4.0, 300, 0.4, {0.2: (1.25, 50)}))
    here(monkeypatch)
    code, out, err = icl("bench", "quality", "--results", tmp_path)
    assert code == 0, err
    lines = out.splitlines()
    (title,) = [line for line in lines if line.startswith("  recorded")]
    assert title.startswith("  recorded on 2024-05-06: An old one, ")
    after = lines[lines.index(title) + 1 :]
    assert "reference" in after[1]
    assert "not within 99 s (error 0.9 at step 8)" in after[1]
    assert after[2] == "  what it took"
    # What was recorded on another day is no measurement of today's.
    written = (tmp_path / "bench" / "quality.csv").read_text()
    assert written.count("fast") == 6
    assert "reference" not in written


def test_without_a_record_it_says_how_to_compare(tmp_path: Path) -> None:
    table = quality.recorded(quiet, tmp_path / "none.json")
    assert table.recorded
    assert "icl bench quality --full" in table.title
    assert not table.rows


@pytest.mark.skipif(not quality.RECORD.is_file(), reason="nothing recorded yet")
def test_the_shipped_record_is_of_both_recipes() -> None:
    rows = quality.recorded(quiet).rows
    assert {(row["recipe"], row["seed"]) for row in rows} == {(r, s) for r in ("fast", "reference") for s in (0, 1)}
    assert {row["level"] for row in rows} == set(quality.LEVELS)
