"""Every command, file and snippet of the README and of the pages works as it stands there; training at toy size."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fewer_pictures import draw_only
from foreign_checkpoints import GARG, changed, foreign_weights, write_state
from places import ROOT
from test_house import FLOOR
from toy_benchmark import SHIFTS, toy_benchmark

import icl_curriculum
from icl_curriculum import bench, figures
from icl_curriculum.bench import methods
from icl_curriculum.cli import main
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.finding import experiment_names
from icl_curriculum.core.registry import BUILT_IN, FUNCTION_CLASSES, KINDS
from icl_curriculum.figures import drawing
from icl_curriculum.pages import page
from icl_curriculum.results.comparison.command import Compared
from icl_curriculum.runs import experiment
from icl_curriculum.runs.execution import execute as executing
from icl_curriculum.runs.launch import RunFailure
from icl_curriculum.runs.pool import WorkerPool

DOCS = ROOT / "docs"
#: As a reader goes through them: in the order of the site's navigation.
ORDER = re.findall(r"^ +- (?:.+: )?([\w/]+\.md)$", (DOCS / "site/mkdocs.yml").read_text(), re.MULTILINE)
PAGES = {path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *(DOCS / name for name in ORDER)]}
README = PAGES[ROOT / "README.md"]
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
TOY = {
    "dims": "3", "points": "5", "training.steps": "8", "training.batch_size": "4", "training.learning_every": "4",
    "evaluation.n_prompts": "4", "evaluation.learning_prompts": "4", "model.width": "8", "model.heads": "2",
    "model.layers": "1", "evaluation.shifts": "[]", "evaluation.baselines": '["zero", "least_squares"]',
}  # fmt: skip

#: What is beside the checkpoint that the pages import.
PUBLISHED = changed(GARG, curriculum={"points": {"start": 11, "end": 41, "inc": 2, "interval": 2000}})
PUBLISHED["model"] = {**GARG["model"], "n_positions": 101, "n_embd": 16, "n_head": 8}

Command = tuple[str, ...]


def overriding(values: Any) -> list[str]:
    return [part for key, value in values for part in ("--set", f"{key}={value}")]


def blocks(language: str, text: str | None = None) -> list[str]:
    """Each once, in the order of the pages."""
    texts = PAGES.values() if text is None else [text]
    found = [body for each in texts for kind, body in FENCED.findall(each) if kind == language]
    return list(dict.fromkeys(found))


def commands(text: str | None = None) -> list[Command]:
    lines = [line for body in blocks("sh", text) for line in body.replace("\\\n", " ").splitlines() if line.strip()]
    return list(dict.fromkeys(tuple(shlex.split(line, comments=True)) for line in lines))


def files() -> Iterator[tuple[str, str]]:
    """The files that the pages show, by name; one that stands on two pages is the same on both."""
    for language in ("toml", "python"):
        for body in blocks(language):
            if named := re.match(r"# (\w+\.(?:toml|py))\n", body):
                yield named[1], body


#: The experiments whose figures are drawn, by the command that draws them, and which; all would take as long as all
#: else, and tests/figures draws every one.
DRAWN = {"run": Path("results/my_classes"), "plot": Path("results/smoke")}
SHOWN = {"error_by_examples", "learning_curves"}
#: The one whose report is written.
REPORTED = Path("results/mixed")
ICL = [command for command in commands() if command[0] == "icl"]
MAKE = [command for command in commands() if command[0] == "make"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a reader's own, with the files that the pages show, the experiments and the committed example.

    And with checkpoints of another code, which are small where a reader's are large.
    """
    made = tmp_path
    for name, body in files():
        (made / name).write_text(body)
    for path in (ROOT / "experiments").glob("*.toml"):
        (made / "experiments").mkdir(exist_ok=True)
        shutil.copy(path, made / "experiments")
    np.savetxt(made / "weights.csv", np.arange(6).reshape(2, 3), delimiter=",")
    (made / "results").mkdir()
    (made / "results/example_mixed").symlink_to(ROOT / "results/example_mixed")
    theirs = write_state(made / "checkpoints/linear_regression", foreign_weights(positions=101, width=16), PUBLISHED)
    torch.save(foreign_weights(positions=101, width=16), theirs / "model_300000.pt")
    torch.save(foreign_weights(positions=101, width=16), theirs.parent / "relu.pt")
    return made


def execute(command: list[str], folder: Path) -> str:
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_pages_show_commands_of_every_kind() -> None:
    assert {command[1] for command in ICL} == {
        "run",
        "status",
        "plot",
        "compare",
        "transfer",
        "report",
        "show",
        "list",
        "check",
        "evaluate",
        "clean",
        "heads",
        "import",
        "leaderboard",
        "score",
        "verify",
        "bench",
    }
    assert [command[:2] for command in MAKE][:2] == [("make", "experiment"), ("make", "test")]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {command[1] for command in MAKE} <= targets


