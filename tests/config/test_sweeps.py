"""Sweeps: the grid of their values, what its combinations are called, and what cannot be swept."""

from __future__ import annotations

import doctest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import tiny_values, write_toml

from icl_curriculum.config import option_values, sweeps
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load
from icl_curriculum.config.option_values import parse_sweeps
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.options import named_as_on_the_command_line
from icl_curriculum.curricula.fixed import Single


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_examples_in_the_docstrings() -> None:
    for module in (sweeps, option_values):
        found = doctest.testmod(module)
        assert found.attempted
        assert not found.failed


def swept(changes: dict[str, Any] | None = None, **options: Any) -> list[Run]:
    write_toml(Path("my.toml"), tiny_values(changes or {}))
    return load("my.toml", **options)


def names(changes: dict[str, Any] | None = None, **options: Any) -> list[str]:
    return list(dict.fromkeys(run.variant for run in swept(changes, **options)))


def error_of(changes: dict[str, Any] | None = None, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        swept(changes, **options)
    return str(error.value)


WIDTHS = {"model.width": [8, 16]}
RATES = {"training.optimizer.learning_rate": [3e-3, 1e-5]}


def test_a_grid_is_every_combination_with_every_seed_in_the_order_of_the_file() -> None:
    runs = swept({"sweep": {**WIDTHS, **RATES}, "seeds": [0, 1]})
    assert [run.name for run in runs] == [
        f"width={width},learning_rate={rate}-seed{seed}"
        for width in (8, 16) for rate in ("0.003", "1e-5") for seed in (0, 1)
    ]  # fmt: skip
    assert [run.experiment.model.spec()["width"] for run in runs[::4]] == [8, 16]
    assert [run.experiment.training.optimizer.learning_rate for run in runs[:4:2]] == [3e-3, 1e-5]
    assert runs[-1].swept == {"model.width": "16", "training.optimizer.learning_rate": "1e-5"}


def test_inner_tables_and_dotted_keys_say_the_same() -> None:
    Path("quoted.toml").write_text('extends = "smoke.toml"\n[sweep]\n"model.width" = [8, 16]\n')
    Path("nested.toml").write_text('extends = "smoke.toml"\n[sweep]\nmodel.width = [8, 16]\n')
    quoted, nested = load("quoted.toml"), load("nested.toml")
    assert [run.hash() for run in quoted] == [run.hash() for run in nested]
    assert [run.variant for run in quoted] == ["width=8", "width=16"]


def test_a_run_of_a_sweep_is_the_run_that_the_value_alone_makes() -> None:
    """Its hash does not know of the sweep, so that a value can be added to it, or run by itself."""
    alone = [swept(overrides=[f"model.width={width}"])[0].hash() for width in (8, 16)]
    assert [run.hash() for run in swept({"sweep": WIDTHS})] == alone
    assert [run.hash() for run in swept({"sweep": {"model.width": [16, 8, 32]}})][:2] == alone[::-1]
    assert "sweep" not in swept({"sweep": WIDTHS})[0].config()


def test_every_variant_is_swept() -> None:
    variants = {"mixed": {"curriculum.function_classes": "mixed"}, "other": {"training": {"batch_size": 5}}}
    variants["mixed"] = {"curriculum": {"function_classes": "mixed"}}
    runs = swept({"variants": variants, "sweep": WIDTHS})
    assert [run.variant for run in runs] == ["mixed,width=8", "mixed,width=16", "other,width=8", "other,width=16"]
    assert [run.swept_variant for run in runs] == ["mixed", "mixed", "other", "other"]
    assert runs[3].experiment.training.batch_size == 5
    assert runs[3].experiment.model.spec()["width"] == 16


def test_a_sweep_comes_after_what_overrides_the_file_and_what_it_extends() -> None:
    write_toml(Path("base.toml"), tiny_values({"sweep": {**WIDTHS, "dims": [2, 3]}}))
    Path("my.toml").write_text('extends = "base.toml"\n[sweep]\ndims = [1]\n')
    assert [run.variant for run in load("my.toml", overrides=["model.width=40"])] == [
        "width=8,dims=1",
        "width=16,dims=1",
    ]
    given = load("my.toml", sweep={"model.width": [4], "training.steps": [2]})
    assert [run.variant for run in given] == ["width=4,dims=1,steps=2"]


def test_optimizers_are_called_by_their_names_and_components_by_their_ids() -> None:
    assert names({"sweep": {"training": {"optimizer": {"name": ["adam", "muon"]}}}}) == [
        "optimizer=adam",
        "optimizer=muon",
    ]
    sweep: dict[str, Any] = {"curriculum.function_classes": ["mixed", {"name": "single", "only": "linear"}]}
    runs = swept({"sweep": sweep})
    assert [run.variant for run in runs] == ["function_classes=mixed", "function_classes=single-linear"]
    assert runs[1].swept == {"curriculum.function_classes": "single/linear"}


@pytest.mark.parametrize(
    ("key", "values", "called"),
    [
        ("training.clip", [1.0, float("inf")], ["clip=1", "clip=inf"]),
        ("training.optimizer", [{"name": "adam", "learning_rate": 1e-3}], ["optimizer=adam+learning_rate=0.001"]),
        ("evaluation.shifts", [[], ["skewed", {"name": "scaled_inputs", "factor": 2.0}]],
         ["shifts=none", "shifts=skewed+scaled_inputs-2"]),
        ("training.compile", [False], ["compile=false"]),
        ("curriculum.dims", [{"start": 1, "every": 10}], ["dims=start=1+every=10"]),
        ("training.fixed_prompts", [None, 8], ["fixed_prompts=none", "fixed_prompts=8"]),
    ],
)  # fmt: skip
def test_values_of_every_kind_have_readable_names(key: str, values: list[Any], called: list[str]) -> None:
    assert names(sweep={key: values}) == called


def test_two_keys_with_one_last_part_are_told_apart() -> None:
    given = {"curriculum.inputs": ["mixed"], "inputs": [["gaussian"], ["gaussian", "laplace"]]}
    assert names({"sweep": given}) == [
        "curriculum.inputs=mixed,inputs=gaussian", "curriculum.inputs=mixed,inputs=gaussian+laplace"
    ]  # fmt: skip


def test_python_sweeps_over_numbers_of_numpy_and_components() -> None:
    rates = np.geomspace(1e-4, 1e-2, 3)
    assert names(sweep={"training.optimizer.learning_rate": rates, "model.width": range(4, 12, 4)})[:2] == [
        "learning_rate=0.0001,width=4", "learning_rate=0.0001,width=8"
    ]  # fmt: skip
    assert names(sweep={"curriculum.function_classes": [Single(only="linear"), "mixed"]}) == [
        "function_classes=single-linear", "function_classes=mixed"
    ]  # fmt: skip
    assert "sweep: expected a dict" in error_of(sweep=["model.width=3"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"model.widht": [8, 16]}, """my.toml, sweep."model.widht" = 8: model.widht: unknown key; did you mean 'wid"""),
        ({"model.width": [8, "x"]}, """sweep."model.width" = 'x': model.width: expected a valid integer, found 'x'"""),
        ({"model.width": 8}, 'sweep."model.width": expected a list of values, as in [8, 16], found 8'),
        ({"model.width": []}, 'sweep."model.width": expected at least one value, found an empty list'),
        ({"model.width": [8, 16, 8]}, 'sweep."model.width": 8 stands there twice; expected every value once'),
        ({"model.width": [8, 8.0]}, 'sweep."model.width": 8.0 stands there twice'),
        ({"model": [{}], "model.width": [8]}, 'sweep."model.width": lies within model, which is swept, too'),
        ({"seeds": [[0], [1]]}, "sweep.seeds: belongs to the whole experiment, not to a sweep; give seeds"),
        ({"name": ["a", "b"]}, "sweep.name: belongs to the whole experiment"),
        ({"plugins": [[], []]}, "sweep.plugins: belongs to the whole experiment"),
        ({"model..width": [8]}, 'sweep."model..width": expected a dotted key'),
        ({"training.steps": list(range(1, 42)), "dims": list(range(1, 26))}, "41 x 25 values make 1,025 combinations"),
        ({"dims": [1] * 9000}, "sweep: 9000 values make 9,000 combinations; expected at most 1,000"),
        ({"description": ["a:b", "a/b"]}, "two combinations are both called 'description=a-b'"),
        ({"description": ["x" * 200]}, "is too long for the name of a folder"),
        ({"description": ["a", "A"]}, "are one folder where case does not count"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_refused_by_its_key(sweep: dict[str, Any], said: str) -> None:
    assert said in error_of({"sweep": sweep})


def test_a_key_that_a_variant_sets_is_not_swept_beside_it() -> None:
    """One of the two would have no effect."""
    said = error_of({"variants": {"wide": {"model": {"width": 32}}}, "sweep": WIDTHS})
    assert """sweep."model.width": the variant 'wide' sets model.width, too""" in said
    assert "the variant 'wide' sets model, too" in error_of(
        {"variants": {"wide": {"model": {"width": 32}}}, "sweep": {"model": [{}]}}
    )
    assert "variants.a.sweep: belongs to the whole experiment" in error_of({"variants": {"a": {"sweep": {}}}})


def test_true_and_one_are_two_values() -> None:
    assert "twice" not in error_of({"sweep": {"model.width": [True, 1]}})


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("model.width=8,16", {"model.width": [8, 16]}),
        (" model.width = 8 , 16 ", {"model.width": [8, 16]}),
        ("a.b=3e-3,mixed,true", {"a.b": [3e-3, "mixed", True]}),
        ("betas=[0.9, 0.98],[0.8,0.9]", {"betas": [[0.9, 0.98], [0.8, 0.9]]}),
        ("c=mixed,{name='single', only=\"a,b\"}", {"c": ["mixed", {"name": "single", "only": "a,b"}]}),
        (r'd="a,b","\"c,d"', {"d": ["a,b", '"c,d']}),
        ("d='a,b\\',c", {"d": ["a,b\\", "c"]}),
        ("evaluation.adapt=['steps=1,rate=2']", {"evaluation.adapt": [["steps=1,rate=2"]]}),
    ],
)  # fmt: skip
def test_values_on_the_command_line_are_those_of_toml(text: str, values: Mapping[str, Any]) -> None:
    assert parse_sweeps([text]) == values


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["model.width"], "--sweep model.width: expected key=value,value,... with a dotted key"),
        (["=8"], "--sweep =8: expected key=value,value,..."),
        (["a=8,,9"], "--sweep a=8,,9: expected a value on either side of every comma"),
        (["a=8,"], "expected a value on either side of every comma"),
        (["a=8", "a=9"], "--sweep a=9: a is swept twice; give all of its values in one --sweep"),
        (["a=nan"], "--sweep a=nan: a.0: expected a number, found nan"),
    ],
)  # fmt: skip
def test_a_mistaken_option_is_named(texts: list[str], said: str) -> None:
    with pytest.raises(UserError) as error:
        parse_sweeps(texts)
    assert said in str(error.value)


