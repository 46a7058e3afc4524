"""Classes of a notebook: run again they replace themselves, edited they make another run."""

from __future__ import annotations

import importlib
import itertools
import linecache
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from plugin_folders import scaled

from icl_curriculum.core.errors import UserError
from icl_curriculum.core.interactive import is_interactive
from icl_curriculum.core.package_hashes import package_hash
from icl_curriculum.core.registry import FUNCTION_CLASSES

pytestmark = pytest.mark.usefixtures("fresh_registries")

#: A cell that defines a class, which uses what another cell defines.
CELL = scaled(imports="", factor="half(FACTOR)")
BEFORE = (
    "FACTOR = 6.0\n\n\ndef half(x):\n    return divided(x)\n\n\ndivided = lambda x: x / DIVISOR\n"
    "DIVISOR = 2.0\nunused = object()\n"
)
#: Of the cells, none of which has that of another's.
NUMBERS = itertools.count(1)


@pytest.fixture
def run_cell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Execute cells as a notebook does, in a ``__main__`` of its own, with or without their sources at hand."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)

    def run(*cells: str, known: bool = True) -> None:
        for cell in cells:
            name = f"<ipython-input-{next(NUMBERS)}>"
            if known:
                linecache.cache[name] = len(cell), None, cell.splitlines(keepends=True), name
            exec(compile(cell, name, "exec"), vars(main))

    return run


def hash_of(name: str = "scaled") -> str | None:
    return package_hash(FUNCTION_CLASSES.build(name))


def test_a_cell_that_is_run_again_replaces_its_class(run_cell: Callable[..., None]) -> None:
    run_cell(BEFORE, CELL)
    first, digest = FUNCTION_CLASSES.get("scaled"), hash_of()
    assert is_interactive(first)
    run_cell(CELL)
    assert FUNCTION_CLASSES.get("scaled") is not first
    assert hash_of() == digest
    # Another class is another matter.
    with pytest.raises(UserError, match="'scaled' is registered twice: in __main__ and in __main__"):
        run_cell(CELL.replace("class Scaled", "class Other"))


@pytest.mark.parametrize(
    ("cell", "old", "new"),
    [
        (CELL, "return torch", "return 2 * torch"),
        (CELL, "f(x) = c", "f(x) = C"),
        (BEFORE, "FACTOR = 6.0", "FACTOR = 6.5"),
        (BEFORE, "x / DIVISOR", "x / DIVISOR + 1"),
        (BEFORE, "DIVISOR = 2.0", "DIVISOR = [2.0, {'a': 3.0}]"),
    ],
    ids=["the class", "its docstring", "a constant", "a function", "what the function uses"],
)
def test_an_edit_of_what_a_class_is_made_of_makes_another_run(
    run_cell: Callable[..., None], cell: str, old: str, new: str
) -> None:
    run_cell(BEFORE, CELL)
    digest = hash_of()
    assert old in cell
    run_cell(*(each.replace(old, new) if each == cell else each for each in (BEFORE, CELL)))
    assert hash_of() != digest


def test_what_a_class_does_not_use_is_no_part_of_it(run_cell: Callable[..., None]) -> None:
    run_cell(BEFORE, CELL)
    digest = hash_of()
    run_cell(BEFORE.replace("unused = object()", "other = 4\n"), "\n\n" + CELL)
    assert hash_of() == digest


def test_what_a_class_inherits_in_a_notebook_is_part_of_it(run_cell: Callable[..., None]) -> None:
    """Also where it defines no method of its own."""
    heir = '@register_function_class("heir")\nclass Heir(Scaled):\n    """The same."""\n'
    run_cell(BEFORE, CELL, heir)
    digest = hash_of("heir")
    run_cell(CELL.replace("return torch", "return 2 * torch"), heir)
    assert hash_of("heir") != digest


@pytest.mark.parametrize(
    ("before", "known", "message"),
    [
        (BEFORE, False, r"Scaled is defined in a notebook or at a prompt, and the source of Scaled cannot be had"),
        (
            BEFORE.replace("FACTOR = 6.0", "class Six:\n    pass\n\n\nFACTOR = Six()"), True,
            r"the content of FACTOR, a Six, cannot be told, so that an edit would go unnoticed; write it to a file",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_told_apart_is_refused(
    run_cell: Callable[..., None], before: str, known: bool, message: str
) -> None:
    run_cell(before, CELL, known=known)
    with pytest.raises(UserError, match=message):
        hash_of()


def test_a_module_that_is_reloaded_replaces_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "installed_lab.py"
    file.write_text(scaled(imports="FACTOR = 3.0"))
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("installed_lab")
    first = FUNCTION_CLASSES.get("scaled")
    importlib.reload(module)
    assert FUNCTION_CLASSES.get("scaled") is not first
    file.write_text(scaled(imports="FACTOR = 3.0") + scaled(imports="FACTOR = 4.0"))
    del sys.modules["installed_lab"]
    FUNCTION_CLASSES._classes.pop("scaled")
    with pytest.raises(UserError, match="'scaled' is registered twice"):
        importlib.import_module("installed_lab")