def test_a_file_that_stands_on_two_pages_is_the_same_on_both() -> None:
    names = [name for name, _ in files()]
    assert len(names) >= 8
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_can_be_followed_by_itself(path: Path) -> None:
    """Whatever a command reads from results/ was made by one further up on the page."""
    made = {"example_mixed"}
    for command in commands(PAGES[path]):
        if command[0] == "make":
            made |= {part.removeprefix("NAME=") for part in command if part.startswith("NAME=")}
            continue
        named = [part for i, part in enumerate(command[2:], 2) if not {part[:2], command[i - 1][:2]} & {"--"}]
        if command[1] in ("plot", "report", "compare", "transfer"):
            assert set(named) <= made, command
        read = {part.split("/")[1] for part in named if part.startswith("results/")}
        assert read <= made, command
        if command[1] == "run":
            made.add(Path(command[2]).stem)
        if command[1] == "import":
            made.add(command[command.index("--name") + 1])
        if "--output" in command:
            made.add(Path(command[command.index("--output") + 1]).name)


def in_this_process(pool: WorkerPool, runs: list[Run], jobs: int) -> list[RunFailure]:
    """Without workers, which take seconds to start; `make experiment` below has one, and test_launch.py many."""
    for run in runs:
        pool.started(run.name)
        executing(run, pool.results, device=pool.device, report=pool.report, log=pool.log)
        pool.ended(run.name, None)
    return []


def measured_in_this_process(work: Callable[..., Any], requests: list[Any], heard: Callable[..., None]) -> list[Any]:
    """Likewise for the children of `icl bench`, which tests/bench has."""
    return [work(request, functools.partial(heard, number)) for number, request in enumerate(requests)]


def toy(command: Command) -> list[str]:
    """Options that come last and make a command quick; what `smoke` is told, which is small already, stays."""
    if command[1] == "run":
        kept = {part.split("=")[0] for part in command} if command[2] == "smoke" else set()
        if 'model="growing"' in command:  # which has no fields
            kept |= {"model.layers", "model.heads", "model.width"}
        if command[2] == "my_model.toml":  # which has neither
            kept |= {"model.layers", "model.heads"}
        if command[2] in ("classes.toml", "my_rings.toml"):  # of which least squares answers nothing
            kept |= {"evaluation.baselines"}
        if command[2] == "counted.toml":  # which has a weight for each position
            kept |= {"points"}
        if command[2] in ("cap.toml", "outliers.toml", "missing.toml", "steps.toml"):
            kept |= {"evaluation.shifts"}
        if command[2] == "my_benchmark.toml":  # whose prompts are those of a toy benchmark
            kept |= {"model.layers", "model.heads", "model.width", "evaluation.shifts", "evaluation.baselines"}
            return overriding(
                [("evaluation.shifts", SHIFTS), *((key, value) for key, value in TOY.items() if key not in kept)]
            )
        seeds = [] if "--seeds" in command else [("seeds", "[0]")]
        return overriding([*((key, value) for key, value in TOY.items() if key not in kept), *seeds])
    if "--benchmark" in command:
        return ["--costly-prompts", "2"]
    if command[1] in ("import", "score"):
        return [] if "--n-prompts" in command else ["--n-prompts", "4"]
    if command[1] == "show" and command[2] == "families.toml":
        return overriding([("dims", "3"), ("points", "5"), ("training.batch_size", "4"), ("evaluation.n_prompts", "4")])
    if command[1] == "evaluate":  # by default of every input distribution there is
        return [] if "--inputs" in command else ["--inputs", "gaussian", "--inputs", "laplace"]
    if command[1] == "bench":
        return ["--rounds", "2"] if command[2] in ("step", "methods") else overriding([*TOY.items(), ("points", "8")])
    return []


#: What takes the better part of a minute, and what needs Hugging Face's transformers.
LEFT_TO_CI = (("icl", "verify"), *(command for command in ICL if command[1:3] == ("check", "huggingface")))
#: What takes a real cluster: `make test-cluster` runs these, as they stand on their page.
ON_A_CLUSTER = tuple(command for command in ICL if "--on" in command or command[-2:] == ("--results", "shared"))


