"""The package as it is shipped and the house it keeps."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "icl_curriculum"

# Floors of the house: a room imports only rooms of its own floor or below; folders are one room.
FLOORS = [
    {
        "streams",
        "prompts",
        "registry",
        "statistics",
        "prefix_regression",
        "provenance",
        "plugin_files",
        "contracts",
        "files",
        "fields",
        "computing",
        "flops",
        "labels",
        "wide_tables",
    },
    {"inputs", "function_classes", "models", "baselines", "tasks", "shifts", "curricula"},
    {"config", "experiment", "mistakes", "experiment_files", "component_text"},
    {"results", "result_tables", "training", "evaluation", "testing", "growing_table", "live_logging", "comparison"},
    {"grids", "trained_runs", "recording", "final_evaluation", "checkpoints", "execution", "figures"},
    {"launch", "checking", "verify", "bench", "evaluating", "scoring", "report"},
    {"options", "score_tables", "summaries", "display", "progress", "endings", "listing", "cli"},
]  # fmt: skip
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, wherever in the file the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "icl_curriculum":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("icl_curriculum."):
            found.add(room_of(str(node.module)))
        elif isinstance(node, ast.Import):
            found |= {room_of(alias.name) for alias in node.names if alias.name.startswith("icl_curriculum.")}
    return found


FILES = [path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.stem.startswith("__")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_point_down_the_house(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    above = {other for other in imports(path) if FLOOR[other] > FLOOR[room]}
    assert not above, f"{room} imports {above} from a floor above"


def test_rooms_of_one_floor_do_not_go_in_circles() -> None:
    arrows = {room: set[str]() for room in FLOOR}
    for path in FILES:
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        arrows[room] |= imports(path) - {room}
    open_rooms = dict(arrows)
    while open_rooms:
        leaves = [room for room, targets in open_rooms.items() if not targets & set(open_rooms)]
        assert leaves, f"imports go in a circle among {sorted(open_rooms)}"
        for room in leaves:
            del open_rooms[room]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("icl_curriculum", "experiments", "pyproject.toml", "README.md"):
        (source / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_holds_every_module_and_every_experiment(wheel_names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.py")}
    experiments = {f"icl_curriculum/experiments/{path.name}" for path in (ROOT / "experiments").glob("*.toml")}
    assert modules | experiments <= wheel_names


def test_constraints_pin_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["browser"]]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines}
    assert {requirement.split(">=")[0].lower() for requirement in wanted} <= pinned
    assert "torch==2.13.0" in lines


def test_the_top_level_is_bare() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    top = {name.split("/")[0] for name in listed.splitlines()}
    files = {"pyproject.toml", "README.md", "Makefile", "constraints.txt", ".gitignore"}
    assert top <= files | {"icl_curriculum", "experiments", "results", "tests", "docs", ".ci"}


def test_the_browser_is_left_to_a_target_of_its_own() -> None:
    """`make test` needs no Chromium, and says nothing of the tests that do; CI runs both."""
    from conftest import collect_ignore

    assert collect_ignore == ["browser"]
    assert "make test-browser" in (ROOT / ".ci/run").read_text().splitlines()


def test_without_chromium_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    script = ROOT / "tests/browser/chromium.py"
    for variables, said in (
        ({"PATH": str(tmp_path)}, "no Chromium on PATH (chromium, chromium-browser, google-chrome)"),
        ({"PATH": str(tmp_path), "CHROMIUM": "nowhere"}, "CHROMIUM=nowhere is no program"),
    ):
        done = subprocess.run([sys.executable, script], env=variables, capture_output=True, text=True)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(said)
        assert "apt-get install chromium" in line
    (tmp_path / "chromium-browser").touch(mode=0o755)
    done = subprocess.run([sys.executable, script], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
