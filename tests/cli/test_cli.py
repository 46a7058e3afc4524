"""The command line as a user meets it: what it prints, what it leaves behind, and its exit codes."""

from __future__ import annotations

import dis
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from tiny_runs import Icl, tables, tiny_values, write_toml

import icl_curriculum
from icl_curriculum.cli import app, endings
from icl_curriculum.cli.signals import Signals
from icl_curriculum.config.finding import experiment_names
from icl_curriculum.config.loading import load
from icl_curriculum.core.registry import KINDS

FIGURES = (
    "error_by_examples", "learning_curves", "out_of_distribution", "heat_map", "prediction_differences", "curriculum",
)  # fmt: skip
COMMANDS = app.registered_commands
CLASSES = {"linear", "sparse_linear", "quadratic", "relu_network"}


@dataclass
class Answer:
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """What was printed on standard output, without line breaks."""
        return " ".join(self.out.split())

    @property
    def said(self) -> str:
        """What was said beside it on standard error, without line breaks."""
        return " ".join(self.err.split())


def process(folder: Path, *command: str) -> Answer:
    """A command in a process of its own, as in a shell without a terminal."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def icl(icl: Icl, quick_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(quick_python))
    return lambda *arguments: Answer(*icl(*arguments))


@dataclass
class Results:
    """What a command answered, where it was given, and the experiment's directory."""

    answer: Answer
    folder: Path
    directory: Path

    def figures(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.directory / "figures").iterdir()}


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> Results:
    """The smoke experiment, run once by ``python -m``. (By the console script: test_readme.py.)"""
    folder = tmp_path_factory.mktemp("smoke")
    answer = process(folder, str(quick_python), "-m", "icl_curriculum", "run", "smoke")
    return Results(answer, folder, folder / "results" / "smoke")


def figures_named(answer: Answer) -> list[str]:
    """The figures whose paths a command said, or printed."""
    return [Path(path).stem for path in re.findall(r"^figure: +(.+)$", answer.err + answer.out, re.MULTILINE)]


# --help


def test_help_is_quick_and_imports_nothing_heavy(tmp_path: Path) -> None:
    """The times are generous: they hold on a busy machine, and importing torch alone would exceed them."""
    began = time.monotonic()
    answer = process(tmp_path, sys.executable, "-X", "importtime", "-m", "icl_curriculum", "--help")
    seconds = time.monotonic() - began
    assert answer.code == 0
    for command in ("run", "plot", "list", "show", "check"):
        assert re.search(rf"^\W*{command}\s", answer.out, re.MULTILINE), command
    imported = {line.split("|")[-1].strip().split(".")[0] for line in answer.err.splitlines() if "|" in line}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pandas", "matplotlib", "sklearn", "pydantic"}
    assert seconds < 3


