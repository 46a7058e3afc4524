"""Components within components: ids, specs, and mistakes that name the whole key."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import Spec, inputs_of, shift_of
from pydantic import ValidationError
from tiny_runs import tiny_run, tiny_values

from icl_curriculum.config.loading import build
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import INPUTS, KINDS
from icl_curriculum.inputs import Laplace, Scaled

LAPLACE = {"name": "laplace", "scale": 0.5}
SCALED_SPHERE = {"name": "scaled", "of": "sphere"}
MISSPELT = {"name": "other_inputs", "inputs": {"name": "scaled", "of": {"name": "laplace", "sale": 3}}}
SPECS: list[tuple[str, Spec, str]] = [
    ("inputs", "scaled", "scaled/2"),
    ("inputs", {"name": "scaled", "of": "gaussian"}, "scaled/2"),
    ("inputs", {"name": "scaled", "of": {"name": "gaussian"}}, "scaled/2"),
    ("inputs", {"name": "scaled", "of": "laplace"}, "scaled/2/of=laplace"),
    ("inputs", {"name": "scaled", "factor": 0.5, "of": LAPLACE}, "scaled/0.5/of=laplace/scale=0.5"),
    ("inputs", {"name": "scaled", "of": {"name": "scaled", "factor": 3.0}}, "scaled/2/of=scaled/3"),
    ("inputs", {"name": "scaled", "of": {**LAPLACE, "id": "short"}}, "scaled/2/of=short"),
    ("inputs", {"name": "scaled", "of": "laplace", "id": "mine"}, "mine"),
    ("inputs", "half_subspace", "half_subspace"),
    ("inputs", {"name": "shifted", "mean": -0.5}, "shifted/-0.5"),
    ("inputs", {"name": "uniform", "half_width": 5.0}, "uniform/half_width=5"),
    ("inputs", LAPLACE, "laplace/scale=0.5"),
    ("shifts", "other_inputs", "other_inputs/student_t"),
    ("shifts", {"name": "other_inputs", "inputs": LAPLACE}, "other_inputs/laplace/scale=0.5"),
    ("shifts", {"name": "other_inputs", "inputs": SCALED_SPHERE}, "other_inputs/scaled/2/of=sphere"),
    ("shifts", "other_class", "other_class/linear"),
    ("shifts", {"name": "other_class", "function_class": {"name": "hermite", "degree": 3}}, "other_class/hermite/3"),
    ("shifts", {"name": "scaled_outputs", "factor": 1 / 3}, "scaled_outputs/0.333"),
    ("shifts", {"name": "label_noise", "flips": 0.2}, "label_noise/0.5/flips=0.2"),
    ("shifts", "opposite_quadrants", "opposite_quadrants"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "spec", "expected"), SPECS, ids=str)
def test_ids_and_specs(kind: str, spec: Spec, expected: str) -> None:
    component = KINDS[kind].build(spec)
    assert component.id == expected
    again = KINDS[kind].build(component.spec())
    assert again == component
    assert hash(again) == hash(component)
    assert again.id == expected


@pytest.mark.parametrize(
    ("kind", "spec", "expected"),
    [
        ("inputs", {"name": "scaled", "of": {**LAPLACE, "id": "short"}}, "scaled/2/of=laplace/scale=0.5"),
        ("inputs", {"name": "scaled", "of": {"name": "gaussian", "id": "normal"}, "id": "mine"}, "scaled/2"),
        ("curricula", {"name": "single", "id": "alone"}, "single"),
    ],
    ids=str,
)
def test_the_canonical_id_knows_no_id_that_was_given(kind: str, spec: Spec, expected: str) -> None:
    assert KINDS[kind].build(spec).canonical_id == expected


def test_a_spec_says_every_default_of_what_is_within() -> None:
    assert inputs_of({"name": "scaled", "of": "laplace"}).spec() == {
        "name": "scaled",
        "factor": 2.0,
        "of": {"name": "laplace", "scale": 1.0},
    }
    assert shift_of("other_inputs").spec() == {"name": "other_inputs", "inputs": {"name": "student_t", "df": 4.0}}


def test_components_are_taken_as_they_are_too() -> None:
    assert Scaled(of=Laplace()).id == "scaled/2/of=laplace"
    assert Scaled(of=Laplace()) == inputs_of({"name": "scaled", "of": "laplace"})


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "scaled", "factor": 0.0}, {"name": "scaled", "factor": -1.0}, {"name": "scaled", "factor": 1e7},
        {"name": "laplace", "scale": 0.0}, {"name": "uniform", "half_width": 0.0}, {"name": "shifted", "mean": 1e7},
        {"name": "shifted", "mean": float("nan")}, {"name": "student_t", "df": 0.4}, {"name": "cauchy", "df": 1.0},
        {"name": "sphere", "radius": 1.0}, {"name": "scaled", "factor": "2"}, {"name": "scaled", "of": 3},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_out_of_range(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        INPUTS.build(spec)


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"inputs": ["half-subspace"]},
        "inputs.0: unknown input distribution 'half-subspace'; did you mean 'half_subspace'?",
    ),
    (
        {"inputs": ["gaussian", {"name": "scaled", "of": "laplas"}]},
        "inputs.1.of: unknown input distribution 'laplas'; did you mean 'laplace'?",
    ),
    (
        {"inputs": [{"name": "scaled", "of": {"name": "laplace", "scal": 1.0}}]},
        "inputs.0.of.scal: unknown key; did you mean 'scale'?",
    ),
    (
        {"inputs": [{"name": "scaled", "of": {"name": "laplace", "scale": -1.0}}]},
        "inputs.0.of.scale: expected greater than or equal to 0.000001, found -1.0",
    ),
    (
        {"inputs": [{"name": "scaled", "of": {"name": "scaled", "of": {"name": "scaled", "factr": 1.0}}}]},
        "inputs.0.of.of.factr: unknown key; did you mean 'factor'?",
    ),
    (
        {"inputs": [{"name": "scaled", "of": 3}]},
        "inputs.0.of: a",
    ),
    (
        {"inputs": [{"name": "scaled", "on": "gaussian"}]},
        "inputs.0.on: unknown key; known: factor, of",
    ),
    ({"inputs": [{"name": "uniform", "half_width": 0.0}]}, "inputs.0.half_width: expected greater than or equal to"),
    (
        {"evaluation.shifts": [{"name": "other_inputs", "inputs": "gausian"}]},
        "evaluation.shifts.0.inputs: unknown input distribution 'gausian'; did you mean 'gaussian'?",
    ),
    (
        {"evaluation.shifts": ["skewed", MISSPELT]},
        "evaluation.shifts.1.inputs.of.sale: unknown key; did you mean 'scale'?",
    ),
    (
        {"evaluation.shifts": [{"name": "other_class", "function_class": "quadratics"}]},
        "evaluation.shifts.0.function_class: unknown function class 'quadratics'; did you mean 'quadratic'?",
    ),
    (
        {"evaluation.shifts": [{"name": "other_class", "function_class": {"name": "hermite", "degree": 9}}]},
        "evaluation.shifts.0.function_class.degree: expected less than or equal to 4, found 9",
    ),
    (
        {"evaluation.shifts": [{"name": "scaled_outputs", "factor": 0.0}]},
        "evaluation.shifts.0.factor: expected greater than or equal to 0.000001, found 0.0",
    ),
    (
        {"evaluation.shifts": [{"name": "label_noise", "flips": 0.6}]},
        "evaluation.shifts.0.flips: expected less than or equal to 0.5, found 0.6",
    ),
    ({"evaluation.shifts": ["oposite_quadrants"]}, "evaluation.shifts.0: unknown shift 'oposite_quadrants'; did you"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_names_the_key_and_the_closest_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        build(tiny_values(changes), source="tiny.toml")
    assert str(error.value).startswith(f"tiny.toml: {message}")
    assert len(str(error.value).splitlines()) == 1


def test_two_components_of_one_id_are_told_apart_by_what_they_hold() -> None:
    two = [{"name": "scaled", "of": "laplace"}, {"name": "scaled", "of": "sphere"}]
    assert [item.id for item in build(tiny_values({"inputs": two}), source="tiny.toml").inputs] == [
        "scaled/2/of=laplace",
        "scaled/2/of=sphere",
    ]
    with pytest.raises(UserError, match="inputs: two components have the id 'scaled/2'"):
        build(tiny_values({"inputs": ["scaled", {"name": "scaled", "of": "gaussian"}]}), source="tiny.toml")


def test_what_is_within_decides_the_hash_of_a_run() -> None:
    specs: list[Any] = ["laplace", "sphere", LAPLACE]
    runs = [tiny_run({"inputs": [{"name": "scaled", "of": spec}]}) for spec in specs]
    assert len({run.hash() for run in runs}) == 3
    again = tiny_run({"inputs": runs[0].config()["inputs"]})
    assert again.hash() == runs[0].hash()
