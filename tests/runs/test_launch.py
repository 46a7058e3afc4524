"""Launching: worker processes, failures beside successes, devices, and the same bytes however runs were executed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from places import EVERY_KIND
from tiny_runs import TINY, nested, tables, tiny_run, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.launchers.unit_process import UnitProcess, ending_in_words
from icl_curriculum.runs.banks import evaluation_banks
from icl_curriculum.runs.execution import Progress, directory_of, execute
from icl_curriculum.runs.launch import LaunchOutcome, RunFailure, launch
from icl_curriculum.runs.pool import WorkerPool

DIVERGES = nested({"training.optimizer": {"name": "adam", "learning_rate": 1e6}, "training.clip": float("inf")})

#: A function class that ends the process which draws from it, in a file that prints what might pass for a report.
PLUGIN = """
import os
import sys

from icl_curriculum.function_classes import register_function_class
from icl_curriculum.function_classes.linear import Linear

print(42)
print('{"failure": null}')
print('{"progress": 3}')


@register_function_class("ends_the_process")
class EndsTheProcess(Linear):
    '''Not even an exception.'''

    def sample(self, n, dims, generator):
        print("last words", file=sys.stderr, flush=True)
        os._exit(9)
"""


@dataclass
class Watcher:
    """What a launch said, in order."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def started(self, run: str) -> None:
        self.events.append(("started", run, ""))

    def ended(self, run: str, failure: RunFailure | None) -> None:
        self.events.append(("ended", run, "failed" if failure else "done"))

    def launch(self, runs: list[Run], results: Path, **options: Any) -> LaunchOutcome:
        return launch(runs, results, report=self.progress.append, started=self.started, ended=self.ended, **options)


@dataclass
class Launched:
    """What a launch was given, did and said."""

    runs: list[Run]
    outcome: LaunchOutcome
    watcher: Watcher


GOOD = ["good-seed0", "good-seed1"]


@pytest.fixture(autouse=True, scope="module")
def _quick_workers(quick_python: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(quick_python))
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Two good runs, and one that ends its process."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "my_plugin.py").write_text(PLUGIN)
    variants = {"good": {}, "crash": {"function_classes": ["ends_the_process"]}}
    values = {**TINY, "seeds": [0, 1], "variants": variants, "plugins": ["my_plugin.py"]}
    file = write_toml(folder / "my.toml", values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FUNCTION_CLASSES, "_classes", dict(FUNCTION_CLASSES._classes))
        return {run.name: run for run in load(str(file))}


