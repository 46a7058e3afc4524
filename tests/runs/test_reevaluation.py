"""A finished run of which another evaluation is asked: the weights stay, the tables become those of a fresh run."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from finished_runs import FINISHED, Finished, executed
from mended_runs import MendedExperiment, a_python_of_its_own
from places import SUPPORT
from resealed import reseal
from tiny_runs import Killed, killed_at, tables, tiny_run

from icl_curriculum.config.loading import load, read_toml
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.notices import MadeAnew
from icl_curriculum.results.collecting import refresh
from icl_curriculum.results.manifests import DamagedFile, check_intact, read_manifest
from icl_curriculum.runs.changes import changes_of
from icl_curriculum.runs.checkpoints import load_model
from icl_curriculum.runs.execution import directory_of, execute, is_finished
from icl_curriculum.runs.launch import launch
from icl_curriculum.runs.standing import standing_of

#: What training writes and no evaluation may touch.
TRAINED = ("training.csv", "learning.csv", "curriculum.csv", "exposure.csv", "model.safetensors", "state.pt")


def trained_files(run_dir: Path) -> dict[str, bytes]:
    return {name: (run_dir / name).read_bytes() for name in TRAINED}


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation.confidence": 0.5},
        {"evaluation.n_prompts": 20, "evaluation.shifts": ["skewed", "longer_prompts"], "model.max_points": 10},
        {"evaluation.baselines": ["zero"], "evaluation.adapt": ["steps=1,rate=0.1"]},
    ],
    ids=["confidence", "prompts and shifts", "baselines and adaptations"],
)
def test_the_bytes_are_those_of_a_fresh_run(changes: dict[str, Any], tmp_path: Path) -> None:
    first = executed(tmp_path, {key: value for key, value in changes.items() if key.startswith("model.")})
    before = trained_files(first.path)
    new = tiny_run(changes)
    execute(new, tmp_path)
    fresh = executed(tmp_path / "fresh", changes)
    assert trained_files(first.path) == before
    assert tables(first.path) == tables(fresh.path)
    assert (first.path / "config.toml").read_bytes() == (fresh.path / "config.toml").read_bytes()
    assert is_finished(new, tmp_path)
    check_intact(first.path, first.manifest())


def test_the_manifest_says_what_trained_and_what_evaluated(copied: Finished) -> None:
    old, config = copied.manifest(), (copied.path / "config.toml").read_bytes()
    new = tiny_run({**FINISHED, "evaluation.confidence": 0.5})
    execute(new, copied.results)
    manifest = copied.manifest()
    for key in ("started", "wall_seconds", "device", "git_commit", "package_version", "training_hash", "weights"):
        assert manifest[key] == old[key], key
    assert manifest["config_hash"] == new.hash() != old["config_hash"]
    assert manifest["evaluation_hash"] == new.evaluation_hash() != old["evaluation_hash"]
    assert manifest["trained_with"] == {"config_hash": old["config_hash"], "plugins": []}
    assert (copied.path / "trained_with/config.toml").read_bytes() == config
    assert {"package_version", "git_commit", "device", "started", "wall_seconds"} <= {*manifest["evaluated_with"]}
    assert manifest["banks"] == old["banks"]
    assert manifest["tables"]["evaluation"] != old["tables"]["evaluation"]
    # One evaluation made the table, and one row of timing.csv says how long that took.
    assert copied.table("timing")["phase"].tolist().count("evaluation") == 1
    assert not (copied.path / "renewed").exists()


def test_there_and_back_again_it_is_what_it_was(copied: Finished) -> None:
    before, old = tables(copied.path), copied.manifest()
    execute(tiny_run({**FINISHED, "evaluation.n_prompts": 20}), copied.results)
    execute(tiny_run({**FINISHED, "evaluation.n_prompts": 24}), copied.results)
    assert copied.manifest()["trained_with"]["config_hash"] == old["config_hash"], "the config that trained it"
    execute(copied.run, copied.results)
    assert tables(copied.path) == before
    assert "trained_with" not in copied.manifest()
    assert not (copied.path / "trained_with").exists()


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"evaluation.bank_seed": 1}, "evaluation.bank_seed"), ({"evaluation.metrics": ["absolute_error"]}, "metrics")],
)
def test_what_was_measured_while_it_learned_stays(copied: Finished, changes: dict[str, Any], key: str) -> None:
    """Another bank, or another metric: learning.csv is of the old one, as trained_with/config.toml says."""
    before = trained_files(copied.path)
    new = tiny_run({**FINISHED, **changes})
    assert key in str(standing_of(new, directory_of(new, copied.results)).changes.both)
    execute(new, copied.results)
    fresh = executed(copied.results / "fresh", {**FINISHED, **changes})
    assert (copied.path / "evaluation.csv").read_bytes() == (fresh.path / "evaluation.csv").read_bytes()
    assert trained_files(copied.path) == before
    assert read_toml(copied.path / "trained_with/config.toml")["evaluation"]["bank_seed"] == 0


def test_the_checkpoint_is_not_needed(copied: Finished) -> None:
    (copied.path / "state.pt").unlink()
    execute(tiny_run({**FINISHED, "evaluation.confidence": 0.5}), copied.results)
    assert copied.manifest()["status"] == "finished"
    load_model(copied.path)


@pytest.mark.parametrize("damage", ["missing", "changed", "table"])
def test_without_whole_files_nothing_is_lost(copied: Finished, damage: str) -> None:
    """As in results/example_mixed, which is committed without its weights."""
    name = "learning.csv" if damage == "table" else "model.safetensors"
    if damage == "missing":
        (copied.path / name).unlink()
    else:
        (copied.path / name).write_bytes((copied.path / name).read_bytes() + b"\n")
    before = {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()}
    new = tiny_run({**FINISHED, "evaluation.confidence": 0.5})
    (failure,) = launch([new], copied.results, jobs=0, report=lambda progress: None).failures
    assert name in failure.message
    assert "restore it, give the command without the changes of [evaluation]" in failure.message
    assert "train anew with fresh=True" in failure.message
    assert {path.name: path.read_bytes() for path in copied.path.iterdir() if path.is_file()} == before


def test_launch_says_which_runs_were_evaluated_anew(copied: Finished) -> None:
    changed = {**FINISHED, "evaluation.confidence": 0.5, "evaluation.baselines": ["zero"]}
    outcome = launch([tiny_run(changed)], copied.results, jobs=0, report=lambda progress: None)
    assert outcome.reevaluated == {"mixed-seed0": ("evaluation.baselines", "evaluation.confidence")}
    assert set(pd.read_csv(copied.results / "tiny/evaluation.csv")["learner"]) >= {"model", "zero"}
    assert launch([tiny_run(changed)], copied.results, jobs=0, report=lambda progress: None).skipped == ["mixed-seed0"]


def test_a_seed_that_is_evaluated_anew_alone_is_missed_in_the_tables(copied: Finished) -> None:
    """As where the command was interrupted after the first seed."""
    experiment = copied.results / "tiny"
    runs = [tiny_run(FINISHED, seed=seed) for seed in (0, 1)]
    launch(runs, copied.results, jobs=0, report=lambda progress: None)
    execute(tiny_run({**FINISHED, "evaluation.confidence": 0.5}), copied.results)
    with pytest.warns(MadeAnew, match="mixed-seed0, of the runs that stood in the tables, has another config now"):
        refresh(experiment)
    assert set(pd.read_csv(experiment / "runs.csv")["run"]) == {"mixed-seed1"}


def test_fresh_trains_anew_where_only_the_evaluation_changed(copied: Finished) -> None:
    changed = tiny_run({**FINISHED, "evaluation.confidence": 0.5})
    outcome = launch([changed], copied.results, jobs=0, fresh=True, report=lambda progress: None)
    assert (outcome.finished, outcome.reevaluated) == (["mixed-seed0"], {})
    assert (copied.results / "tiny/aside/mixed-seed0-1/model.safetensors").is_file()
    assert "evaluated_with" not in copied.manifest()


def test_a_run_of_a_version_without_these_hashes_is_judged_by_its_config(copied: Finished) -> None:
    reseal(copied.path / "manifest.json", {"training_hash": None, "evaluation_hash": None})
    assert is_finished(copied.run, copied.results)
    with pytest.raises(UserError, match=r"changed: training\.clip\."):
        is_finished(tiny_run({**FINISHED, "training.clip": 2.0}), copied.results)
    new = tiny_run({**FINISHED, "evaluation.confidence": 0.5})
    execute(new, copied.results)
    assert copied.manifest()["training_hash"] == new.training_hash()


def test_an_unfinished_run_goes_on_under_another_evaluation(half: Finished, tmp_path: Path) -> None:
    changes = {"evaluation.confidence": 0.5, "evaluation.shifts": ["skewed"]}
    first: list[int] = []
    execute(tiny_run(changes), half.results, report=lambda told: first.append(told.done))
    assert first[0] > 5, "from the checkpoint"
    whole = executed(tmp_path / "whole", changes)
    assert tables(half.path) == tables(whole.path)
    assert (half.path / "config.toml").read_bytes() == (whole.path / "config.toml").read_bytes()
    assert half.manifest()["config_hash"] == whole.run.hash()


def test_an_unfinished_run_that_is_killed_again_after_its_evaluation_changed(half: Finished, tmp_path: Path) -> None:
    """Its checkpoint is still that of the first config."""
    other, third = tiny_run({"evaluation.confidence": 0.5}), tiny_run({"evaluation.confidence": 0.7})
    with pytest.raises(Killed):
        execute(other, half.results, report=killed_at("training", 6))
    execute(third, half.results)
    assert tables(half.path) == tables(executed(tmp_path / "whole", {"evaluation.confidence": 0.7}).path)


@pytest.mark.parametrize("changes", [{"evaluation.bank_seed": 1}, {"evaluation.metrics": ["absolute_error"]}], ids=str)
def test_an_unfinished_run_keeps_the_banks_it_learns_by(half: Finished, changes: dict[str, Any]) -> None:
    before = tables(half.path)
    with pytest.raises(UserError, match=r"changed: evaluation\..*hold both: finish it with .*fresh=True"):
        execute(tiny_run(changes), half.results)
    assert tables(half.path) == before


def test_a_changed_plugin_of_the_evaluation_alone_asks_anew(tmp_path: Path) -> None:
    """The shift of the plugin has changed, and what trains is built in."""
    made = MendedExperiment(tmp_path)
    made.launch()
    weights, table = made.files()["model.safetensors"], made.files()["evaluation.csv"]
    made.write(DRAW="points = points")
    outcome = made.launch()
    assert outcome.reevaluated == {"mixed-seed0": ("plugin contents",)}
    assert made.files()["model.safetensors"] == weights
    assert made.files()["evaluation.csv"] == table
    assert b"points = points" in made.files()["plugins/mine.py"]
    assert b"points = points" not in made.files()["trained_with/plugins/mine.py"]
    assert made.launch().skipped == ["mixed-seed0"]


def test_a_changed_plugin_that_measures_while_it_learns_is_told_apart(tmp_path: Path) -> None:
    """Of an unfinished run, learning.csv would hold rows of both."""
    made = MendedExperiment(tmp_path, {"evaluation.learning_shifts": ["mine"]})
    made.launch()
    made.write(DRAW="points = points")
    with a_python_of_its_own():
        (run,) = load(str(made.folder / "tiny.toml"))
        changes = changes_of(run, made.run_dir, made.manifest())
    assert (changes.training, changes.evaluation, changes.both) == ((), ("plugin contents",), ("plugin contents",))


def test_a_changed_plugin_that_trains_needs_fresh(tmp_path: Path) -> None:
    made = MendedExperiment(tmp_path, {"model": {"name": "scaled_mean"}})
    made.launch()
    made.write(DRAW="points = points")
    with pytest.raises(UserError, match=r"another config; changed: plugin contents\. Use fresh=True"):
        made.launch()


def test_a_shift_that_fails_leaves_the_old_tables(tmp_path: Path) -> None:
    made = MendedExperiment(tmp_path)
    made.launch()
    before = made.files()
    made.write(DRAW="if n == 16: raise KeyError('not yet')")
    (failure,) = made.launch().failures
    assert "not yet" in failure.message
    assert "the run is what it was" in failure.message
    assert {name: content for name, content in made.files().items() if not name.startswith("renewed/")} == before
    made.write()
    assert made.launch().skipped == ["mixed-seed0"]


def test_a_process_killed_while_it_evaluates_anew_leaves_one_evaluation_whole(
    tmp_path: Path, quick_python: Path
) -> None:
    """At every operation on files; the same command then finishes it, and so does the one before."""
    command = [str(quick_python), "-m", "killing_renewed", str(tmp_path)]
    done = subprocess.run(command, cwd=SUPPORT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    attempts = json.loads(done.stdout)
    operations = [attempt["operation"] for attempt in attempts]
    assert {"write_bytes evaluation.csv", "write_bytes manifest.json", "replace manifest.json"} <= {*operations}
    assert {attempt["left"] for attempt in attempts} == {"the old run", "half renewed"}
    assert [attempt for attempt in attempts if attempt["found"] != attempt["expected"]] == []


def test_what_is_half_in_place_is_refused_by_readers_and_finished_by_run(copied: Finished) -> None:
    new = tiny_run({**FINISHED, "evaluation.confidence": 0.5})
    other = copied.results.parent / "other"
    shutil.copytree(copied.results, other)
    execute(new, other)
    stage = copied.path / "renewed"
    stage.mkdir()
    shutil.copytree(other / "tiny/mixed-seed0/trained_with", stage / "trained_with")
    for name in ("config.toml", "evaluation.csv", "prediction_differences.csv", "timing.csv", "manifest.json"):
        shutil.copy(other / "tiny/mixed-seed0" / name, stage / name)
    (stage / "evaluation.csv").replace(copied.path / "evaluation.csv")
    with pytest.raises(DamagedFile, match=r"only half in place; give the same icl run again"):
        check_intact(copied.path, read_manifest(copied.path) or {})
    assert launch([new], copied.results, jobs=0, report=lambda progress: None).skipped == ["mixed-seed0"]
    assert tables(copied.path) == tables(other / "tiny/mixed-seed0")
    assert not stage.exists()