@pytest.mark.parametrize("command", [(), *((command.name or command.callback.__name__,) for command in COMMANDS)])
def test_every_command_explains_itself(icl: Callable[..., Answer], command: tuple[str]) -> None:
    answer = icl(*command, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out
    assert icl(*command, "-h") == answer


def test_the_version(icl: Callable[..., Answer]) -> None:
    assert icl("--version") == Answer(0, f"icl-curriculum {icl_curriculum.__version__}\n", "")


# run


def test_run_ends_with_a_table_of_errors_and_the_paths_of_its_figures(smoke: Results) -> None:
    assert smoke.answer.code == 0
    assert smoke.answer.err.startswith("smoke: 1 run of 40 steps, 16 prompts of 7 points in 3 dimensions, on")
    # The table alone, so that it can be piped.
    assert smoke.answer.out.startswith("Normalized error")
    assert len(smoke.answer.out.splitlines()) == 2 + len(CLASSES)
    # No notice hides a fault of the package's own.
    assert "could not be" not in smoke.answer.out + smoke.answer.err
    assert "could not be" not in (smoke.directory / "report.html").read_text(encoding="utf-8")
    for column in ("k=1", "k=3", "k=6", "best baseline", "oracle"):
        assert column in smoke.answer.out
    assert figures_named(smoke.answer) == list(FIGURES)
    for name in FIGURES:
        assert f"results/smoke/figures/{name}.png" in smoke.answer.err
        assert smoke.figures()[f"{name}.png"].startswith(b"\x89PNG")
        assert b"<svg" in smoke.figures()[f"{name}.svg"]


def rows_of_table(text: str) -> dict[str, list[str]]:
    """The closing table: cells by function class."""
    found = {}
    for line in text.splitlines():
        cells = line.split()
        if cells and cells[0] in CLASSES:
            # The best baseline: its error and its name.
            found[cells[0]] = [*cells[1:4], " ".join(cells[4:6]), *cells[6:]]
    return found


def test_the_table_shows_the_numbers_of_the_csv_file(smoke: Results) -> None:
    table = pd.read_csv(smoke.directory / "evaluation.csv")
    table = table[(table["metric"] == "normalized_error") & (table["shift"] == "none")]
    table = table[table["input_distribution"] == "gaussian"]
    printed = rows_of_table(smoke.answer.out)
    assert list(printed) == [item.id for item in load("smoke")[0].experiment.function_classes]
    for function_class, cells in printed.items():
        values = table[table["function_class"] == function_class].set_index(["learner", "n_context"])["value"]
        at_end = values.xs(6, level="n_context")
        baselines = at_end.drop([name for name in ("model", "oracle", "informed_oracle") if name in at_end])
        assert cells[:3] == [f"{values['model', k]:.3f}" for k in (1, 3, 6)]
        # One seed has no range.
        assert cells[3].rstrip("†") == f"{baselines.min():.3f} {baselines.idxmin()}"


def test_run_leaves_the_experiments_tables_and_one_directory_per_run(smoke: Results) -> None:
    assert set(tables(smoke.directory)) == {
        "runs.csv", "training.csv", "learning.csv", "evaluation.csv", "prediction_differences.csv", "exposure.csv",
        "curriculum.csv", "summary.csv",
    }  # fmt: skip
    assert (smoke.directory / "timing.csv").is_file()
    assert (smoke.directory / "report.html").is_file()
    assert (smoke.directory / "mixed-seed0" / "model.safetensors").is_file()
    evaluation = pd.read_csv(smoke.directory / "evaluation.csv")
    assert set(evaluation["function_class"]) == CLASSES
    assert {"none", "scaled_inputs/0.5", "random_quadrants", "longer_prompts/2"} <= set(evaluation["shift"])
    assert "skewed" in set(evaluation["input_distribution"])
    assert set(evaluation.loc[evaluation["shift"] == "longer_prompts/2", "n_context"]) == set(range(13))


def test_another_config_in_the_same_place_is_refused(
    smoke: Results, icl: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(smoke.folder)
    answer = icl("run", "smoke", "--set", "training.steps=41")
    assert answer.code == 2
    assert "changed: training.steps. " in answer.err
    assert "--fresh" in answer.err


@pytest.fixture
def diverging(tmp_path: Path) -> Path:
    changes = {"training.optimizer": {"name": "adam", "learning_rate": 1e6}, "training.clip": float("inf")}
    return write_toml(tmp_path / "diverging.toml", tiny_values({"name": "diverging", **changes}))


def test_a_diverged_run_is_exit_code_1_with_a_reason_and_keeps_what_was_written(
    icl: Callable[..., Answer], diverging: Path
) -> None:
    results = Path("results_" + "x" * 100)
    answer = icl("run", str(diverging), "--results", str(results))
    assert answer.code == 1
    assert answer.out == ""
    assert "failed: mixed-seed0: training diverged by step" in answer.said
    assert "Traceback" not in answer.out + answer.err
    assert str(results / "diverging" / "mixed-seed0") in answer.said, "a path is not broken over two lines"
    assert len(pd.read_csv(results / "diverging" / "mixed-seed0" / "training.csv")) > 0


PLUGIN = """
import torch

from icl_curriculum import FunctionClass, register_function_class


@register_function_class("my_class")
class MyClass(FunctionClass):
    '''f(x) = 2 w_1 |x_1|.'''

    def sample(self, n, dims, generator):
        return {"w": torch.randn(n, 1, generator=generator, device=generator.device)}

    def evaluate(self, parameters, xs):
        return 2 * parameters["w"] * xs[..., 0].abs()

    def trivial_error(self, dims):
        return 4.0
"""


WITH_PLUGIN = (
    "run", "smoke", "--plugin", "my_plugin.py", "--set", 'function_classes=["linear","my_class"]',
    "--set", "training.steps=4", "--set", "evaluation.shifts=[]", "--seeds", "5", "--device", "cpu",
    "--results", "mine", "--jobs", "1",
)  # fmt: skip


@pytest.fixture(scope="session")
def with_plugin(tmp_path_factory: pytest.TempPathFactory, quick_python: Path) -> Results:
    """A small experiment with a function class from a plugin file, run by ``python -m``."""
    folder = tmp_path_factory.mktemp("with_plugin")
    (folder / "my_plugin.py").write_text(PLUGIN)
    answer = process(folder, str(quick_python), "-m", "icl_curriculum", *WITH_PLUGIN)
    return Results(answer, folder, folder / "mine" / "smoke")


def test_a_function_class_from_a_plugin_file(with_plugin: Results) -> None:
    assert with_plugin.answer.code == 0
    assert re.search(r"^my_class ", with_plugin.answer.out, re.MULTILINE)
    evaluation = pd.read_csv(with_plugin.directory / "evaluation.csv")
    assert set(evaluation["function_class"]) == {"linear", "my_class"}
    assert set(evaluation["seed"].dropna()) == {5}
    of_zero = evaluation[(evaluation["learner"] == "zero") & (evaluation["metric"] == "normalized_error")]
    assert of_zero.groupby("function_class")["value"].mean().between(0.6, 1.4).all()
    kept = with_plugin.directory / "mixed-seed5" / "plugins" / "my_plugin.py"
    assert kept.read_text() == PLUGIN


@pytest.mark.usefixtures("fresh_registries")
def test_the_same_command_keeps_finished_runs(
    with_plugin: Results, icl: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def state() -> tuple[dict[str, int], dict[str, bytes], dict[str, bytes]]:
        files = (with_plugin.directory / "mixed-seed5").iterdir()
        times = {path.name: path.stat().st_mtime_ns for path in files}
        return times, tables(with_plugin.directory), with_plugin.figures()

    monkeypatch.chdir(with_plugin.folder)
    before = state()
    answer = icl(*WITH_PLUGIN)
    assert answer.code == 0
    assert "already finished, kept: mixed-seed5" in answer.err
    assert answer.out == with_plugin.answer.out
    assert state() == before


# Mistakes: exit code 2, one message, no traceback


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "smokee"], "unknown experiment 'smokee'; did you mean 'smoke'?"),
        (["run", "nowhere.toml"], "experiment file nowhere.toml does not exist"),
        (["run", "smoke", "--set", "training.stepz=3"], "training.stepz: unknown key; did you mean 'steps'?"),
        (["run", "smoke", "--set", "training.steps"], "--set training.steps: expected key=value"),
        (
            ["run", "smoke", "--set", "training.steps=-1"],
            "training.steps: expected greater than or equal to 1, found -1",
        ),
        (["run", "smoke", "--set", "function_classes=3"], "function_classes: expected"),
        (["run", "smoke", "--seeds", "0,x"], "--seeds 0,x: expected non-negative whole numbers"),
        (["run", "smoke", "--seeds", ""], "--seeds : expected non-negative whole numbers"),
        (["run", "smoke", "--seeds", "-1"], "--seeds -1: expected non-negative whole numbers"),
        (["run", "smoke", "--seeds", "²"], "--seeds ²: expected non-negative whole numbers"),
        (["run", "smoke", "--seeds", "1,1"], "seeds"),
        (["run", "smoke", "--device", "tpu"], "--device tpu: not on this machine; available: auto, cpu"),
        (["run", "smoke", "--plugin", "nowhere.py"], "nowhere.py does not exist"),
        (["run", "smoke", "--plugin", "broken.py"], "broken.py failed to import: NameError: name 'undefined'"),
        (["plot", "nothing"], "no results for 'nothing' in results"),
        (["plot", "empty"], ".csv is missing"),
        (["list", "inputz"], "unknown kind 'inputz'; did you mean 'inputs'?"),
        (["show", "mixxed"], "unknown experiment 'mixxed'; did you mean 'mixed'?"),
        (["show", "mixed", "--set", "dims=x"], "dims: expected a valid integer, found 'x'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    icl: Callable[..., Answer], arguments: list[str], message: str
) -> None:
    Path("broken.py").write_text("undefined")
    Path("empty").mkdir()
    answer = icl(*arguments)
    assert answer.code == 2
    assert answer.err.startswith("error: ")
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert answer.out == ""
    assert not Path("results").exists(), "nothing was started"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "Missing argument 'NAME'"),
        (["run", "smoke", "--jobs", "0"], "--jobs"),
        (["run", "smoke", "--sed", "1"], "No such option: --sed"),
        (["rum"], "No such command 'rum'"),
    ],
)
def test_a_command_that_does_not_exist_is_exit_code_2(
    icl: Callable[..., Answer], arguments: list[str], message: str
) -> None:
    answer = icl(*arguments)
    assert answer.code == 2
    assert message in " ".join(answer.err.split())


