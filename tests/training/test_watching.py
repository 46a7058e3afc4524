"""A training method that trains on other prompts than it draws is seen; nothing is in distribution then."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny_runs import Killed, killed_at, tiny_run

from icl_curriculum.config.experiment import Run
from icl_curriculum.runs.execution import execute
from icl_curriculum.training import Trainer

pytestmark = pytest.mark.usefixtures("misleading")


def changing(way: str, **more: Any) -> Run:
    return tiny_run({"training.method": {"name": "changing", "way": way}, **more})


def updated(run: Run, updates: int = 3) -> Trainer:
    trainer = Trainer(run)
    for _ in range(updates):
        trainer.update()
    return trainer


@pytest.mark.parametrize("way", ["larger inputs", "other labels", "in place"])
@pytest.mark.parametrize("model", [None, {"name": "weighted"}])
def test_a_method_that_changes_its_prompts_is_seen(way: str, model: Any) -> None:
    trainer = updated(changing(way, **({} if model is None else {"model": model})))
    assert trainer.changes_prompts == "inputs or labels that were not drawn, or not for one prompt"


@pytest.mark.parametrize("way", ["right", "fewer pairs"])
def test_a_method_that_trains_on_what_it_draws_is_not_taken_for_one_that_does_not(way: str) -> None:
    assert updated(changing(way)).changes_prompts is None


def test_what_positions_are_balanced_by_is_not_taken_for_prompts_that_the_method_changed() -> None:
    run = tiny_run({"model": {"name": "weighted"}, "training.positions": "balanced"})
    assert updated(run).changes_prompts is None


def test_a_model_is_as_it_was_after_it_was_watched(misleading: ModuleType) -> None:
    model = misleading.Weighted
    before = dict(vars(model))
    trainer = updated(changing("right", model={"name": "weighted"}), 1)
    assert isinstance(trainer.model, model)
    assert dict(vars(model)) == before


SAID = (
    "the training method 'changing/way=larger inputs' gives the model inputs or labels that were not drawn, or not for "
    "one prompt: which prompts are in distribution is not known, so none are called so"
)


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open() as file:
        yield from csv.DictReader(file)


def test_nothing_is_called_in_distribution_where_the_prompts_of_training_are_not_known(tmp_path: Path) -> None:
    for way, expected in (("right", {"TRUE", "FALSE"}), ("larger inputs", {"FALSE"})):
        run = changing(way)
        execute(run, tmp_path / way)
        folder = tmp_path / way / "tiny" / run.name
        found = {row["in_distribution"] for row in rows_of(folder / "evaluation.csv") if row["learner"] == "model"}
        assert found == expected
        warnings = json.loads((folder / "manifest.json").read_text())["warnings"]
        said = [item["text"] for item in warnings.get("run", [])]
        assert said == ([] if way == "right" else [SAID])


def test_what_was_seen_is_not_forgotten_by_a_run_that_is_resumed(tmp_path: Path) -> None:
    run = changing("larger inputs")
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 6))
    execute(run, tmp_path)
    manifest = json.loads((tmp_path / "tiny" / run.name / "manifest.json").read_text())
    assert [item["about"] for item in manifest["warnings"]["run"]] == ["method"]


def test_operations_follow_a_model_whose_cost_changes(tmp_path: Path) -> None:
    spent = {}
    for way in ("right", "deeper"):
        run = changing(way, model={"name": "weighted"})
        execute(run, tmp_path / way)
        per_step: dict[int, int] = {}
        for row in rows_of(tmp_path / way / "tiny" / run.name / "exposure.csv"):
            per_step[int(row["step"])] = per_step.get(int(row["step"]), 0) + int(row["flops"])
        spent[way] = [per_step[step] - per_step[step - 4] for step in (4, 8, 12)]
    assert spent["right"][0] == spent["right"][1] == spent["right"][2] == 0
    # From the update of step 4 on, each forward pass has two products of 5 x 2 by 2 x 5 numbers more.
    assert spent["deeper"][0] == 0
    assert spent["deeper"][2] == 4 * 8 * 3 * 2 * (2 * 5 * 2 * 5)
