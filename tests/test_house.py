"""The house: which rooms there are, on which floor, and that imports only point down."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "icl_curriculum"

# From the ground up. A folder, or a file beside the folders, is one room; it imports rooms of lower floors alone.
FLOORS = [
    {"core"},
    {"observations"},
    {"function_classes", "inputs", "launchers", "models", "curricula", "results"},
    {"tasks", "baselines", "figures"},
    {"shifts", "metrics", "pages"},
    {"evaluation"},
    {"config"},
    {"training"},
    {"runs"},
    {"testing", "verify"},
    {"bench", "scoring"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]
#: Functions of the package, which no room may hide.
FUNCTIONS = {"run", "status", "score", "evaluate", "report", "compare", "plot", "check", "heads"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in the file the import stands."""
    known = {module_of(file) for file in FILES}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("icl_curriculum."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "icl_curriculum":
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in whole)


def room_of(module: str) -> str:
    return module.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_point_down_the_house(path: Path) -> None:
    room = room_of(module_of(path))
    others = {room_of(module) for module in imported(path) if module != "icl_curriculum"} - {room}
    above = {other for other in others if FLOOR[other] >= FLOOR[room]}
    assert not above, f"{room} imports {above} from its own floor or from one above"


def test_files_of_a_room_do_not_go_in_circles() -> None:
    """A package's own file stands for what it gathers, so imports of it by its members are left out."""
    arrows = {module_of(path): set(imported(path)) for path in FILES if path.name != "__init__.py"}
    waiting = {module: targets & set(arrows) for module, targets in arrows.items()}
    while waiting:
        leaves = [module for module, targets in waiting.items() if not targets & set(waiting)]
        assert leaves, f"imports go in a circle among {sorted(waiting)}"
        for module in leaves:
            del waiting[module]


def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    rooms = {room_of(module_of(path)) for path in FILES}
    assert rooms == set(FLOOR)
    assert not rooms & FUNCTIONS


def test_tests_lie_where_their_subjects_lie() -> None:
    """Folders of tests are folders of the package, but for what tests share and what needs a browser, R or SLURM."""
    tests = ROOT / "tests"
    apart = {Path("browser"), Path("readers"), Path("cluster")}
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - apart
    lacking = [str(folder) for folder in folders if not (PACKAGE / folder).is_dir()]
    assert not lacking, f"no such room: {lacking}"


def test_a_class_name_stands_once() -> None:
    """A name says what of: two public classes of one name in two rooms are taken for each other."""
    defined: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined.setdefault(node.name, []).append(module_of(path))
    assert {name: modules for name, modules in defined.items() if len(modules) > 1} == {}
