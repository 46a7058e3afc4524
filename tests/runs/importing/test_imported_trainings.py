"""What a configuration says of a training is told in the suite's own words, or in a note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign_checkpoints import BHASIN, GARG, changed, foreign_weights, write_state

from icl_curriculum.runs.importing.command import Import
from icl_curriculum.runs.importing.foreign_run import Told


@pytest.mark.parametrize(
    ("task", "arguments", "expected"),
    [
        ("linear_regression", {"scale": 1}, "linear"),
        ("sparse_linear_regression", {}, "sparse_linear"),
        ("sparse_linear_regression", {"sparsity": 2, "valid_coords": None}, "sparse_linear/sparsity=2"),
        ("linear_classification", {}, "linear_classification"),
        ("noisy_linear_regression", {"noise_std": 0.5, "renormalize_ys": False}, "noisy_linear/label_noise=0.5"),
        ("noisy_linear_regression", {}, "noisy_linear/label_noise=0"),
        ("quadratic_regression", {}, "quadratic"),
        ("relu_2nn_regression", {"hidden_layer_size": 4}, "relu_network/hidden=4"),
        ("decision_tree", {"depth": 3}, "decision_tree/depth=3"),
        ("hermite_regression", {"degree": 3}, "hermite/3/weights=gaussian"),
    ],
)
def test_a_task_is_the_class_that_draws_the_same_functions(
    task: str, arguments: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    config = changed(GARG, task=task, task_kwargs=arguments)
    found = Import(write_state(tmp_path, foreign_weights(), config), Told())
    assert [item.id for item in found.run.experiment.function_classes] == [expected]


def test_a_multi_task_configuration(tmp_path: Path) -> None:
    """With the schedule, the seed and the length of Bhasin et al.'s code, whose keys are sorted as text."""
    found = Import(write_state(tmp_path / "theirs", foreign_weights(), BHASIN), Told())
    experiment = found.run.experiment
    assert found.run.name == "imported-seed3"
    assert [item.id for item in experiment.function_classes] == [
        "hermite/1/weights=gaussian", "hermite/2/weights=gaussian",
    ]  # fmt: skip
    assert (experiment.points, experiment.curriculum.function_classes.id) == (9, "mixed")
    assert found.found.origin["code"] == "Bhasin et al. 2024"
    assert found.found.notes == []
    unit = Import(write_state(tmp_path / "unit", foreign_weights(), changed(BHASIN, weight_type="normalized")), Told())
    assert [item.id for item in unit.run.experiment.function_classes] == ["hermite/1", "hermite/2"]


def test_inputs_whose_rotation_is_lost_do_not_count_as_in_distribution(tmp_path: Path) -> None:
    kinds = {
        "data_2": {"data": "gaussian", "type": "skewed"},
        "data_10": {"data": "studentT", "type": "standard", "df": 4},
        "data_0": {"data": "gaussian", "type": "standard"},
        "data_3": {"data": "gaussian", "type": "standard", "bias": 2},
    }
    config = changed(BHASIN, data_kwargs=kinds, data_schedule="random")
    found = Import(write_state(tmp_path, foreign_weights(), config), Told())
    assert [item.id for item in found.run.experiment.inputs] == ["gaussian", "skewed", "shifted/2", "student_t"]
    assert {inputs for _, inputs in found.found.offered} == {"gaussian", "shifted/2", "student_t"}
    (note,) = found.found.notes
    assert note.startswith("Its skewed inputs had one rotation throughout, which no checkpoint holds")


@pytest.mark.parametrize(
    ("keys", "step", "note"),
    [
        ({}, 2500, "At step 2,500 its prompts had grown to 2 of 3 dimensions and 5 of 7 points; all up to 7 points"),
        ({"num_tasks": 16}, 500_000, "It was trained on 16 functions alone (num_tasks), which no checkpoint holds"),
        ({"task": "linear_classification"}, 500_000, "It was trained on cross-entropy, so its answers are logits"),
    ],
    ids=["early", "few functions", "classification"],
)  # fmt: skip
def test_what_a_reader_must_know_is_a_note(keys: dict[str, Any], step: int, note: str, tmp_path: Path) -> None:
    found = Import(write_state(tmp_path, foreign_weights(), changed(GARG, **keys), step=step), Told())
    assert [text[: len(note)] for text in found.found.notes] == [note]
