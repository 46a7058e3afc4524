"""Where classes and shifts are defined: the table of what is not, and the messages of experiments that ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_runs import executed
from helpers import Spec, bank_of, baseline_of, class_of, inputs_of, reference_task, rows_of, shift_of, task_of
from mistaken import icl
from tiny_runs import tiny_run, tiny_values, write_toml
from undefined import SHIFT_SPECS, UNDEFINED

from icl_curriculum.config.loading import build
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES, SHIFTS
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.shifts import why_undefined
from icl_curriculum.tasks import Task


def test_the_table_is_of_every_class_and_shift() -> None:
    assert set(SHIFT_SPECS) == set(SHIFTS.names())
    assert {shift_of(spec).name for spec in SHIFT_SPECS.values()} == set(SHIFTS.names())
    assert {name for name, _ in UNDEFINED} <= set(FUNCTION_CLASSES.names())


@pytest.mark.parametrize("shift", SHIFTS.names())
@pytest.mark.parametrize("name", FUNCTION_CLASSES.names())
def test_why_a_shift_is_undefined(name: str, shift: str) -> None:
    task = reference_task(name)
    task.check()
    expected = UNDEFINED.get((name, shift))
    for spec in (shift, SHIFT_SPECS[shift]):
        asked = class_of("linear").id if spec == shift else "decision_tree/depth=2"
        wanted = expected if shift != "other_class" or expected is None else expected.replace("linear", asked, 1)
        assert why_undefined(shift_of(spec), task) == wanted


@pytest.mark.parametrize(
    ("function_class", "inputs", "dims", "shift", "reason"),
    [
        ("linear", "gaussian", 1, "half_subspace", "half_subspace: expected 2 dimensions or more, found 1"),
        ("linear", "gaussian", 1, "orthogonal_queries", "nothing is orthogonal to an example in one dimension"),
        ("linear", "half_subspace", 3, "orthogonal_queries", "nothing is orthogonal to an example in one dimension"),
        ("linear", "half_subspace", 4, "orthogonal_queries", None),
        ("linear", "skewed", 4, "orthogonal_queries", None),
        ("linear", "sphere", 4, "orthogonal_queries", None),
        ("linear", {"name": "scaled", "of": "sphere"}, 4, "orthogonal_queries", None),
        *(
            ("linear", inputs, 4, "orthogonal_queries", "turned inputs are distributed differently")
            for inputs in ("laplace", "cauchy", "uniform", "shifted", {"name": "skewed", "basis": "shared"})
        ),
        ("linear", "rademacher", 4, "orthogonal_queries", "every input is a corner of the cube"),
        *(
            (name, inputs, 4, shift, "every input is a corner of the cube")
            for name in ("linear", "decision_tree")
            for inputs in ("rademacher", {"name": "scaled", "of": "rademacher"})
            for shift in ("random_quadrants", "opposite_quadrants")
        ),
        ("linear", "sphere", 1, "opposite_quadrants", "every input is a corner of the cube"),
        ("linear", "cauchy", 4, "opposite_quadrants", None),
        ("linear", "rademacher", 4, "scaled_inputs", None),
        ("linear", "gaussian", 4, {"name": "other_class", "function_class": "parity"}, "expected inputs of -1 and 1"),
        ("linear", "rademacher", 4, {"name": "other_class", "function_class": "parity"}, None),
        (
            "linear", "gaussian", 2, {"name": "other_class", "function_class": "sparse_linear"},
            "sparse_linear: sparsity 3 exceeds the number of dimensions 2",
        ),
        (
            "linear", "laplace", 4, {"name": "other_class", "function_class": "linear_dynamics"},
            "it makes its own inputs, each of which is gaussian",
        ),
        ("parity", "rademacher", 4, {"name": "scaled_inputs", "factor": 1.0}, None),
        ("parity", "rademacher", 4, {"name": "other_inputs", "inputs": "rademacher"}, None),
        ("chebyshev", {"name": "uniform", "half_width": 1.0}, 1, {"name": "scaled_inputs", "factor": 0.5}, None),
        ("linear_dynamics", "gaussian", 4, {"name": "other_inputs", "inputs": "gaussian"}, None),
    ],
    ids=str,
)  # fmt: skip
def test_why_a_shift_is_undefined_for_other_inputs_and_dimensions(
    function_class: Spec, inputs: Spec, dims: int, shift: Spec, reason: str | None
) -> None:
    task = Task(class_of(function_class), inputs_of(inputs), dims)
    task.check()
    assert why_undefined(shift_of(shift), task) == reason


def test_undefined_cells_have_no_bank_and_no_rows(tmp_path: Path) -> None:
    changes = {
        "function_classes": ["linear", "parity"], "inputs": ["rademacher"], "curriculum.function_classes": "random",
        "evaluation.shifts": ["opposite_quadrants", "overlapping_queries", "skewed", "scaled_outputs"],
    }  # fmt: skip
    expected = {
        ("linear", "rademacher", "none"), ("parity", "rademacher", "none"), ("linear", "skewed", "none"),
        ("linear", "rademacher", "overlapping_queries"), ("parity", "rademacher", "overlapping_queries"),
        ("linear", "rademacher", "scaled_outputs/2"),
    }  # fmt: skip
    assert {bank.key for bank in evaluation_banks(tiny_run(changes).experiment)} == expected
    table = executed(tmp_path, changes).table("evaluation")
    columns = ["function_class", "input_distribution", "shift"]
    assert set(table[columns].drop_duplicates().itertuples(index=False, name=None)) == expected
    overlapping = table[table["shift"] == "overlapping_queries"]
    assert set(overlapping["n_context"]) == {1, 2, 3, 4}
    assert set(table[table["shift"] == "none"]["n_context"]) == {0, 1, 2, 3, 4}
    assert not table["value"].isna().any()
    assert pd.unique(table["step"]).tolist() == [12]


def test_undefined_lengths_of_orthogonal_queries_are_absent() -> None:
    assert {row.n_context for row in rows_of(baseline_of("zero"), bank_of(shift="orthogonal_queries", points=9))} == {
        0, 1, 2, 3, 4,
    }  # fmt: skip
    halved = bank_of("linear", "orthogonal_queries", "half_subspace", points=9)
    assert {row.n_context for row in rows_of(baseline_of("zero"), halved)} == {0, 1}


# Experiment files

UNIT = 'set inputs = [{ name = "uniform", half_width = 1.0 }]'
SIGNS = 'set inputs = ["rademacher"]'
MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"function_classes": ["parity"]},
        f"function_classes.0: parity: expected inputs of -1 and 1, found gaussian; {SIGNS}",
    ),
    (
        {"function_classes": ["linear", {"name": "parity", "size": 1}], "inputs": ["rademacher", "scaled"]},
        f"function_classes.1: parity/size=1: expected inputs of -1 and 1, found scaled/2; {SIGNS}",
    ),
    (
        {"function_classes": ["chebyshev"], "dims": 5},
        "function_classes.0: chebyshev: expected 1 dimension, found 5; set dims = 1",
    ),
    (
        {"function_classes": ["chebyshev"], "dims": 1},
        f"function_classes.0: chebyshev: expected inputs within ±1, found gaussian; {UNIT}",
    ),
    (
        {"function_classes": ["linear", "chebyshev"], "dims": 1, "inputs": ["uniform"]},
        f"function_classes.1: chebyshev: expected inputs within ±1, found uniform; {UNIT}",
    ),
    (
        {"function_classes": ["linear_dynamics"], "inputs": ["gaussian", "skewed"]},
        "function_classes.0: linear_dynamics: it makes its own inputs, each of which is gaussian, found skewed; "
        'set inputs = ["gaussian"]',
    ),
    (
        {"function_classes": ["parity"], "inputs": ["rademacher"], "curriculum.dims": {"start": 1, "every": 2}},
        "function_classes.0: curriculum.dims sets coordinates to zero, and parity is defined for inputs of -1 and 1",
    ),
    (
        {"function_classes": ["linear_dynamics"], "curriculum.dims": {"start": 1, "every": 2}},
        "function_classes.0: curriculum.dims sets coordinates to zero, and linear_dynamics makes its own inputs",
    ),
    (
        {"inputs": ["half_subspace"], "dims": 1},
        "inputs.0: half_subspace: expected 2 dimensions or more, found 1",
    ),
    (
        {"inputs": ["gaussian", {"name": "scaled", "of": "half_subspace"}], "dims": 1},
        "inputs.1: half_subspace: expected 2 dimensions or more, found 1",
    ),
    (
        {"function_classes": [{"name": "parity", "size": 3}], "inputs": ["rademacher"]},
        "function_classes.0: parity: size 3 exceeds the number of dimensions 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_an_experiment_outside_a_domain_is_refused(changes: dict[str, Any], message: str) -> None:
    values = tiny_values({"curriculum.function_classes": "random", **changes})
    with pytest.raises(UserError) as error:
        build(values, source="tiny.toml")
    assert str(error.value) == f"tiny.toml: {message}"


def test_the_command_line_says_it_and_ends_with_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for changes, message in (MISTAKES[0], MISTAKES[2], MISTAKES[5], MISTAKES[6]):
        write_toml(Path("my.toml"), tiny_values({"curriculum.function_classes": "random", **changes}))
        answer = icl("show", "my.toml")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == f"error: my.toml: {message}\n"
    answer = icl("show", "my.toml", "--set", 'function_classes=["chebyshev"]', "--set", "curriculum.dims.start=1")
    assert answer.code == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"function_classes": ["parity", "linear"], "inputs": ["rademacher"]},
        {"function_classes": ["chebyshev", "sinusoid"], "dims": 1, "inputs": [{"name": "uniform", "half_width": 1.0}]},
        {"function_classes": ["linear_dynamics", "linear"]},
        {"inputs": [{"name": "scaled", "factor": 1.0, "of": "rademacher"}], "function_classes": ["parity"]},
    ],
    ids=str,
)
def test_an_experiment_that_does_what_the_messages_say_loads(changes: dict[str, Any]) -> None:
    build(tiny_values({"curriculum.function_classes": "random", **changes}), source="tiny.toml")


def test_a_task_says_what_it_wants() -> None:
    with pytest.raises(UserError, match=r"^parity: expected inputs of -1 and 1, found gaussian; set inputs = \["):
        task_of("parity").check()
    assert task_of("parity", "rademacher").outside_domain() is None
