"""Live logging: the values of the tables, in TensorBoard and Weights & Biases, and nothing changed by it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from live_doubles import WANDB, Notes, Stub, in_single_precision, of_events, of_tables
from places import ROOT
from tiny_runs import TINY, Icl, Killed, killed_at, tables, tiny_run, write_toml

import icl_curriculum
from icl_curriculum.core.errors import UserError
from icl_curriculum.results.columns import format_value
from icl_curriculum.runs import live_logging
from icl_curriculum.runs.execution import Progress, directory_of, execute
from icl_curriculum.runs.launch import launch
from icl_curriculum.runs.live_logging import BACKENDS, Backend, chosen

Register = Callable[..., Notes]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Register:
    """Make notes known as a backend."""

    def add(name: str, **how: Any) -> Notes:
        notes = Notes(**how)
        monkeypatch.setitem(BACKENDS, name, Backend(notes.open))
        return notes

    return add


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run without logging."""
    results = tmp_path_factory.mktemp("plain")
    execute(tiny_run(), results)
    return directory_of(tiny_run(), results).path


def assert_same_results(directory: Path, plain: Path) -> None:
    assert tables(directory) == tables(plain)
    assert (directory / "model.safetensors").read_bytes() == (plain / "model.safetensors").read_bytes()


# What is logged


def test_the_values_are_those_of_the_tables_and_the_tables_are_as_without(
    register: Register, tmp_path: Path, plain: Path
) -> None:
    notes, run = register("notes"), tiny_run()
    execute(run, tmp_path, log=("notes",))
    directory = directory_of(run, tmp_path).path
    assert_same_results(directory, plain)
    assert notes.events[0] == ("open", "mixed-seed0", directory, 0)
    assert [event[1] for event in notes.events if event[0] == "scalars"] == [0, 2, 4, 4, 6, 8, 8, 10, 12, 12]
    assert notes.methods[-1] == "close"
    assert notes.methods.count("close") == 1
    logged = {
        (event[1], tag): format_value(value)
        for event in notes.events
        if event[0] == "scalars"
        for tag, value in event[2].items()
    }
    assert logged == of_tables(plain)
    assert (12, "training/normalized_loss/linear/gaussian") in logged
    assert (0, "learning/normalized_error/quadratic/gaussian") in logged


def test_a_finished_run_logs_nothing(register: Register, tmp_path: Path) -> None:
    notes, run = register("notes"), tiny_run()
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("evaluation", 1))
    execute(run, tmp_path, log=("notes",))
    execute(run, tmp_path, log=("notes",))
    assert notes.events == []


def test_a_resumed_run_says_from_which_step_on_it_logs_anew(register: Register, tmp_path: Path) -> None:
    notes, run = register("notes"), tiny_run()
    # Before the first checkpoint, which is at 5, and after it.
    for done in (4, 8):
        with pytest.raises(Killed):
            execute(run, tmp_path, report=killed_at("training", done), log=("notes",))
    execute(run, tmp_path, log=("notes",))
    assert notes.opened_at == [0, 0, 6]
    assert notes.methods.count("close") == 3


@pytest.mark.usefixtures("undrawn")
def test_a_run_from_python(register: Register, tmp_path: Path) -> None:
    notes = register("notes")
    file = write_toml(tmp_path / "mine.toml", {**TINY, "name": "mine", "seeds": [0, 1]})
    icl_curriculum.run(file, results=tmp_path, device="cpu", log=("notes",))
    assert [event[1] for event in notes.events if event[0] == "open"] == ["mixed-seed0", "mixed-seed1"]


# What breaks


@pytest.mark.parametrize("method", ["open", "scalars", "close"])
def test_a_logger_that_breaks_is_named_once_and_stops_neither_the_run_nor_another(
    register: Register, tmp_path: Path, plain: Path, method: str
) -> None:
    broken, other = register("broken", breaks=method), register("other")
    progress: list[Progress] = []
    execute(tiny_run(), tmp_path, report=progress.append, log=("broken", "other"))
    text = f"mixed-seed0: logging to broken stopped, the run goes on: ValueError: no {method}"
    assert [item.warning for item in progress if item.warning] == [text]
    assert broken.methods.count(method) <= 2
    assert other.methods == ["open", *["scalars"] * 10, "close"]
    assert_same_results(directory_of(tiny_run(), tmp_path).path, plain)


