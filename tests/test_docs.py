"""Every command, file and snippet of the README works as it stands there; training ones at toy size."""

from __future__ import annotations

import functools
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from places import ROOT

import icl_curriculum
from icl_curriculum import bench, figures
from icl_curriculum import pages as report
from icl_curriculum.cli import main
from icl_curriculum.cli.listing import coverage_table
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.finding import experiment_names
from icl_curriculum.core.registry import BUILT_IN, FUNCTION_CLASSES, INPUTS, KINDS
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.runs.execution import execute as executing
from icl_curriculum.runs.launch import RunFailure
from icl_curriculum.runs.pool import WorkerPool

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
TOY = [
    "dims=3", "points=5", "training.steps=8", "training.batch_size=4", "training.learning_every=4",
    "evaluation.n_prompts=4", "evaluation.learning_prompts=4", "model.width=8", "model.heads=2", "model.layers=1",
    "evaluation.shifts=[]", 'evaluation.baselines=["zero", "least_squares"]',
]  # fmt: skip
TOY_OPTIONS = [part for override in TOY for part in ("--set", override)]
TOY_BENCH = {
    "step": ["--rounds", "2"],
    "quality": [part for key in [*TOY, "points=8"] for part in ("--set", key)],
}


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCKS if found == language]


def commands() -> list[list[str]]:
    lines = [line for body in blocks("sh") for line in body.splitlines() if line.strip()]
    return [shlex.split(line, comments=True) for line in lines]


