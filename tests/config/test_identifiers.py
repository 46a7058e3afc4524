"""Components written on the command line."""

from __future__ import annotations

import pytest

from icl_curriculum.config.identifiers import component
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, OBSERVATIONS, SHIFTS, Registry


@pytest.mark.parametrize(
    ("text", "registry", "expected"),
    [
        ("laplace", INPUTS, "laplace"),
        ("scaled_inputs/0.5", SHIFTS, "scaled_inputs/0.5"),
        ("hermite/3", FUNCTION_CLASSES, "hermite/3"),
        ("hermite/3/weights=gaussian", FUNCTION_CLASSES, "hermite/3/weights=gaussian"),
        ("sparse_linear/sparsity=2", FUNCTION_CLASSES, "sparse_linear/sparsity=2"),
        (
            "sparse_linear/observation=outliers:0.3/sparsity=2",
            FUNCTION_CLASSES,
            "sparse_linear/observation=outliers:0.3/sparsity=2",
        ),
        (
            "linear/pool_size=4/observation=outliers:0.3:spread=2",
            FUNCTION_CLASSES,
            "linear/pool_size=4/observation=outliers:0.3:spread=2",
        ),
        ("quadratic/observation=missing_features", FUNCTION_CLASSES, "quadratic/observation=missing_features:0.2"),
        ("other_observation/outliers/0.3/spread=2", SHIFTS, "other_observation/outliers/0.3/spread=2"),
        ("other_inputs/cauchy", SHIFTS, "other_inputs/cauchy"),
        ("other_inputs/student_t/df=5", SHIFTS, "other_inputs/student_t/df=5"),
        ("other_class/sparse_linear/sparsity=2", SHIFTS, "other_class/sparse_linear/sparsity=2"),
        ("scaled/3/of=student_t/df=5", INPUTS, "scaled/3/of=student_t/df=5"),
        ('{ name = "scaled_inputs", factor = 3 }', SHIFTS, "scaled_inputs/3"),
        (
            ' {name="other_inputs", inputs={name="student_t", df=8.0}, id="mild"}',
            SHIFTS,
            "mild",
        ),
    ],
)
def test_names_ids_and_tables(text: str, registry: Registry, expected: str) -> None:
    assert component(text, registry, "--option").id == expected


@pytest.mark.parametrize(
    "registry", [FUNCTION_CLASSES, INPUTS, OBSERVATIONS, SHIFTS], ids=lambda registry: registry.kind
)
def test_the_default_id_of_every_component_is_read_back(registry: Registry) -> None:
    for name in registry.names():
        built = registry.build(name)
        assert component(built.id, registry, "--option") == built


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scaled_input/3", "--shift scaled_input/3: unknown shift 'scaled_input'; did you mean 'scaled_inputs'?"),
        ("scaled_inputs/-3", "--shift scaled_inputs/-3: factor: expected greater than or equal to 0.000001, found -3"),
        ("scaled_inputs/much", "--shift scaled_inputs/much: factor: expected a valid number, found 'much'"),
        (
            "scaled_inputs/factr=2",
            "--shift scaled_inputs/factr=2: factr: unknown key; did you mean 'factor'?",
        ),
        (
            "scaled_inputs/2/3",
            "--shift scaled_inputs/2/3: expected scaled_inputs, scaled_inputs/value or scaled_inputs/key=value, "
            "found '3'",
        ),
        ("skewed/", "--shift skewed/: expected skewed, skewed/value or skewed/key=value, found ''"),
        ("other_inputs/gausian", "--shift other_inputs/gausian: unknown input distribution 'gausian'; did you mean"),
        ("other_inputs/student_t/df=-1", "--shift other_inputs/student_t/df=-1: inputs.df: expected greater than or"),
        ("{ nam", "--shift { nam: not a valid TOML table: "),
        ("{ factor = 2 }", "--shift { factor = 2 }: a shift is a name or a table with a 'name', found {'factor': 2}"),
        ("{ name = 1e999 }", "--shift { name = 1e999 }: a shift is a name or a table with a 'name'"),
        ("scaled_inputs/nan", "--shift scaled_inputs/nan: factor: expected a number, found nan"),
        ("", "--shift '': unknown shift ''; known: "),
    ],
)
def test_mistakes_name_the_option_and_the_text(text: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        component(text, SHIFTS, "--shift")
    assert str(error.value).startswith(message)


def test_an_id_that_the_run_gave_is_known() -> None:
    own = FUNCTION_CLASSES.build({"name": "hermite", "degree": 3, "id": "h3"})
    assert component("h3", FUNCTION_CLASSES, "--option", [own]) is own
    with pytest.raises(UserError, match="unknown function class 'h3'"):
        component("h3", FUNCTION_CLASSES, "--option")