@pytest.fixture(scope="module")
def two_at_a_time(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """Both good runs."""
    chosen, watcher = [runs[name] for name in GOOD], Watcher()
    outcome = watcher.launch(chosen, tmp_path_factory.mktemp("two_at_a_time"), jobs=2)
    return Launched(chosen, outcome, watcher)


@pytest.fixture(scope="module")
def one_at_a_time(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Launched:
    """A run that this process has finished, one that crashes, and one in whose place lies one of another config."""
    results, watcher = tmp_path_factory.mktemp("one_at_a_time"), Watcher()
    chosen = [runs[name] for name in ("good-seed0", "crash-seed0", "good-seed1")]
    execute(chosen[0], results)
    execute(Run(tiny_run({"training.steps": 6}).experiment, "good", 1), results)
    outcome = watcher.launch(chosen, results, jobs=1, fresh=True)
    return Launched(chosen, outcome, watcher)


def test_both_runs_are_executed(two_at_a_time: Launched) -> None:
    outcome = two_at_a_time.outcome
    assert (outcome.finished, outcome.skipped, outcome.failures, outcome.left_out) == (GOOD, [], [], [])
    for name in GOOD:
        manifest = json.loads((outcome.directory / name / "manifest.json").read_text())
        assert manifest["status"] == "finished"


def test_a_worker_that_ends_without_a_word_is_reported_and_stops_no_other(one_at_a_time: Launched) -> None:
    (failure,) = one_at_a_time.outcome.failures
    assert failure.run == "crash-seed0"
    assert failure.message == "crash-seed0: the worker process ended with code 9"
    assert "last words" in failure.details
    assert one_at_a_time.outcome.finished == ["good-seed1"]


def test_no_more_runs_at_a_time_than_asked(two_at_a_time: Launched, one_at_a_time: Launched) -> None:
    events = two_at_a_time.watcher.events
    assert events[:2] == [("started", name, "") for name in GOOD]
    assert sorted(events[2:]) == [("ended", name, "done") for name in GOOD]
    assert one_at_a_time.watcher.events == [
        ("started", "crash-seed0", ""),
        ("ended", "crash-seed0", "failed"),
        ("started", "good-seed1", ""),
        ("ended", "good-seed1", "done"),
    ]


def test_progress_of_every_run_arrives(two_at_a_time: Launched) -> None:
    for name in GOOD:
        found = [(p.phase, p.done, p.total) for p in two_at_a_time.watcher.progress if p.run == name]
        assert found == [
            *[("training", done, 12) for done in (2, 4, 6, 8, 10, 12)],
            *[("evaluation", done, 4) for done in (1, 2, 3, 4)],
        ]


@pytest.mark.parametrize("folder", ["", *GOOD])
def test_one_at_a_time_two_at_a_time_and_in_this_process_give_the_same_bytes(
    two_at_a_time: Launched, one_at_a_time: Launched, folder: str
) -> None:
    expected = tables(two_at_a_time.outcome.directory / folder)
    assert tables(one_at_a_time.outcome.directory / folder) == expected
    assert len(expected) == (7 if folder == "" else 6)


def test_fresh_moves_aside_and_repeats_only_what_changed(one_at_a_time: Launched) -> None:
    outcome = one_at_a_time.outcome
    assert (outcome.skipped, outcome.finished) == (["good-seed0"], ["good-seed1"])
    assert [path.name for path in (outcome.directory / "aside").iterdir()] == ["good-seed1-1"]


def test_finished_runs_are_skipped_without_a_worker(two_at_a_time: Launched) -> None:
    watcher, directory = Watcher(), two_at_a_time.outcome.directory
    before = tables(directory)
    again = watcher.launch(two_at_a_time.runs, directory.parent)
    assert (again.skipped, again.finished, watcher.events) == (GOOD, [], [])
    assert tables(directory) == before


@pytest.fixture
def half_changed(tmp_path: Path) -> list[Run]:
    """Two runs, the first of which is finished; the second's place is taken by one of another config."""
    both = [tiny_run(seed=seed) for seed in (0, 1)]
    execute(both[0], tmp_path)
    execute(tiny_run({"training.steps": 6}, seed=1), tmp_path)
    return both


def test_every_directory_is_checked_before_any_run_starts(half_changed: list[Run], tmp_path: Path) -> None:
    watcher = Watcher()
    with pytest.raises(UserError, match=r"mixed-seed1 holds a run of another config; changed: training\.steps\."):
        watcher.launch([tiny_run(seed=2), *half_changed], tmp_path)
    assert watcher.events == []
    assert not (tmp_path / "tiny" / "mixed-seed2").exists()


def test_finished_runs_of_other_configs_are_left_out_and_named(half_changed: list[Run], tmp_path: Path) -> None:
    outcome = Watcher().launch(half_changed[:1], tmp_path)
    assert outcome.left_out == ["mixed-seed1"]
    assert (outcome.directory / "runs.csv").read_text().count("\n") == 2


def test_a_worker_that_dies_in_the_middle_of_a_line_is_a_failure(tmp_path: Path) -> None:
    pool = WorkerPool(tmp_path, "cpu", lambda progress: None, lambda run: None, lambda run, failure: None)
    code = "import os; os.write(1, b'[1, 2'); os._exit(3)"
    pool._listen(UnitProcess([sys.executable, "-c", code], tmp_path, name="a-seed0"))
    name, message = pool.messages.get_nowait()
    assert name == "a-seed0"
    assert message["ended"].message.startswith("a-seed0: the worker process ended with code 3")


@pytest.mark.parametrize(("code", "text"), [(-9, "SIGKILL, as the system"), (-15, "SIGTERM"), (-40, "signal 40")])
def test_a_worker_that_was_ended_by_a_signal_says_which(code: int, text: str) -> None:
    assert f"was ended by {text}" in ending_in_words(code)


def test_a_finished_run_that_is_damaged_is_named_and_keeps_no_other_from_running(tmp_path: Path) -> None:
    first, second = tiny_run(), tiny_run(seed=1)
    execute(first, tmp_path)
    with (directory_of(first, tmp_path).path / "training.csv").open("a") as table:
        table.write("more\n")
    outcome = Watcher().launch([first, second], tmp_path)
    (failure,) = outcome.failures
    assert re.search(r"mixed-seed0: .*training\.csv is damaged: it is not what the run wrote", failure.message)
    assert outcome.finished == ["mixed-seed1"]
    assert set(pd.read_csv(outcome.directory / "runs.csv")["run"]) == {"mixed-seed1"}


def test_tables_that_cannot_be_collected_do_not_hide_what_failed(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path, hashes: dict[str, str]) -> list[str]:
        raise OSError(28, "No space left on device")

    execute(runs["good-seed0"], tmp_path)
    monkeypatch.setattr("icl_curriculum.runs.launch.collect", refuse)
    outcome = Watcher().launch([runs["good-seed0"], runs["crash-seed0"]], tmp_path)
    assert [failure.run for failure in outcome.failures] == ["crash-seed0", "tables"]
    assert "the tables were not collected: [Errno 28] No space left" in outcome.failures[1].message


@pytest.mark.usefixtures("fresh_registries")
def test_a_plugin_edited_while_a_command_runs_changes_none_of_its_runs(tmp_path: Path) -> None:
    source = EVERY_KIND.read_text()
    for name in ("halved", "wide", "as_gaussian", "backwards", "last_label", "scaled_mean", "twice"):
        source = source.replace(f'"{name}"', f'"edited_{name}"')
    plugin = tmp_path / "mine.py"
    plugin.write_text(source)
    values = {**TINY, "seeds": [0, 1], "function_classes": ["edited_halved"], "plugins": ["mine.py"]}
    chosen = load(str(write_toml(tmp_path / "my.toml", values)))

    def edit(run: str) -> None:
        plugin.write_text(source.replace("/ 2", "/ 4"))

    outcome = launch(chosen, tmp_path, jobs=1, report=lambda progress: None, started=edit)
    assert (outcome.finished, outcome.left_out, outcome.failures) == (["mixed-seed0", "mixed-seed1"], [], [])
    for run in chosen:
        assert (directory_of(run, tmp_path).path / "plugins/mine.py").read_text() == source
    # The edited file makes other runs, in the same Python.
    assert load(str(tmp_path / "my.toml"))[0].hash() != chosen[0].hash()


def test_an_interruption_ends_the_workers_and_keeps_their_checkpoints(tmp_path: Path) -> None:
    run = tiny_run({"training.steps": 5000, "training.checkpoint_every": 2})

    def interrupt(progress: Progress) -> None:
        if progress.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch([run], tmp_path, report=interrupt)
    directory = directory_of(run, tmp_path)
    with directory.locked():
        state = torch.load(directory.path / "state.pt", weights_only=True)
    assert 18 <= state["trainer"]["step"] < 5000


# The library


@pytest.mark.usefixtures("undrawn")
def test_running_an_experiment_from_python(tmp_path: Path) -> None:
    file = write_toml(tmp_path / "mine.toml", {**TINY, "name": "mine"})
    progress: list[Progress] = []
    results = icl_curriculum.run(
        file, overrides=["training.steps=3"], seeds=[4, 2], results=tmp_path, device="cpu", report=progress.append
    )
    assert results.path == tmp_path / "mine"
    lines = (results / "runs.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines[1:]] == ["mixed-seed2", "mixed-seed4"]
    assert {p.total for p in progress if p.phase == "training"} == {3}
    again: list[Progress] = []
    icl_curriculum.run(
        file, overrides=["training.steps=3"], seeds=[4, 2], results=tmp_path, device="cpu", report=again.append
    )
    assert again == []


def test_running_a_diverging_experiment_from_python_raises(tmp_path: Path) -> None:
    file = write_toml(tmp_path / "mine.toml", tiny_values(DIVERGES))
    with pytest.raises(RunFailed, match="diverged"):
        icl_curriculum.run(file, results=tmp_path, device="cpu")


HALVED = """
from icl_curriculum import register_function_class
from icl_curriculum.function_classes.linear import Linear


@register_function_class("halved_linear")
class HalvedLinear(Linear):
    '''Half a linear function.'''

    def evaluate(self, parameters, xs):
        return super().evaluate(parameters, xs) / 2
"""


@pytest.fixture
def with_plugin(tmp_path: Path, fresh_registries: None, undrawn: None) -> Path:
    """The results of two seeds of an experiment whose function class comes from a plugin."""
    plugin = tmp_path / "halved.py"
    plugin.write_text(HALVED)
    file = write_toml(tmp_path / "mine.toml", tiny_values({"function_classes": ["halved_linear"], "seeds": [0, 1]}))
    return icl_curriculum.run(file, results=tmp_path, device="cpu", plugins=[plugin]).path


def test_models_of_a_plugin_run_load_in_the_process_that_trained_them(with_plugin: Path) -> None:
    run = tiny_run()
    prompts = next(evaluation_banks(run.experiment)).draw()
    predictions = [icl_curriculum.load_model(with_plugin / f"mixed-seed{seed}").predict(prompts) for seed in (0, 1)]
    assert not torch.equal(*predictions)


def test_models_of_a_plugin_run_load_elsewhere_without_the_original_file(with_plugin: Path) -> None:
    (with_plugin.parent / "halved.py").rename(with_plugin.parent / "gone.txt")
    script = f"""
        from icl_curriculum import load_model
        models = [load_model({str(with_plugin)!r} + f"/mixed-seed{{seed}}") for seed in (0, 1)]
        print(len(models), "models")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 models\n", done.stderr


def test_a_plugin_that_ends_the_process_as_if_all_were_well_is_a_failure(tmp_path: Path) -> None:
    pool = WorkerPool(tmp_path, "cpu", lambda progress: None, lambda run: None, lambda run, failure: None)
    pool._listen(UnitProcess([sys.executable, "-c", ""], tmp_path, name="a-seed0"))
    _, message = pool.messages.get_nowait()
    assert message["ended"].message.startswith("a-seed0: the worker process ended with code 0")
