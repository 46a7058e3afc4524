"""Shapes in the package's signatures are checked whenever the tests run.

Imports are late: of several pytest processes the first only shares out the tests, and needs nothing to do it.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from finished_runs import Finished
    from tiny_runs import Icl

# Left to `make test-browser`, as they need Chromium, to `make test-readers`, which needs R, and to `make test-cluster`.
collect_ignore = ["browser", "readers", "cluster"]


def pytest_sessionstart(session: pytest.Session) -> None:
    # "no" also in pytest-xdist's workers.
    if getattr(session.config.option, "dist", "no") == "no":
        # pytest-xdist's workers get it with theirs; without it what is printed is as wide as in a pipe.
        os.environ.pop("COLUMNS", None)
        import torch
        import typer.main
        from type_checker import check_shapes

        # Typer reads the signatures of all commands anew at every call, which is most of what a mistake takes.
        typer.main.get_command = functools.cache(typer.main.get_command)
        # The power stays on while the tests run. A disk takes milliseconds for each of the thousands of flushes.
        os.fsync = lambda fd: None
        # Before anything imports the package.
        check_shapes("icl_curriculum")
        torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would begin with the files of most tests.
    config.option.loadscopereorder = False
    # Until `pytest_collection_finish`: whatever is imported lives to the end.
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Nor is it looked through again whenever a test leaves enough behind, which would take longer than most tests.
    gc.freeze()
    # What a test leaves behind is looked for seldom: nearly all of it goes without being looked for.
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


#: The files that take longest. Begun first, they don't keep one core busy while the others are through.
SLOW = (
    "test_killed", "test_docs", "test_cli", "test_plugins", "test_conformity", "test_launch", "test_figures",
    "test_evaluate_command", "test_full_disk", "test_mistaken_tables", "test_display",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


@pytest.fixture
def icl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Icl:
    """The console script's entry point in this process. Neither it nor its workers import torch anew."""
    from icl_curriculum.cli import main

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        if arguments[:1] == ("run",):
            monkeypatch.setattr(sys, "executable", str(request.getfixturevalue("quick_python")))
        monkeypatch.setattr(sys, "argv", ["icl", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture(scope="session")
def quick_python() -> Iterator[Path]:
    """An executable that stands for Python in commands of a process of their own, with torch imported already."""
    from quick_python import started

    with tempfile.TemporaryDirectory(prefix="icl-") as folder, started(Path(folder)) as executable:
        yield executable


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment ends without figures and report, which take longer than all its runs."""
    monkeypatch.setattr("icl_curriculum.runs.experiment.figures.draw_all", lambda directory, **options: [])
    monkeypatch.setattr("icl_curriculum.runs.experiment.report_on", lambda directory: None)


@pytest.fixture
def unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages have no pictures, which take most of their time: for tests of what else is said."""
    from fewer_pictures import leave_out_pictures

    leave_out_pictures(monkeypatch)


@pytest.fixture
def two_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment ends with two or three figures, and a page without pictures."""
    from fewer_pictures import draw_two_figures

    draw_two_figures(monkeypatch)


@pytest.fixture
def fresh_registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever a test registers or imports is forgotten when it ends."""
    from icl_curriculum.core.registry import KINDS

    for registry in KINDS.values():
        importlib.import_module(registry._module)  # so that the copy holds what is built in
        monkeypatch.setattr(registry, "_classes", dict(registry._classes))
        monkeypatch.setattr(registry, "_origins", dict(registry._origins))
    imported = set(sys.modules)
    yield
    for name in set(sys.modules) - imported:
        if name.startswith(("icl_curriculum_plugin_", "installed_")):
            del sys.modules[name]


#: What the conformity check draws in a test, by its modules: gross faults show as well as with what `make check` draws.
FEWER = {
    "function_classes.resolving": {"BUDGET": 1 << 24},
    "function_classes.distribution": {"BATCHES": 512, "INPUT_BATCHES": 128},
    "function_classes.answered": {"PROMPTS": 512, "FEW": 32},
    "function_classes.reference": {"MEMBERS": 1 << 12, "PROMPTS_OF_BOUND": 32},
    "inputs.moments": {"PROMPTS": 1 << 12},
    "shifts.moments": {"ROUNDS": (1, 4)},
}


@pytest.fixture
def fewer_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """All rules of the conformity check, on fewer prompts than `make check` draws."""
    for module, sizes in FEWER.items():
        for name, size in sizes.items():
            monkeypatch.setattr(f"icl_curriculum.testing.{module}.{name}", size)


@pytest.fixture
def misleading(fresh_registries: None) -> ModuleType:
    """The components that mislead, each beside one that is right, registered for one test."""
    from places import SUPPORT

    from icl_curriculum.core.plugins import load_plugin

    digest = load_plugin(SUPPORT / "misleading.py")
    return next(module for name, module in sys.modules.items() if name.endswith(digest))


@pytest.fixture
def own_prompts(fresh_registries: None) -> ModuleType:
    """Classes that choose inputs given the function, make them of earlier values, repeat prompts, or have memory."""
    from places import SUPPORT

    from icl_curriculum.core.plugins import load_plugin

    digest = load_plugin(SUPPORT / "own_prompts.py")
    return next(module for name, module in sys.modules.items() if name.endswith(digest))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The mixed curriculum: linear for six steps, then linear and quadratic; rows at every fifth and at the last."""
    from finished_runs import FINISHED, executed

    return executed(tmp_path_factory.mktemp("finished"), FINISHED)


@pytest.fixture(scope="module")
def per_prompt(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    from finished_runs import PER_PROMPT, executed

    return executed(tmp_path_factory.mktemp("per_prompt"), PER_PROMPT)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Finished:
    """The finished run in a place where it may be damaged."""
    shutil.copytree(finished.results, tmp_path / "results")
    return dataclasses.replace(finished, results=tmp_path / "results")


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run killed at step 8, with a checkpoint at step 5."""
    from finished_runs import Finished
    from tiny_runs import Killed, killed_at, tiny_run

    from icl_curriculum.runs.execution import execute

    run, results = tiny_run(), tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Killed):
        execute(run, results, report=killed_at("training", 8))
    return Finished(run, results, [])


@pytest.fixture
def half(interrupted: Finished, tmp_path: Path) -> Finished:
    """The interrupted run in a place where it may be damaged."""
    shutil.copytree(interrupted.results, tmp_path / "results")
    return dataclasses.replace(interrupted, results=tmp_path / "results")