def test_without_anybody_to_report_to_it_is_a_warning_of_python(register: Register, tmp_path: Path) -> None:
    register("broken", breaks="scalars")
    with pytest.warns(RuntimeWarning, match="logging to broken stopped, the run goes on: ValueError: no scalars"):
        execute(tiny_run(), tmp_path, log=("broken",))


def test_an_unknown_logger_is_a_mistake_in_the_command(icl: Icl, tmp_path: Path) -> None:
    file = write_toml(tmp_path / "tiny.toml", TINY)
    code, _, err = icl("run", file, "--results", tmp_path / "results", "--log", "tensorbord")
    assert (code, err.splitlines()[-1]) == (2, "error: --log tensorbord: unknown; did you mean 'tensorboard'?")
    assert not (tmp_path / "results").exists()


def test_a_logger_that_is_not_installed_is_named_before_any_run_begins(
    icl: Icl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKENDS, "wandb", Backend(Notes().open, package="no_such_package"))
    file = write_toml(tmp_path / "tiny.toml", TINY)
    code, _, err = icl("run", file, "--results", tmp_path / "results", "--log", "tensorboard", "--log", "wandb")
    message = "error: --log wandb: not installed; pip install 'icl_curriculum[wandb]'"
    assert (code, err.splitlines()[-1]) == (2, message)
    assert not (tmp_path / "results").exists()


def test_a_folder_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_logs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "some", Backend(Notes().open, package="some_logs"))
    with pytest.raises(UserError, match="log 'some': not installed"):
        chosen(["some"])


def test_a_launch_refuses_as_the_command_does(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="log 'nothing': unknown; known: tensorboard, wandb"):
        launch([tiny_run()], tmp_path, log=["nothing"], report=lambda progress: None)
    with pytest.raises(UserError, match="log 'nothing': unknown"):
        execute(tiny_run(), tmp_path, log=["nothing"])


def test_one_name_need_not_be_a_list() -> None:
    assert chosen("tensorboard") == chosen(["tensorboard", "tensorboard"]) == ("tensorboard",)


# TensorBoard


def test_tensorboard_shows_a_resumed_run_as_one(tmp_path: Path) -> None:
    run = tiny_run()
    folder = directory_of(run, tmp_path).path / "tensorboard"
    with pytest.raises(Killed):
        execute(run, tmp_path, report=killed_at("training", 8), log=("tensorboard",))
    # What was logged after the checkpoint is not what comes in its place, which would hide that it is superseded.
    assert max(step for step, _ in of_events(folder)) == 8
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar("training/learning_rate", 123.0, 7)
    execute(run, tmp_path, log=("tensorboard",))
    assert of_events(folder) == in_single_precision(of_tables(folder.parent))


def test_tensorboard_that_cannot_write_stops_no_run(tmp_path: Path) -> None:
    run, progress = tiny_run(), list[Progress]()
    directory = directory_of(run, tmp_path).path
    directory.mkdir(parents=True)
    (directory / "tensorboard").write_text("a file where the folder should be")
    execute(run, tmp_path, report=progress.append, log=("tensorboard",))
    (warning,) = (item.warning for item in progress if item.warning)
    assert warning.startswith("mixed-seed0: logging to tensorboard stopped, the run goes on: FileExistsError")


# Weights & Biases, and the way to the worker processes


@pytest.fixture
def stub(tmp_path: Path, quick_python: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stub]:
    """For this process, where it is only looked for, and for workers."""
    folder = tmp_path / "stub"
    folder.mkdir()
    (folder / "wandb.py").write_text(WANDB)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("WANDB_CALLS", str(tmp_path / "calls"))
    # Set first, so that what a run sets in this process is undone.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "")
    monkeypatch.delenv("WANDB_ERROR_REPORTING")
    monkeypatch.setattr(sys, "executable", str(quick_python))
    monkeypatch.setattr("icl_curriculum.figures.draw_all", lambda directory, **options: [])
    yield Stub(tmp_path / "calls")
    sys.modules.pop("wandb", None)


