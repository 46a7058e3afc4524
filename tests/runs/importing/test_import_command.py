"""``icl import``: the folder that it writes is one of a finished run, for every command that takes one."""

from __future__ import annotations

import hashlib
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from finished_runs import Finished
from foreign_checkpoints import GARG, changed, foreign_weights, write_state
from tiny_runs import Icl, tables

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.collecting import collect
from icl_curriculum.results.columns import COLUMNS, GROWING
from icl_curriculum.runs.importing import command as importing

#: So many prompts make an import quick.
FEW = ("--n-prompts", "16")


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "evaluation.csv")


def trained_ks(frame: pd.DataFrame) -> list[int]:
    models = frame[(frame["learner_kind"] == "model") & (frame["metric"] == "normalized_error")]
    return sorted(models.loc[models["in_distribution"], "n_context"].unique())


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return write_state(tmp_path / "linear_regression", foreign_weights(), GARG)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def imported(icl: Icl, theirs: Path, results: Path) -> Path:
    assert icl("import", theirs, "--results", results, *FEW)[0] == 0
    return results / "linear_regression/imported-seed0"


def test_the_folder_says_what_it_holds_and_from_which_file(icl: Icl, theirs: Path, results: Path) -> None:
    code, _, err = icl("import", theirs, "--results", results, *FEW)
    run_dir = results / "linear_regression/imported-seed0"
    assert code == 0, err
    assert "imported-seed0: 1 bank of 16 prompts of 7 points" in err
    assert f"run:     {run_dir}\n" in err
    manifest = json.loads((run_dir / "manifest.json").read_text())
    assert manifest["status"] == "finished"
    assert manifest["imported"] == {
        "file": "state.pt",
        "sha256": hashlib.sha256((theirs / "state.pt").read_bytes()).hexdigest(),
        "step": 500_000,
        "code": "Garg et al. 2022",
        "config": "config.yaml",
        "config_sha256": hashlib.sha256((theirs / "config.yaml").read_bytes()).hexdigest(),
        "instruction_files": [],
        "notes": [],
    }
    for name in {*GROWING} - {"timing"}:
        assert (run_dir / f"{name}.csv").read_text() == ",".join(COLUMNS[name]) + "\n"
    frame = rows(run_dir)
    assert set(frame.loc[frame["learner_kind"] == "model", "step"]) == {500_000}
    assert set(frame["learner_kind"]) == {"model", "baseline", "oracle"}
    assert trained_ks(frame) == list(range(7))


def test_the_config_is_that_of_the_published_recipe(imported: Path) -> None:
    config = tomllib.loads((imported / "config.toml").read_text())
    expected = {
        "width": 8, "layers": 2, "heads": 2, "mlp_ratio": 4, "tokens": "alternate", "positions": "token",
        "activation": "gelu", "initialization": "reference", "normalize_queries_and_keys": False, "max_points": 12,
    }  # fmt: skip
    assert {key: config["model"][key] for key in expected} == expected
    assert (config["recipe"], config["dims"], config["points"]) == ("reference", 3, 7)
    assert config["function_classes"][0]["name"] == "linear"
    assert config["curriculum"]["points"] == {"start": 3, "add": 2, "every": 2000}
    assert config["curriculum"]["dims"] == {"start": 1, "add": 1, "every": 2000}
    assert (config["training"]["steps"], config["training"]["batch_size"]) == (500_001, 64)
    assert config["training"]["optimizer"]["learning_rate"] == 1e-4
    assert config["description"] == "Imported from state.pt of Garg et al. 2022, step 500,000."


