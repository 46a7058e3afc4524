"""Functions of the same form from another distribution, asked under the trained class's name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers import Spec, bank_of, class_of, draw, reference_task, same, shift_of, task_of
from tiny_runs import tiny_run

from icl_curriculum.evaluation import oracle_entry
from icl_curriculum.runs.execution import execute
from icl_curriculum.shifts import why_undefined

CAP: Spec = {"name": "cap_linear", "angle": 60.0}
REST: Spec = {"name": "cap_linear", "angle": 180.0, "least_angle": 60.0}


def other(spec: Spec) -> Spec:
    return {"name": "other_functions", "function_class": spec}


def test_prompts_are_those_of_the_other_class_under_the_trained_one_s_name() -> None:
    bank = bank_of("linear", other({"name": "sparse_linear", "sparsity": 2}), n=20)
    own = bank_of({"name": "sparse_linear", "sparsity": 2}, n=20)
    assert same(bank.draw(), own.draw(), "xs", "ys", "targets")
    assert bank.key == ("linear", "gaussian", "other_functions/sparse_linear/sparsity=2")
    assert bank.draw().function_class == "linear"
    assert bank.second_moment == 2
    (oracle,) = oracle_entry(bank)
    assert oracle.learner.predict(bank.draw()).equal(class_of("sparse_linear").oracle(own.draw()))


def test_unit_and_noise_stay_those_of_the_trained_class() -> None:
    """Twenty dimensions, whose unit is 1 / sqrt(20); the sparse functions' own would be 1 / sqrt(2)."""
    trained: Spec = {"name": "linear", "outputs": "unit", "label_noise": 0.5}
    bank = bank_of(trained, other({"name": "sparse_linear", "sparsity": 2}), n=4000, points=3)
    prompts = bank.draw()
    unit = 5**-0.5
    assert prompts.scale == pytest.approx(unit)
    assert prompts.label_noise == pytest.approx(0.5 * unit)
    assert bank.second_moment == pytest.approx(2 / 5)
    assert float(prompts.targets.square().mean()) == pytest.approx(2 / 5, rel=0.1)
    assert float((prompts.ys - prompts.targets).std()) == pytest.approx(0.5 * unit, rel=0.05)
    assert bank.reference_error == pytest.approx(2 / 5)
    # Ridge regression's penalty is in raw units.
    assert prompts.noise_variance == pytest.approx(0.25)


def test_the_noise_of_the_class_that_is_asked_is_not_its_own() -> None:
    assert bank_of("linear", other({"name": "power_law_linear", "label_noise": 2.0})).draw().label_noise == 0


def test_functions_of_a_pool_are_asked_afresh() -> None:
    bank = bank_of({"name": "linear", "pool_size": 2}, other("linear"), n=50)
    assert bank.key == ("linear/pool_size=2", "gaussian", "other_functions/linear")
    assert len(bank.draw().truth["w"].unique(dim=0)) == 50  # type: ignore[index]


def test_the_trained_distribution_itself_is_in_distribution() -> None:
    task = task_of("linear")
    assert bank_of("linear", other("linear")).asks_like([task])
    assert not bank_of("linear", other(CAP)).asks_like([task])


@pytest.mark.parametrize(
    ("trained", "asked", "reason"),
    [
        ("linear", "noisy_linear", None),
        ("sparse_linear", {"name": "sparse_linear", "first": 3}, None),
        (CAP, REST, None),
        ("hermite", {"name": "hermite", "degree": 3}, None),
        ("linear", "quadratic", "the functions of quadratic have another form"),
        ("linear", "linear_dynamics", "the functions of linear_dynamics have another form"),
        # Both classes inherit `evaluate`, which calls `classify`.
        ("multiclass_linear", "multiclass_linear", None),
        ("multiclass_linear", "gaussian_classes", "the functions of gaussian_classes/3 have another form"),
        ("linear_map", "linear", "linear has other labels: numbers, not vectors of 2 numbers"),
        ("linear", {"name": "sparse_linear", "sparsity": 9}, "sparse_linear: sparsity 9 exceeds the number of"),
    ],
)
def test_where_it_makes_sense(trained: Spec, asked: Spec, reason: str | None) -> None:
    found = why_undefined(shift_of(other(asked)), reference_task(trained))
    assert (found is None) if reason is None else (found is not None and found.startswith(reason))


def test_a_run_asks_about_the_rest_of_the_sphere(tmp_path: Path) -> None:
    run = tiny_run(
        {"function_classes": [CAP], "evaluation.shifts": [other(REST)], "evaluation.learning_shifts": [other(REST)]}
    )
    execute(run, tmp_path)
    rows = pd.read_csv(tmp_path / "tiny" / run.name / "evaluation.csv")
    assert set(rows["function_class"]) == {"cap_linear/60"}
    assert set(rows["shift"]) == {"none", "other_functions/cap_linear/180/least_angle=60"}
    # Zero's error over the functions' own second moment.
    zero = rows[(rows["learner"] == "zero") & (rows["metric"] == "normalized_error")]
    assert zero["value"].between(0.2, 5).all()
    axis = draw(task_of(REST, dims=2), 100, 2).truth["w"][:, 0]  # type: ignore[index]
    assert bool((axis <= torch.tensor(2**0.5 * 0.5) + 1e-4).all())
