"""Runs that failed in evaluation alone: what is mended keeps their training, where it is seen to train alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mended_runs import MendedExperiment, a_python_of_its_own
from places import SUPPORT
from tiny_runs import Icl

from icl_curriculum.core.errors import UserError
from icl_curriculum.results.manifests import finished_manifest
from icl_curriculum.runs.checkpoints import load_model

#: What training writes and evaluation must not touch.
TRAINED = ("training.csv", "learning.csv", "curriculum.csv", "exposure.csv", "state.pt")


@pytest.fixture
def experiment(tmp_path: Path) -> MendedExperiment:
    """A run that is trained, and whose shift fails."""
    made = MendedExperiment(tmp_path)
    made.write(DRAW="if n == 16: raise KeyError('not yet')")
    (failure,) = made.launch().failures
    assert "'mine'" in failure.message
    assert "its training is complete and kept" in failure.message
    return made


def is_kept(made: MendedExperiment, before: dict[str, bytes]) -> None:
    """The run is finished, and what was trained is what it was."""
    after = made.files()
    assert [name for name in TRAINED if after[name] != before[name]] == []
    # No interval of training came on top: what follows is the evaluation's.
    added = after["timing.csv"].removeprefix(before["timing.csv"]).decode().splitlines()
    assert [line.split(",")[5] for line in added] == ["evaluation"]
    assert made.manifest()["status"] == "finished"


def test_the_manifest_of_a_run_that_failed_in_evaluation_says_that_it_is_trained(experiment: MendedExperiment) -> None:
    manifest = experiment.manifest()
    assert manifest["status"] == "trained"
    assert "not yet" in manifest["error"]
    with pytest.raises(UserError, match="found a run that is trained but not evaluated"):
        finished_manifest(experiment.run_dir)


def test_a_mended_shift_keeps_the_training(experiment: MendedExperiment) -> None:
    before, old = experiment.files(), experiment.manifest()
    experiment.write()
    outcome = experiment.launch()
    assert (outcome.failures, outcome.kept) == ([], ["mixed-seed0"])
    is_kept(experiment, before)
    evaluation = pd.read_csv(experiment.run_dir / "evaluation.csv")
    assert {"none", "mine"} == set(evaluation["shift"])
    manifest = experiment.manifest()
    assert manifest["trained_with"] == {key: old[key] for key in ("config_hash", "plugins")}
    assert manifest["config_hash"] != old["config_hash"]
    assert manifest["plugins"] != old["plugins"]
    assert "error" not in manifest
    # Both plugins are there, and the new one is what a trained model is loaded with.
    assert (experiment.run_dir / "trained_with/plugins/mine.py").read_bytes() == before["plugins/mine.py"]
    assert (experiment.run_dir / "plugins/mine.py").read_bytes() == (experiment.folder / "mine.py").read_bytes()
    with a_python_of_its_own():
        load_model(experiment.run_dir)
    assert experiment.launch().skipped == ["mixed-seed0"]


def test_the_same_bytes_as_of_a_run_that_never_failed(experiment: MendedExperiment, tmp_path: Path) -> None:
    experiment.write()
    experiment.launch()
    whole = MendedExperiment(tmp_path / "whole") if (tmp_path / "whole").mkdir() is None else experiment
    whole.launch()
    for name in (*TRAINED[:4], "evaluation.csv", "prediction_differences.csv", "model.safetensors", "plugins/mine.py"):
        assert experiment.files()[name] == whole.files()[name], name


def test_a_model_that_fails_on_separate_queries_is_mended(tmp_path: Path) -> None:
    made = MendedExperiment(tmp_path, {"model": {"name": "scaled_mean"}, "evaluation.shifts": ["random_quadrants"]})
    made.write(FORWARD="assert queries is None or len(xs) != 16, 'no queries'")
    (failure,) = made.launch().failures
    assert "no queries" in failure.message
    before = made.files()
    made.write()
    assert made.launch().kept == ["mixed-seed0"]
    is_kept(made, before)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ys = 2 * ys", r"line \d+ of learning.csv is value = .*, and repeated it is .* \(step 0, "),
        ("ys = 2 * ys if torch.is_grad_enabled() else ys", r"line 2 of training.csv is loss = .*\(step 2, "),
        (
            "self.n = getattr(self, 'n', 0) + torch.is_grad_enabled(); "
            "ys = 2 * ys if torch.is_grad_enabled() and self.n > 1 else ys",
            r"line 2 of training.csv is loss = ",
        ),
        ("assert not torch.is_grad_enabled(), 'no training any more'", "no training any more"),
    ],
    ids=["from the beginning", "in training alone", "from the second update on", "not at all"],
)
def test_a_mended_model_that_trains_otherwise_is_refused(tmp_path: Path, line: str, message: str) -> None:
    made = MendedExperiment(tmp_path, {"model": {"name": "scaled_mean"}, "evaluation.shifts": ["random_quadrants"]})
    made.write(FORWARD="assert queries is None or len(xs) != 16, 'no queries'")
    made.launch()
    before = made.files()
    made.write(FORWARD=line)
    with pytest.raises(UserError, match=rf"its training cannot be kept .*{message}.*fresh=True"):
        made.launch()
    assert made.files() == before
    # Neither is anything lost: what trained it can still be mended otherwise.
    made.write()
    assert made.launch().kept == ["mixed-seed0"]


def test_a_curriculum_that_changes_after_the_first_updates_is_refused(tmp_path: Path) -> None:
    made = MendedExperiment(tmp_path, {"curriculum.function_classes": "even"})
    made.write(DRAW="if n == 16: raise KeyError('not yet')")
    made.launch()
    made.write(SHARES="if step >= 6: return [1.0] + [0.0] * (len(items) - 1)")
    message = r"at step 8 curriculum\.csv has planned_share = 0\.5 of linear with gaussian inputs, and now it is 1"
    with pytest.raises(UserError, match=message):
        made.launch()
    made.write()
    assert made.launch().kept == [f"{made.run_dir.name}"]


def test_weights_that_the_new_code_answers_with_otherwise_are_refused(tmp_path: Path) -> None:
    """It begins alike: only the trained weights tell."""
    made = MendedExperiment(tmp_path, {"model": {"name": "scaled_mean"}, "training.learning_every": 12})
    made.write(DRAW="if n == 16: raise KeyError('not yet')")
    made.launch()
    scale = "float(self.scale.detach())"
    made.write(
        FORWARD=f"self.first = getattr(self, 'first', {scale}); "
        f"ys = ys if torch.is_grad_enabled() or {scale} == self.first else 0 * ys"
    )
    with pytest.raises(UserError, match=r"line \d+ of learning.csv is value = .* \(step 12, "):
        made.launch()


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluation.baselines": ["zero"]},
        {"evaluation.shifts": []},
        {"evaluation.n_prompts": 8, "evaluation.confidence": 0.8, "evaluation.adapt": ["steps=1,rate=0.1"]},
    ],
    ids=["a baseline left out", "a shift left out", "prompts, confidence and adaptations"],
)
def test_what_decides_the_evaluation_alone_may_change(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = MendedExperiment(tmp_path, {"evaluation.baselines": ["zero", "last_label"]})
    made.write(PREDICT="raise KeyError('not yet')")
    baseline = "evaluation.baselines" in changes
    if not baseline:
        made.write(DRAW="if n == 16: raise KeyError('not yet')")
    (failure,) = made.launch().failures
    assert "not yet" in failure.message
    before = made.files()
    broken = (
        {"PREDICT": "raise KeyError('not yet')"}
        if baseline
        else {"DRAW": "if n == 16: raise KeyError('not yet')"}
        if "n_prompts" not in str(changes)
        else {}
    )
    made.write(changes=changes, **broken)
    assert made.launch().kept == ["mixed-seed0"]
    is_kept(made, before)
    assert "trained_with" in made.manifest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("training.optimizer.learning_rate", 1e-2),
        ("evaluation.bank_seed", 1),
        ("dims", 3),
    ],
)
def test_what_decides_the_training_may_not(experiment: MendedExperiment, key: str, value: float) -> None:
    before = experiment.files()
    experiment.write(changes={key: value})
    with pytest.raises(UserError, match=rf"another config; changed: .*{key}.*Its training is complete.*fresh=True"):
        experiment.launch()
    assert experiment.files() == before
    (aside,) = [experiment.launch(fresh=True)]
    assert (aside.finished, aside.kept) == (["mixed-seed0"], [])


def test_a_fault_that_passes_by_itself_needs_no_mending(experiment: MendedExperiment) -> None:
    """The same plugin again, which fails while a file is there."""
    before = experiment.files()
    (failure,) = experiment.launch().failures
    assert "not yet" in failure.message
    flag = experiment.folder / "flag"
    experiment.write(DRAW=f"assert n != 16 or not __import__('os').path.exists({str(flag)!r})")
    flag.touch()
    assert experiment.launch().failures
    flag.unlink()
    outcome = experiment.launch()
    assert (outcome.failures, outcome.kept) == ([], [])
    is_kept(experiment, before)


def test_mended_twice_it_still_says_what_trained_it(experiment: MendedExperiment) -> None:
    before, first = experiment.files(), experiment.manifest()["config_hash"]
    experiment.write(DRAW="if n == 16: raise KeyError('still not')")
    (failure,) = experiment.launch().failures
    assert "still not" in failure.message
    experiment.write()
    experiment.launch()
    is_kept(experiment, before)
    assert experiment.manifest()["trained_with"]["config_hash"] == first
    assert (experiment.run_dir / "trained_with/plugins/mine.py").read_bytes() == before["plugins/mine.py"]


def test_on_the_command_line_with_a_worker(
    icl: Icl, experiment: MendedExperiment, quick_python: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    monkeypatch.setattr(sys, "executable", str(quick_python))
    command = (
        "run",
        experiment.folder / "tiny.toml",
        "--results",
        experiment.results,
        "--device",
        "cpu",
        "--jobs",
        "1",
    )
    before = experiment.files()
    experiment.write(changes={"training.clip": 2.0})
    with a_python_of_its_own():
        code, _, err = icl(*command)
    assert code == 2
    assert "changed: training.clip" in err
    experiment.write()
    monkeypatch.setattr("icl_curriculum.cli.display.show_results", lambda *_: None)
    with a_python_of_its_own():
        code, _, err = icl(*command)
    assert code == 0, err
    assert "the training was kept: mixed-seed0" in err
    is_kept(experiment, before)


def test_a_process_killed_while_it_keeps_a_training_leaves_it_whole(tmp_path: Path, quick_python: Path) -> None:
    """At every operation on files; then the same command, or the one before, finishes it to the bytes it is to have."""
    command = [str(quick_python), "-m", "killing_mended", str(tmp_path)]
    done = subprocess.run(command, cwd=SUPPORT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    attempts = json.loads(done.stdout)
    operations = [attempt["operation"] for attempt in attempts]
    assert {"write_bytes manifest.json", "replace manifest.json", "replace evaluation.csv"} <= {*operations}
    # Once as what trained, once as what evaluates, and each time finished under both configs.
    assert operations.count("replace config.toml") >= 4
    assert [attempt for attempt in attempts if attempt["found"] != attempt["expected"]] == []