def test_evaluate_and_score_ask_it_longer_prompts_and_flag_them(
    icl: Icl, imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained on 7 points, its positions allow 12."""
    for name in ("draw_heat_map", "draw_prediction_differences"):
        monkeypatch.setattr(figures, name, lambda output: None)
    monkeypatch.setattr(figures, "draw_scores", lambda output, **options: [])
    assert icl("evaluate", imported, "--shift", "longer_prompts/1.5", "--output", tmp_path / "evaluated")[0] == 0
    frame = rows(tmp_path / "evaluated")
    longer = frame[frame["shift"] == "longer_prompts/1.5"]
    assert longer["n_context"].max() == 9
    assert not longer["in_distribution"].any()
    options = ("--points", "12", "--output", tmp_path / "scored", *FEW)
    assert icl("score", imported, "ridge", *options)[0] == 0
    frame = rows(tmp_path / "scored")
    assert frame["n_context"].max() == 11
    assert trained_ks(frame) == list(range(7))
    code, _, err = icl("score", imported, "--points", "13", "--output", tmp_path / "too_long")
    assert code == 2
    assert "prompts of 13 points, the model reads at most 12" in err


def test_figures_and_report_say_that_training_is_not_known(
    icl: Icl, imported: Path, results: Path, theirs: Path
) -> None:
    code, _, err = icl("plot", "linear_regression", "--results", results)
    assert code == 0, err
    assert err.count("figures of training are left out: the runs were imported") == 1
    drawn = sorted(path.stem for path in (imported.parent / "figures").glob("*.png"))
    assert drawn == ["error_by_examples", "prediction_differences"]
    code, _, err = icl("report", "linear_regression", "--results", results)
    assert code == 0, err
    assert err.count("What happened in training is not known, as the runs were imported") == 1
    sha256 = hashlib.sha256((theirs / "state.pt").read_bytes()).hexdigest()
    assert (
        f"imported-seed0 was imported from state.pt, SHA-256 {sha256}." in (imported.parent / "report.html").read_text()
    )


def test_imports_are_compared_with_one_another(icl: Icl, imported: Path, results: Path, theirs: Path) -> None:
    assert icl("import", theirs, "--results", results, "--variant", "again", *FEW)[0] == 0
    code, out, err = icl("compare", "linear_regression", "--results", results)
    assert code == 0, err
    assert "At 6 examples, after 500,000 steps, again ends lowest, at " in out
    frame = pd.read_csv(imported.parent / "summary.csv")
    assert set(frame["quantity"]) == {"error", "converged", "steps"}


def test_it_is_compared_with_a_run_that_was_trained_here(icl: Icl, finished: Finished, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(finished.results, results)
    collect(results / "tiny", {"mixed": finished.run.hash()})
    config = changed(GARG, curriculum={"points": {"end": 5}})
    config["model"] = {**GARG["model"], "n_dims": 2}
    folder = write_state(tmp_path / "theirs", foreign_weights(dims=2), config)
    assert icl("import", folder, "--results", results, *FEW)[0] == 0
    code, out, err = icl("compare", "tiny", "theirs", "--results", results)
    assert code == 0, err
    assert "At 4 examples, after 500,000 steps, theirs ends at" in out
    assert "note: What happened in training is not known" in err
    frame = pd.read_csv(results / "compare/summary.csv")
    of_both = frame[(frame["versus"] == "theirs") & (frame["function_class"] == "linear")]
    assert set(of_both["quantity"]) == {"error"}


def test_files_of_instructions_stand_in_the_manifest(icl: Icl, tmp_path: Path) -> None:
    """By options alone: the instruction is of the class, in the order in which the classes are named."""
    torch.save(foreign_weights(), tmp_path / "model_5.pt")
    for name in ("first", "second"):
        torch.save(torch.ones(1, 8), tmp_path / f"{name}.pt")
    given = (
        "--heads",
        "2",
        "--prompt-type",
        "model_four",
        "--function-class",
        "linear",
        "--function-class",
        "quadratic",
    )
    files = ("--instruction-file", tmp_path / "first.pt", "--instruction-file", tmp_path / "second.pt")
    code, _, err = icl("import", tmp_path / "model_5.pt", *given, *files, "--results", tmp_path / "results", *FEW)
    assert code == 0, err
    run_dir = tmp_path / "results/model_5/model_5-seed0"
    config = tomllib.loads((run_dir / "config.toml").read_text())
    assert config["instruction"] == {"kind": "preset", "tokens": 1, "of": "function_class"}
    origin = json.loads((run_dir / "manifest.json").read_text())["imported"]
    sha256 = hashlib.sha256((tmp_path / "first.pt").read_bytes()).hexdigest()
    assert origin["instruction_files"][0] == {"file": "first.pt", "sha256": sha256}
    assert len(origin["instruction_files"]) == 2


def test_bare_weights_whose_training_options_tell(icl: Icl, tmp_path: Path) -> None:
    torch.save(foreign_weights(), tmp_path / "model_300000.pt")
    options = ("--heads", "4", "--points", "5", "--function-class", "sparse_linear/sparsity=2", "--inputs", "laplace")
    where = ("--results", tmp_path / "results", "--name", "sparse", "--seed", "7")
    code, out, err = icl("import", tmp_path / "model_300000.pt", *options, *where, *FEW)
    assert code == 0, err
    assert "note:" not in out
    frame = rows(tmp_path / "results/sparse/model_300000-seed7")
    assert set(frame.loc[frame["learner_kind"] == "model", "step"]) == {300_000}
    assert set(frame["function_class"]) == {"sparse_linear/sparsity=2"}
    assert set(frame["input_distribution"]) == {"laplace"}
    assert trained_ks(frame) == list(range(5))


def test_what_nobody_says_is_assumed_aloud(icl: Icl, tmp_path: Path) -> None:
    torch.save(foreign_weights(), tmp_path / "weights.pt")
    code, _, err = icl("import", tmp_path / "weights.pt", "--heads", "2", "--results", tmp_path / "results", *FEW)
    assert code == 0
    notes = [line for line in err.splitlines() if line.startswith("note: Nothing says")]
    assert [note.split("; ")[-1].rstrip(".") for note in notes] == [
        "--function-class says otherwise", "--points says otherwise", "--step says otherwise",
    ]  # fmt: skip
    run_dir = tmp_path / "results/weights/weights-seed0"
    assert trained_ks(rows(run_dir)) == list(range(11))
    manifest = json.loads((run_dir / "manifest.json").read_text())
    assert manifest["imported"]["notes"] == [note.removeprefix("note: ") for note in notes]


def test_python_writes_the_same_tables(imported: Path, theirs: Path, tmp_path: Path) -> None:
    written = icl_curriculum.import_checkpoint(theirs, results=tmp_path / "python", n_prompts=16)
    assert written == tmp_path / "python/linear_regression/imported-seed0"
    assert tables(written) == tables(imported)
    assert tables(written.parent) == tables(imported.parent)


def test_the_same_file_again_is_kept(icl: Icl, imported: Path, theirs: Path, results: Path) -> None:
    before = (imported / "manifest.json").read_bytes()
    code, _, err = icl("import", theirs, "--results", results, *FEW)
    assert code == 0
    assert "imported already, kept" in err
    assert (imported / "manifest.json").read_bytes() == before


def test_another_file_in_the_same_place_is_refused_unless_fresh(
    icl: Icl, imported: Path, theirs: Path, results: Path
) -> None:
    before = (imported / "model.safetensors").read_bytes()
    write_state(theirs, {**foreign_weights(), "_read_out.bias": torch.ones(1)}, GARG)
    code, _, err = icl("import", theirs, "--results", results, *FEW)
    assert code == 2
    assert f"{imported} holds a run imported from state.pt (SHA-256 " in err
    assert "give another --name, --variant or --seed to keep both, or --fresh to move it aside" in err
    assert (imported / "model.safetensors").read_bytes() == before
    assert icl("import", theirs, "--results", results, "--fresh", *FEW)[0] == 0
    assert (imported / "model.safetensors").read_bytes() != before
    assert (imported.parent / "aside/imported-seed0-1/model.safetensors").read_bytes() == before


@pytest.mark.parametrize("name", ["model.safetensors", "evaluation.csv", "manifest.json"])
def test_a_damaged_import_is_named(name: str, icl: Icl, imported: Path, theirs: Path, results: Path) -> None:
    path = imported / name
    path.write_bytes(path.read_bytes()[:-20])
    for command in (("import", theirs, "--results", results, *FEW), ("evaluate", imported)):
        code, _, err = icl(*command)
        assert code == 2
        assert f"{path} is damaged" in err


def test_checkpoints_of_one_training_stand_side_by_side(icl: Icl, theirs: Path, results: Path) -> None:
    for step in (100_000, 20_000):
        torch.save(foreign_weights(), theirs / f"model_{step}.pt")
        assert icl("import", theirs / f"model_{step}.pt", "--results", results, *FEW)[0] == 0
    assert icl("import", theirs, "--results", results, *FEW)[0] == 0
    frame = rows(results / "linear_regression")
    assert list(frame["variant"].dropna().unique()) == ["model_20000", "model_100000", "imported"]


def test_an_experiment_that_was_trained_here_is_left_alone(icl: Icl, copied: Finished, theirs: Path) -> None:
    before = tables(copied.path.parent)
    code, _, err = icl("import", theirs, "--results", copied.results, "--name", "tiny", *FEW)
    assert code == 2
    assert "tiny holds runs that were trained here (mixed-seed0)" in err
    assert tables(copied.path.parent) == before
    assert not (copied.path.parent / "imported-seed0").exists()


def test_an_import_that_was_interrupted_begins_anew(
    icl: Icl, theirs: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(importing, "evaluate", failing)
        code, _, err = icl("import", theirs, "--results", results, *FEW)
    assert (code, err.splitlines()[-1]) == (1, "failed: imported-seed0: memory ran out; lower --n-prompts")
    assert not (results / "linear_regression/imported-seed0/manifest.json").exists()
    assert icl("import", theirs, "--results", results, *FEW)[0] == 0


@pytest.mark.usefixtures("fresh_registries")
def test_a_class_of_a_plugin_says_what_it_was_trained_on(icl: Icl, tmp_path: Path, results: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from icl_curriculum import register_function_class\n"
        "from icl_curriculum.function_classes import Linear\n"
        "@register_function_class('mine')\n"
        "class Mine(Linear):\n"
        '    "f(x) = w·x."\n'
    )
    folder = write_state(tmp_path / "theirs", foreign_weights(), changed(GARG, task="seq_linear"))
    options = ("--function-class", "mine", "--plugin", tmp_path / "mine.py")
    code, _, err = icl("import", folder, "--results", results, *options, *FEW)
    assert code == 0, err
    run_dir = results / "theirs/imported-seed0"
    assert (run_dir / "plugins/mine.py").read_text() == (tmp_path / "mine.py").read_text()
    assert set(rows(run_dir)["function_class"]) == {"mine"}
    icl_curriculum.load_model(run_dir)


def test_no_configuration_is_needed_where_python_says_all(tmp_path: Path) -> None:
    torch.save(foreign_weights(), tmp_path / "model_5.pt")
    with pytest.raises(UserError, match="heads: expected a whole number of at least 1, found 0"):
        icl_curriculum.import_checkpoint(tmp_path / "model_5.pt", heads=0)