def test_a_name_comes_before_the_parameters_of_what_it_names() -> None:
    """In whatever order they are swept: the parameters were lost, though the variants were named for them."""
    for keys in (("model.width", "model.name"), ("model.name", "model.width")):
        sweep = {key: {"model.width": [8, 16], "model.name": ["recurrent", "deep_sets"]}[key] for key in keys}
        runs = swept({"sweep": sweep})
        assert len({run.hash() for run in runs}) == 4
        for run in runs:
            assert str(run.experiment.model.spec()["width"]) == run.swept["model.width"]


def test_what_is_wrong_with_a_sweep_that_was_given_names_the_option() -> None:
    assert error_of(sweep={"model.widht": [8]}).startswith("my.toml, sweep 'model.widht' = 8: model.widht: unknown key")
    assert error_of(sweep={"seeds": [8]}).startswith("sweep 'seeds': sweep.seeds: belongs to the whole")
    with named_as_on_the_command_line():
        assert error_of(sweep={"dims": [1, 1]}).startswith("--sweep dims: sweep.dims: 1 stands there twice")
        assert error_of(sweep={"dims": ["x"]}).startswith("my.toml, --sweep dims = 'x': dims: expected a valid integer")
    # What stands in the file is found there, also where something else is given.
    assert error_of({"sweep": {"points": ["x"]}}, sweep={"dims": [2]}).startswith("my.toml, sweep.points = 'x'")