#: The experiments of the README whose figures are looked at; the others' would take as long as all else.
DRAWN = ("my_mixed", "my_classes", "smoke")
#: Likewise those whose reports are written.
REPORTED = ("mixed", "smoke")
ICL = [command for command in commands() if command[0] == "icl"]
MAKE = [command for command in commands() if command[0] == "make"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a reader's own, with the files that the README shows, the experiments and the committed example."""
    made = tmp_path
    for language in ("toml", "python"):
        for body in blocks(language):
            named = re.match(r"# (\w+\.(?:toml|py))\n", body)
            if named:
                (made / named.group(1)).write_text(body)
    for path in (ROOT / "experiments").glob("*.toml"):
        (made / "experiments").mkdir(exist_ok=True)
        shutil.copy(path, made / "experiments")
    (made / "results").mkdir()
    (made / "results/example_mixed").symlink_to(ROOT / "results/example_mixed")
    return made


def execute(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_shows_commands_of_every_kind() -> None:
    assert {command[1] for command in ICL} == {
        "run",
        "plot",
        "compare",
        "report",
        "show",
        "list",
        "check",
        "evaluate",
        "score",
        "verify",
        "bench",
    }
    assert [command[:2] for command in MAKE] == [["make", "experiment"], ["make", "test"]]


def in_this_process(pool: WorkerPool, runs: list[Run], jobs: int) -> list[RunFailure]:
    """Without workers, which take seconds to start; `make experiment` below has one, and test_launch.py many."""
    for run in runs:
        pool.started(run.name)
        executing(run, pool.results, device=pool.device, report=pool.report, log=pool.log)
        pool.ended(run.name, None)
    return []


@pytest.mark.usefixtures("fresh_registries")
def test_every_icl_command_runs_in_the_order_of_the_readme(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the console script's entry point in this process, which spares importing torch for each."""
    monkeypatch.chdir(folder)
    draw_all = figures.draw_all

    def draw_some(directory: Path, **options: Any) -> list[Path]:
        return draw_all(directory, **options) if directory.name in DRAWN else []

    monkeypatch.setattr(figures, "draw_all", draw_some)
    write_report = report.write_report

    def write_some(compared: Compared) -> Path:
        written = compared.sources[0].directory.name in REPORTED
        return write_report(compared) if written else compared.path

    monkeypatch.setattr(report, "write_report", write_some)
    monkeypatch.setattr(WorkerPool, "execute", in_this_process)
    tiny = bench.ModelSize("tiny", width=8, layers=1, heads=2, points=5, dims=3, batch=4)
    monkeypatch.setattr(bench, "Settings", functools.partial(bench.Settings, sizes=(tiny,)))
    for command in ICL:
        if command == ["icl", "verify"]:
            continue  # CI runs it, as it takes the better part of a minute
        # The reader's own sizes give way to toy ones, which come last.
        toy = {"run": TOY_OPTIONS, "bench": TOY_BENCH.get(command[2], [])}.get(command[1], [])
        if command[1] == "run" and "--seeds" not in command:
            toy = [*toy, "--set", "seeds=[0]"]
        monkeypatch.setattr(sys, "argv", [*command, *toy])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, f"{shlex.join(command)}\n{capsys.readouterr()}"
    assert (folder / "results/my_mixed/figures/error_by_examples.png").is_file()
    curve = pd.read_csv(folder / "results/my_classes/learning.csv")
    assert list(curve["function_class"].unique()) == ["linear", "cubic"]
    assert (folder / "results/my_classes/figures/learning_curves.png").is_file()
    assert (folder / "results/mixed/report.html").is_file()
    assert (folder / "results/compare/summary.csv").is_file()


@pytest.mark.usefixtures("fresh_registries")
def test_every_toml_block_is_valid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icl_curriculum.config.loading import load

    monkeypatch.chdir(folder)
    for number, body in enumerate(blocks("toml")):
        if "[project" in body:
            continue
        path = folder / f"block_{number}.toml"
        path.write_text(body if body.startswith("# ") else f'extends = "mixed.toml"\n{body}')
        assert load(str(path))


def test_every_python_block_runs(folder: Path, quick_python: Path) -> None:
    # In one process, each with names of its own; what is a file is imported.
    together = ""
    for body in blocks("python"):
        named = re.match(r"# (\w+)\.py\n", body)
        together += f"import {named[1]}\n" if named else f"exec({body!r}, {{}})\n"
    execute([str(quick_python), "-W", "error", "-c", together], folder)
    assert (folder / "learning_curve.png").stat().st_size > 10_000


def test_the_example_of_a_plugin_is_as_short_as_promised_and_keeps_its_contract(
    folder: Path, quick_python: Path
) -> None:
    assert len((folder / "cubic.py").read_text().splitlines()) <= 25
    lines = (folder / "my_classes.toml").read_text().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 2
    printed = execute([str(quick_python), "-m", "icl_curriculum", "check", "cubic", "--plugin", "cubic.py"], folder)
    assert re.search(r"^\d+ rules hold, 0 do not", printed, re.MULTILINE)
    tested = execute([str(quick_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cubic.py"], folder)
    assert re.search(r"^\d+ passed", tested, re.MULTILINE)


def test_the_entry_points_of_the_readme_are_those_that_are_read() -> None:
    (body,) = (body for body in blocks("toml") if "[project" in body)
    (group,) = tomllib.loads(body)["project"]["entry-points"]
    assert group in {registry.group for registry in KINDS.values()}
    named = {f"icl_curriculum{suffix}" for suffix in re.findall(r"`(\.\w+)`", README)}
    assert {registry.group for registry in KINDS.values()} == named | {group}


def test_the_table_of_kinds_names_what_the_package_exports() -> None:
    rows = re.findall(r"^\| .+? \| `(\w+)` \| `(register_\w+)` \|", README, re.MULTILINE)
    assert len(rows) == len(KINDS)
    assert all(hasattr(icl_curriculum, name) for row in rows for name in row)


def test_pictures_and_links_of_the_readme_exist() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert len([target for target in targets if target.endswith(".png")]) >= 3
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_make_experiment_runs_with_the_environment_that_is_there(folder: Path) -> None:
    """The README's first command at toy size, through make, from a copy of the checkout that shares its environment."""
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "experiments"):
        (checkout / name).symlink_to(ROOT / name)
    environment = checkout / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/icl").symlink_to(Path(sys.executable).parent / "icl")
    # Newer than what they depend on: make must not set anything up.
    for name in ("pyproject.toml", "constraints.txt", ".venv/.ready"):
        (checkout / name).touch()
    printed = execute(["make", "experiment", "NAME=smoke", f"ARGS={shlex.join(TOY_OPTIONS)}"], checkout)
    assert "Normalized error" in printed
    assert "figures/error_by_examples.png" in printed


def test_make_without_a_name_says_what_is_missing() -> None:
    done = subprocess.run(["make", "-o", ".venv/.ready", "experiment"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "make experiment NAME=mixed" in done.stderr


def test_the_table_in_the_readme_is_that_of_the_committed_example() -> None:
    from rich.console import Console

    from icl_curriculum.cli.error_tables import error_table

    printed = io.StringIO()
    Console(file=printed, width=80).print(error_table(ROOT / "results/example_mixed"))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert len(lines) >= 6
    assert all(line in README for line in lines)


def test_what_takes_longer_is_run_by_ci() -> None:
    assert ["icl", "verify"] in ICL
    assert "make verify" in (ROOT / ".ci/run").read_text().splitlines()


def test_the_table_of_shifts_is_up_to_date() -> None:
    """To mend it: what `icl list coverage` prints goes between the two marks."""
    shown = re.search(r"^<!-- coverage -->\n(.*?)\n<!-- /coverage -->$", README, re.MULTILINE | re.DOTALL)
    assert shown is not None
    assert shown[1] == coverage_table()


def test_every_class_and_distribution_is_in_the_catalogue_of_the_readme() -> None:
    listed = README[README.index("## The catalogue") : README.index("### Where each shift")]
    for registry in (FUNCTION_CLASSES, INPUTS):
        assert all(f"`{name}`" in listed for name in registry.names() if registry.origin(name) == BUILT_IN)


def test_every_experiment_is_in_the_readme() -> None:
    names = {path.stem for path in (ROOT / "experiments").glob("*.toml")} - {"base"}
    assert all(f"`{name}`" in README for name in names)


def test_experiments_that_the_text_names_are_there() -> None:
    named = set(re.findall(r"make experiment NAME=(\w+)", README))
    assert {"mixed", "curricula", "curricula_hermite", "curricula_inputs", "curricula_reference"} <= named
    assert named <= set(experiment_names())