@pytest.mark.usefixtures("fresh_registries", "fewer_prompts")
def test_every_icl_command_runs_in_the_order_of_the_pages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the console script's entry point in this process, which spares importing torch for each."""
    monkeypatch.chdir(folder)
    toy_benchmark(folder, monkeypatch)
    draw_all = figures.draw_all

    def draw_some(directory: Path, **options: Any) -> list[Path]:
        if directory != DRAWN[sys.argv[1]]:
            return []
        with pytest.MonkeyPatch.context() as patch:
            draw_only(patch, *SHOWN)
            return draw_all(directory, **options)

    monkeypatch.setattr(figures, "draw_all", draw_some)
    draw, shown = drawing._drawn, set[tuple[str, str]]()

    def draw_once(directory: Path, stem: str, *how: Any) -> list[Path]:
        """A figure by the first command of its kind."""
        new = (sys.argv[1], stem) not in shown
        shown.add((sys.argv[1], stem))
        return draw(directory, stem, *how) if new else []

    monkeypatch.setattr(drawing, "_drawn", draw_once)

    # The report of a run is that of `icl report`, as tests/cli/test_cli.py and `make experiment` below have it.
    def unreported(directory: Path) -> page.WrittenReport:
        return page.WrittenReport(directory / "summary.csv", directory / "report.html", ())

    monkeypatch.setattr(experiment, "report_on", unreported)
    write_report = page.write_report

    def write_some(compared: Compared) -> Path:
        wanted = sys.argv[1] == "report" and compared.sources[0].directory == REPORTED
        return write_report(compared) if wanted else compared.path

    monkeypatch.setattr(page, "write_report", write_some)
    monkeypatch.setattr(WorkerPool, "execute", in_this_process)
    monkeypatch.setattr("icl_curriculum.bench.quality.in_children", measured_in_this_process)
    tiny = bench.ModelSize("tiny", width=8, layers=1, heads=2, points=5, dims=3, batch=4)
    monkeypatch.setattr(bench, "Settings", functools.partial(bench.Settings, sizes=(tiny,)))
    monkeypatch.setattr(methods.jobs, "__defaults__", ((dataclasses.replace(tiny, batch=16),),))
    # Beside Hugging Face's model, which takes ten seconds to import and to tune, `icl bench step` runs in tests/bench.
    monkeypatch.setitem(sys.modules, "transformers", None)
    for command in ICL:
        if command in (*LEFT_TO_CI, *ON_A_CLUSTER):
            continue
        monkeypatch.setattr(sys, "argv", [*command, *toy(command)])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, f"{shlex.join(command)}\n{capsys.readouterr()}"
    assert (folder / "results/smoke/figures/error_by_examples.png").is_file()
    curve = pd.read_csv(folder / "results/my_classes/learning.csv")
    assert list(curve["function_class"].unique()) == ["linear", "cubic"]
    assert (folder / "results/my_classes/figures/learning_curves.png").is_file()
    assert (folder / "results/mixed/report.html").is_file()
    assert (folder / "results/compare/summary.csv").is_file()
    assert (folder / "results/smoke/aside").is_dir()