def test_a_mistake_in_a_shell(tmp_path: Path, quick_python: Path) -> None:
    answer = process(tmp_path, str(quick_python), "-m", "icl_curriculum", "run", "smokee")
    assert answer == Answer(2, "", "error: unknown experiment 'smokee'; did you mean 'smoke'?\n")


@pytest.mark.parametrize("command", ["run", "plot", "list", "show", "check"])
def test_debug_adds_the_traceback_to_the_message(icl: Callable[..., Answer], command: str) -> None:
    for arguments in ((command, "nowhere_at_all", "--debug"), ("--debug", command, "nowhere_at_all")):
        answer = icl(*arguments)
        assert answer.code == 2
        assert answer.err.startswith("Traceback (most recent call last)")
        assert answer.err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in icl(command, "nowhere_at_all").err


@pytest.mark.parametrize("arguments", [["run", "smoke", "--sed", "1"], ["--sed"], ["rum"], ["run"]])
def test_debug_adds_the_traceback_to_a_mistake_in_the_arguments_themselves(
    icl: Callable[..., Answer], arguments: list[str]
) -> None:
    answer = icl(*arguments, "--debug")
    assert answer.code == 2
    assert answer.err.count("─ Error ─") == 1
    assert answer.err.count("Traceback (most recent call last)") == 1
    assert "Traceback" not in icl(*arguments).err


