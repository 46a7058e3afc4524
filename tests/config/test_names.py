"""What experiments, variants and components may be called, and which file or folder a name means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY, tiny_values, write_toml

from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import build, find, load, load_run
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import BASELINES, FUNCTION_CLASSES, INPUTS, KINDS, SHIFTS
from icl_curriculum.results.directory import RunDirectory, find_results


@pytest.mark.parametrize("name", ["-rf", "--help", "=1+1", "+1", "@x", "\t=1", ".", "..", ".cache", "aside", "Figures",
                                  "a/b", "a\0b", "é" * 90, "x" * 181, ""])  # fmt: skip
def test_names_that_no_folder_or_table_takes_are_refused(tmp_path: Path, name: str) -> None:
    file = write_toml(tmp_path / "my.toml", TINY | {"name": name})
    with pytest.raises(UserError, match="name: "):
        load(str(file))


@pytest.mark.parametrize("name", ["mine", "2_layers", "é" * 30, "a,b=1+2%", "x" * 180])
def test_names_that_are_right_are_taken(tmp_path: Path, name: str) -> None:
    file = write_toml(tmp_path / "my.toml", TINY | {"name": name, "variants": {name: {}}})
    assert [run.variant for run in load(str(file))] == [name]
    (tmp_path / f"{name}-seed{2**63 - 1}.csv.12345678.tmp").mkdir()


@pytest.mark.parametrize(("variants", "message"), [
    ({"-x": {}}, "variants: '-x' begins with '-'"),
    ({"A": {}, "b": {}, "a": {}}, "variants: 'A' and 'a' are one folder"),
    ({"é": {}, "e\u0301": {}}, "variants: .* are one folder|cannot name a folder"),
])  # fmt: skip
def test_variants_that_no_folder_tells_apart_are_refused(tmp_path: Path, variants: Any, message: str) -> None:
    file = write_toml(tmp_path / "my.toml", TINY | {"variants": variants})
    with pytest.raises(UserError, match=message):
        load(str(file))


@pytest.mark.parametrize("key", ["function_classes", "inputs", "evaluation.shifts", "evaluation.baselines"])
def test_ids_that_are_formulas_are_refused(tmp_path: Path, key: str) -> None:
    name = {"function_classes": "linear", "inputs": "gaussian", "evaluation.shifts": "skewed"}.get(key, "ridge")
    file = write_toml(tmp_path / "my.toml", tiny_values({key: [{"name": name, "id": "=cmd()"}]}))
    with pytest.raises(UserError, match="'=cmd\\(\\)' begins with '='"):
        load(str(file))
    write_toml(file, tiny_values({key: [{"name": name, "id": "a=cmd()"}]}))
    assert load(str(file))


def test_no_id_of_what_is_built_in_is_refused() -> None:
    assert all(name[0].isalpha() for registry in KINDS.values() for name in registry.names())
    for registry in (FUNCTION_CLASSES, INPUTS, BASELINES, SHIFTS):
        for name in registry.names():
            if name not in ("other_class", "other_inputs", "sklearn"):
                assert registry.build(name).id[0].isalpha()


def test_runs_of_names_that_are_refused_today_are_still_read(tmp_path: Path) -> None:
    values = TINY | {"name": "-old", "function_classes": [{"name": "linear", "id": "+1"}]}
    run = Run(build(values, source="old"), "=variant", 0)
    RunDirectory(tmp_path, experiment="-old", variant="=variant", seed=0).write_config(run.config())
    assert load_run(tmp_path / "config.toml").hash() == run.hash()


def test_a_file_called_like_an_experiment_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    usual = find("smoke")
    Path("smoke").write_text("smoke: 1 run of 40 steps\n")
    assert find("smoke") == usual
    assert load("smoke")[0].experiment.name == "smoke"
    write_toml(Path("mine"), TINY)
    assert find("mine") == Path("mine")
    write_toml(Path("smoke"), TINY)
    assert find("./smoke") == Path("smoke")
    write_toml(Path("experiments/smoke.toml"), TINY)
    assert find("smoke") == Path("experiments/smoke.toml")


def test_a_folder_without_results_does_not_hide_those_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mixed/notes").mkdir(parents=True)
    assert find_results("mixed", Path("results")) == Path("mixed")
    Path("results/mixed/a-seed0").mkdir(parents=True)
    Path("results/mixed/a-seed0/manifest.json").write_text(json.dumps({}))
    assert find_results("mixed", Path("results")) == Path("results/mixed")
    Path("mixed/b-seed0").mkdir()
    Path("mixed/b-seed0/manifest.json").write_text(json.dumps({}))
    assert find_results("mixed", Path("results")) == Path("mixed")