@pytest.mark.usefixtures("undrawn")
def test_the_command_logs_to_both_from_its_workers(icl: Icl, stub: Stub, tmp_path: Path, plain: Path) -> None:
    file, results = write_toml(tmp_path / "tiny.toml", TINY), tmp_path / "results"
    command = ("run", file, "--results", results, "--log", "wandb", "--log", "tensorboard", "--log", "wandb")
    code, _, err = icl(*command)
    assert code == 0, err
    directory = results / "tiny/mixed-seed0"
    assert_same_results(directory, plain)
    assert of_events(directory / "tensorboard") == in_single_precision(of_tables(directory))
    (_, options), *logged, last = stub.calls()
    run_id = options.pop("id")
    assert run_id.isalnum()
    assert options.pop("config")["training"]["steps"] == 12
    assert options == {
        "mode": "offline", "dir": str(directory), "project": "icl_curriculum", "group": "tiny", "name": "mixed-seed0",
        "resume": "allow", "console": "off", "silent": True, "error_reporting": "false",
    }  # fmt: skip
    assert last == ["finish"]
    values = {(step, tag): format_value(value) for _, step, values in logged for tag, value in values.items()}
    assert values == of_tables(directory)
    assert "wandb" not in sys.modules


def test_a_resumed_run_is_the_same_run_of_wandb_and_another_seed_is_not(stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        execute(tiny_run(), tmp_path, report=killed_at("training", 8), log=("wandb",))
    execute(tiny_run(), tmp_path, log=("wandb",))
    execute(tiny_run(seed=1), tmp_path, log=("wandb",))
    first, resumed, other = (call[1]["id"] for call in stub.calls() if call[0] == "init")
    assert first == resumed != other
    assert [call[1] for call in stub.calls() if call[0] == "log"][6:12] == [6, 8, 8, 10, 12, 12]


def test_a_run_of_wandb_that_somebody_else_began_is_left_alone(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wandb.run", object())
    with pytest.warns(RuntimeWarning, match="logging to wandb stopped.*this process has a wandb run already"):
        execute(tiny_run(), tmp_path, log=("wandb",))
    assert not stub.file.exists()


@pytest.mark.usefixtures("undrawn")
def test_the_command_says_once_that_a_logger_broke(
    icl: Icl, stub: Stub, tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BREAKS_AFTER", "5")
    file, results = write_toml(tmp_path / "tiny.toml", TINY), tmp_path / "results"
    code, _, err = icl("run", file, "--results", results, "--log", "wandb")
    assert code == 0, err
    line = (
        "warning: mixed-seed0: logging to wandb stopped, the run goes on: OSError: [Errno 28] No space left on device"
    )
    assert err.splitlines().count(line) == 1
    assert err.count("warning") == 1
    assert [call[1] for call in stub.calls() if call[0] == "log"] == [0, 2, 4, 4]
    assert_same_results(results / "tiny/mixed-seed0", plain)


def test_neither_package_is_imported_unless_asked_for(stub: Stub, tmp_path: Path, quick_python: Path) -> None:
    file = write_toml(tmp_path / "tiny.toml", TINY)
    script = f"""
        import sys
        from pathlib import Path
        from icl_curriculum.config.loading import load
        from icl_curriculum.runs.execution import execute

        def logged(seed, log):
            execute(load({str(file)!r}, seeds=[seed])[0], Path({str(tmp_path)!r}), log=log)
            return sorted({{"tensorboard", "wandb"}} & {{module.split(".")[-1] for module in sys.modules}})

        print(logged(0, ()), logged(1, ("wandb",)))
    """
    done = subprocess.run([str(quick_python), "-c", textwrap.dedent(script)], capture_output=True, text=True)
    assert done.stdout == "[] ['wandb']\n", done.stderr


def test_every_backend_of_a_package_is_an_extra() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, backend in live_logging.BACKENDS.items():
        assert [item.split(">=")[0] for item in project["optional-dependencies"][name]] == [backend.package]