def test_a_stopped_command_says_what_is_left_wherever_debug_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--debug", "run", "smoke", "--fresh"], ["run", "smoke", "--fresh", "--debug"]):
        endings.given(arguments)
        with pytest.raises(SystemExit, match="143"):
            endings.end_with_a_message(lambda: Signals(endings.hint).heard(signal.SIGTERM, None))
        last = capsys.readouterr().err.splitlines()[-1]
        assert last == "terminated; the same command without --fresh continues where it stopped"


def test_no_command_has_a_parameter_that_nobody_reads() -> None:
    for command in COMMANDS:
        assert command.callback is not None
        code = command.callback.__code__
        read = {item.argval for item in dis.get_instructions(code) if item.opname.startswith("LOAD_")}
        cells = set(code.co_cellvars)
        assert set(inspect.signature(command.callback).parameters) <= read | cells, command.callback.__name__


# plot, list, show


def test_plot_redraws_from_the_tables_alone(with_plugin: Results, icl: Callable[..., Answer], tmp_path: Path) -> None:
    directory = tmp_path / "results" / "smoke"
    directory.mkdir(parents=True)
    for path in with_plugin.directory.glob("*.csv"):
        shutil.copy(path, directory)
    answer = icl("plot", "smoke")
    assert answer.code == 0
    assert figures_named(answer) == figures_named(with_plugin.answer)
    assert {path.name: path.read_bytes() for path in (directory / "figures").iterdir()} == with_plugin.figures()


def test_plot_takes_a_directory_and_suggests_names(smoke: Results, icl: Callable[..., Answer]) -> None:
    answer = icl("plot", "smok", "--results", str(smoke.folder / "results"))
    assert answer.code == 2
    assert "did you mean 'smoke'?" in answer.err


def test_list_shows_every_component_and_experiment(icl: Callable[..., Answer]) -> None:
    answer = icl("list")
    assert answer.code == 0
    for kind, registry in KINDS.items():
        assert re.search(rf"^{kind.replace('_', ' ')}\s*$", answer.out, re.MULTILINE), kind
        for name in registry.names():
            assert re.search(rf"^\s*{re.escape(name)}\s+\S", answer.out, re.MULTILINE), name
    for name in experiment_names():
        assert re.search(rf"^\s*{name}\s+\S", answer.out, re.MULTILINE), name


def test_list_may_be_cut_to_one_kind_and_says_what_each_is(icl: Callable[..., Answer]) -> None:
    answer = icl("list", "baselines")
    assert answer.code == 0
    assert "least_squares built in Minimum-norm least squares without intercept." in answer.words
    assert "relu_network" not in answer.out


@pytest.mark.usefixtures("fresh_registries")
def test_list_shows_what_a_plugin_adds_and_where_it_comes_from(icl: Callable[..., Answer]) -> None:
    Path("listed.py").write_text(PLUGIN.replace("my_class", "my_listed_class"))
    answer = icl("list", "function_classes", "--plugin", "listed.py")
    assert answer.code == 0
    assert re.search(r"^\s*my_listed_class\s", answer.out, re.MULTILINE)
    assert "f(x) = 2 w_1 |x_1|." in answer.words
    assert "listed.py" in "".join(answer.out.split())


def test_show_prints_a_config_that_loads_as_the_same_experiment(icl: Callable[..., Answer]) -> None:
    answer = icl("show", "mixed", "--set", "training.steps=17", "--seeds", "3,4")
    assert answer.code == 0
    Path("mixed.toml").write_text(answer.out)
    shown, expected = load("mixed.toml"), load("mixed", overrides=["training.steps=17"], seeds=[3, 4])
    assert shown == expected
    assert "muon_learning_rate" in answer.out, "defaults included"


def test_show_prints_variants_as_they_were_given(icl: Callable[..., Answer]) -> None:
    write_toml(Path("mine.toml"), tiny_values({"variants": {"one": {"dims": 3}, "two": {"dims": 4}}}))
    answer = icl("show", "mine.toml", "--sweep", "model.width=4,8")
    assert answer.out.startswith("# 4 runs: 4 variants\n# one,width=4, one,width=8, two,width=4, two,width=8\n")
    Path("shown.toml").write_text(answer.out)
    assert [run.hash() for run in load("shown.toml")] == [
        run.hash() for run in load("mine.toml", sweep={"model.width": [4, 8]})
    ]
