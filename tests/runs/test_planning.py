"""What a command would do, said before it does it, and done by it afterwards."""

from __future__ import annotations

import inspect
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from finished_runs import FINISHED, Finished
from tiny_runs import tiny_run, tiny_values

import icl_curriculum
from icl_curriculum.core.errors import UserError
from icl_curriculum.runs.execution import directory_of
from icl_curriculum.runs.launch import launch
from icl_curriculum.runs.planning import LaunchPlan, plan_of, with_costs


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def planned(
    changes: dict[str, Any], results: Path, *, fresh: bool = False, seeds: tuple[int, ...] = (0,)
) -> LaunchPlan:
    """The plan, for which nothing is touched."""
    before = everything(results)
    found = plan_of([tiny_run(changes, seed=seed) for seed in seeds], results, fresh=fresh)
    assert everything(results) == before
    return found


@pytest.mark.parametrize(
    ("changes", "action", "changed"),
    [
        ({}, "keep", ()),
        ({"evaluation.confidence": 0.5}, "re-evaluate", ("evaluation.confidence",)),
        ({"evaluation.shifts": []}, "re-evaluate", ("evaluation.shifts",)),
        ({"training.log_every": 3}, "keep", ()),
        ({"training.clip": 2.0, "evaluation.confidence": 0.5}, "refused", ("training.clip",)),
    ],
    ids=str,
)
def test_a_finished_run(changes: dict[str, Any], action: str, changed: tuple[str, ...], copied: Finished) -> None:
    found = planned({**FINISHED, **changes}, copied.results)
    (row,) = found.runs
    assert (row.action, row.changed, row.step, row.steps) == (action, changed, 12 if action != "refused" else 0, 12)
    assert [notice.keys for notice in found.recorded] == [("training.log_every",)] * ("training.log_every" in changes)
    # The real call does that very thing.
    run = tiny_run({**FINISHED, **changes})
    if action == "refused":
        with pytest.raises(UserError) as error:
            launch([run], copied.results, jobs=0, report=lambda progress: None)
        assert str(error.value) == str(found.error)
    elif not found.recorded:
        outcome = launch([run], copied.results, jobs=0, report=lambda progress: None)
        assert (bool(outcome.skipped), bool(outcome.reevaluated)) == (action == "keep", action == "re-evaluate")


def test_a_run_that_is_not_there_is_trained(tmp_path: Path) -> None:
    found = planned({}, tmp_path / "results", seeds=(0, 1))
    assert [(row.run, row.action, row.step) for row in found.runs] == [
        ("mixed-seed0", "train", 0), ("mixed-seed1", "train", 0),
    ]  # fmt: skip
    assert not (tmp_path / "results").exists()


def test_an_interrupted_run_is_resumed_at_its_checkpoint(half: Finished) -> None:
    (row,) = planned({"evaluation.confidence": 0.5}, half.results).runs
    assert (row.action, row.step, row.steps, row.changed) == ("resume", 5, 12, ("evaluation.confidence",))
    (row,) = planned({"evaluation.bank_seed": 1}, half.results).runs
    assert (row.action, row.changed) == ("refused", ("evaluation.bank_seed",))


def test_fresh_moves_aside_what_is_not_this_very_run(copied: Finished) -> None:
    (kept,) = planned(FINISHED, copied.results, fresh=True).runs
    (moved,) = planned({**FINISHED, "training.clip": 2.0}, copied.results, fresh=True).runs
    assert (kept.action, moved.action, moved.reason) == ("keep", "train", "what is there is moved aside")


def test_a_damaged_run_is_named_and_one_without_weights_cannot_be_asked(copied: Finished) -> None:
    (copied.path / "model.safetensors").unlink()
    for changes in ({}, {"evaluation.confidence": 0.5}):
        found = planned({**FINISHED, **changes}, copied.results)
        assert found.runs[0].action == "damaged"
        assert "model.safetensors" in found.runs[0].reason
        assert found.error is None


def test_a_run_in_use_is_refused(copied: Finished) -> None:
    with directory_of(copied.run, copied.results).locked():
        found = plan_of([copied.run], copied.results)
    assert (found.runs[0].action, "is being executed by process" in str(found.error)) == ("refused", True)


def test_where_a_launcher_executes_it_a_run_in_use_or_of_another_device_goes_on(half: Finished) -> None:
    """The same command attaches to what is under way, on machines whose devices this one need not have."""
    state = torch.load(half.path / "state.pt", weights_only=True)
    torch.save({**state, "device": "cuda"}, half.path / "state.pt")
    (here,) = plan_of([half.run], half.results).runs
    assert (here.action, "begun on cuda, this is cpu" in here.reason) == ("refused", True)
    with directory_of(half.run, half.results).locked():
        (there,) = plan_of([half.run], half.results, None).runs
        (anew,) = plan_of([half.run], half.results, None, fresh=True).runs
    assert (there.action, there.step, there.reason.split(",")[0]) == (
        "resume",
        5,
        f"in use by process {os.getpid()} on {platform.node()}",
    )
    assert anew.action == "refused"


def test_only_what_is_computed_costs(copied: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that is evaluated anew its answers, of one that is kept nothing."""
    monkeypatch.setattr("icl_curriculum.runs.cost.SECONDS", 0.05)
    runs = [tiny_run({**FINISHED, "evaluation.confidence": 0.5}, seed=seed) for seed in (0, 1)]
    asked, trained = with_costs(plan_of(runs, copied.results)).runs
    assert (asked.action, asked.prompts, asked.operations) == ("re-evaluate", 0, 0.0)
    assert (trained.action, trained.prompts) == ("train", 12 * 8)
    assert trained.operations is not None
    assert trained.operations > 0
    assert asked.seconds is not None
    assert trained.seconds is not None
    assert 0 < asked.seconds < trained.seconds
    (kept,) = with_costs(plan_of([copied.run], copied.results)).runs
    assert (kept.action, kept.seconds) == ("keep", 0.0)


def test_in_python(copied: Finished) -> None:
    values = tiny_values({**FINISHED, "seeds": [0, 1]})
    rows = icl_curriculum.plan(values, results=copied.results, device="cpu", costs=False)
    assert [(row.run, row.action, row.seconds) for row in rows] == [
        ("mixed-seed0", "keep", None), ("mixed-seed1", "train", None),
    ]  # fmt: skip
    shutil.rmtree(copied.results)
    (row,) = icl_curriculum.plan(values, results=copied.results, device="cpu", seeds=[3], costs=False)
    assert (row.run, row.seed, row.action) == ("mixed-seed3", 3, "train")


def test_a_sweep_is_planned_as_it_is_run(tmp_path: Path) -> None:
    rows = icl_curriculum.plan(tiny_values(), sweep={"model.width": [4, 8]}, results=tmp_path, costs=False)
    assert [row.run for row in rows] == ["width=4-seed0", "width=8-seed0"]
    # Whatever decides which runs there are, is taken alike by all that load an experiment.
    deciding = set(inspect.signature(icl_curriculum.load).parameters) - {"name"}
    for function in (icl_curriculum.run, icl_curriculum.plan, icl_curriculum.cost):
        assert deciding <= set(inspect.signature(function).parameters)