@pytest.mark.usefixtures("fresh_registries")
def test_every_toml_block_is_valid(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from icl_curriculum.config.loading import load

    monkeypatch.chdir(folder)
    # Of which another file takes the weights.
    for run in load("smoke", overrides=["evaluation.shifts=[]", "evaluation.n_prompts=4", "training.steps=4"]):
        executing(run, Path("results"))
    for number, body in enumerate(blocks("toml")):
        if "[project" in body:
            continue
        path = folder / f"block_{number}.toml"
        path.write_text(body if body.startswith("# ") else f'extends = "mixed.toml"\n{body}')
        assert load(str(path))


#: The figures of an experiment, and its report, would take longer than all else.
NOTHING_DRAWN = """
from icl_curriculum import figures
from icl_curriculum.figures import drawing
from icl_curriculum.pages import page
figures.draw_all = lambda directory, **options: []
drawing._drawn = lambda *about: []
page.write_report = lambda compared: compared.path
"""


def test_every_python_block_runs(folder: Path, quick_python: Path) -> None:
    # In one process, each with names of its own; what is a file is imported.
    together = NOTHING_DRAWN
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
    assert ("icl", "check", "cubic", "--plugin", "cubic.py") in ICL
    tested = execute([str(quick_python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cubic.py"], folder)
    assert re.search(r"^\d+ passed", tested, re.MULTILINE)


EXTENDING = PAGES[DOCS / "extending.md"]


def test_the_entry_points_on_the_page_are_those_that_are_read() -> None:
    (body,) = (body for body in blocks("toml") if "[project" in body)
    (group,) = tomllib.loads(body)["project"]["entry-points"]
    assert group in {registry.group for registry in KINDS.values()}
    likewise = re.search(r"\(likewise ([^)]*)\)", EXTENDING)
    assert likewise is not None
    named = {f"icl_curriculum{suffix}" for suffix in re.findall(r"`(\.\w+)`", likewise[1])}
    assert {registry.group for registry in KINDS.values()} == named | {group}


def test_the_table_of_kinds_names_what_the_package_exports() -> None:
    rows = re.findall(r"^\| .+? \| `(\w+)` \| `(register_\w+)` \|", EXTENDING, re.MULTILINE)
    assert len(rows) == len(KINDS)
    assert all(hasattr(icl_curriculum, name) for row in rows for name in row)
    # And a whole example of each.
    assert all(f"@{decorator}(" in "".join(blocks("python")) for _, decorator in rows)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pictures_and_links_of_a_page_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[path]):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        assert not heading or heading in headings(page), target


def headings(path: Path) -> set[str]:
    """What a link to a heading of a page ends with."""
    text = re.sub(r"^```.*?^```", "", PAGES[path], flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    plain = (re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower() for title in titles)
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in plain}


def test_the_pictures_are_shown() -> None:
    shown = {Path(target).name for text in PAGES.values() for target in re.findall(r"\]\(([^)]+\.png)\)", text)}
    assert {path.name for path in DOCS.glob("*.png")} <= shown


def test_every_page_is_in_the_navigation() -> None:
    """Which the site, built strictly, asks for, too; the commands of a page that isn't would not be run."""
    assert set(DOCS.rglob("*.md")) == set(PAGES) - {ROOT / "README.md"}


def test_every_public_name_is_in_the_reference() -> None:
    named = {name for path in PAGES for name in re.findall(r"^::: icl_curriculum\.(\w+)$", PAGES[path], re.MULTILINE)}
    assert set(icl_curriculum.__all__) - {"__version__"} <= named


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
    options = shlex.join(overriding({**TOY, "function_classes": '["linear"]'}.items()))
    printed = execute(["make", "experiment", "NAME=smoke", f"ARGS={options}"], checkout)
    assert "Normalized error" in printed
    assert (checkout / "results/smoke/figures/error_by_examples.png").is_file()


def test_make_without_a_name_says_what_is_missing() -> None:
    done = subprocess.run(["make", "-o", ".venv/.ready", "experiment"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "make experiment NAME=mixed" in done.stderr


def test_the_table_on_the_page_is_that_of_the_committed_example() -> None:
    from rich.console import Console

    from icl_curriculum.cli.error_tables import error_table

    printed = io.StringIO()
    Console(file=printed, width=80).print(error_table(ROOT / "results/example_mixed"))
    lines = [line.rstrip() for line in printed.getvalue().splitlines()]
    assert len(lines) >= 6
    assert all(line in PAGES[DOCS / "experiments.md"] for line in lines)


def test_what_takes_longer_is_run_by_ci() -> None:
    assert len(LEFT_TO_CI) == 2
    run_by_ci = (ROOT / ".ci/run").read_text().splitlines()
    assert {"make verify", "make docs", "make test-cluster"} <= set(run_by_ci)
    assert len(ON_A_CLUSTER) == 3
    assert LEFT_TO_CI[1] in [("icl", *shlex.split(line)[1:]) for line in run_by_ci if line.startswith(".venv/bin/icl")]


def test_generated_tables_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("tables", DOCS / "site/tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    shown = [match for text in PAGES.values() for match in tables.MARKED.finditer(text)]
    assert {match[1] for match in shown} == set(tables.TABLES)
    for match in shown:
        assert match[0] == tables.renewed(match), f"python docs/site/tables.py writes {match[1]!r} anew"


def test_every_class_is_in_the_short_table_of_the_catalogue() -> None:
    page = PAGES[DOCS / "catalogue.md"]
    listed = page[: page.index("All take")]
    names = [name for name in FUNCTION_CLASSES.names() if FUNCTION_CLASSES.origin(name) == BUILT_IN]
    assert all(f"`{name}`" in listed for name in names)


def test_every_experiment_is_in_the_readme_and_on_its_page() -> None:
    extended = {"base", "garg", "published"}
    names = {path.stem for path in (ROOT / "experiments").glob("*.toml")} - extended
    for text in (README, PAGES[DOCS / "experiments.md"]):
        assert all(f"`{name}`" in text for name in names)


def test_experiments_that_the_text_names_are_there() -> None:
    named = {name for text in PAGES.values() for name in re.findall(r"make experiment NAME=(\w+)", text)}
    assert {"mixed", "curricula", "curricula_hermite", "curricula_inputs", "curricula_reference"} <= named
    assert named <= set(experiment_names())


def test_the_readme_is_a_screen_or_two() -> None:
    assert len(README.splitlines()) <= 150


def test_the_tree_on_the_page_shows_every_room() -> None:
    """A line per room, and a room imports only what stands below it."""
    (tree,) = (body for body in blocks("text", EXTENDING) if body.startswith("icl_curriculum/"))
    rooms = [line.split()[0].removesuffix("/").removesuffix(".py") for line in tree.splitlines()[1:]]
    assert sorted(rooms) == sorted(set(FLOOR) - {"__main__"})
    floors = [FLOOR[room] for room in rooms]
    assert floors == sorted(floors, reverse=True)