def test_swept_values_are_told_of_beside_other_mistakes() -> None:
    said = error_of({"sweep": {"points": ["y"]}}, sweep={"model.width": [8, "x", {}]}, overrides=["dims=z"])
    assert said.splitlines() == [
        "overrides 'dims=z': dims: expected a valid integer, found 'z'",
        "my.toml, sweep.points = 'y': points: expected a valid integer, found 'y'",
        "my.toml, sweep 'model.width' = 'x': model.width: expected a valid integer, found 'x'",
        "my.toml, sweep 'model.width' = {}: model.width: expected a valid integer, found {}",
    ]


def test_an_override_that_a_swept_name_would_lose_is_refused() -> None:
    families = {"model.name": ["transformer", "recurrent"]}
    said = error_of(sweep=families, overrides=["model.width=32"])
    assert said == (
        "overrides 'model.width=32': model.width: is lost where model.name = 'recurrent', which has parameters of its "
        "own; give all of them sweep 'model.width=...', or write [variants]"
    )
    runs = swept(sweep={**families, "model.width": [32]})
    assert [run.experiment.model.spec()["width"] for run in runs] == [32, 32]
    assert swept(sweep={"model.name": ["transformer"]}, overrides=["model.width=32"])
    assert swept(sweep=families, overrides=["dims=3"])
