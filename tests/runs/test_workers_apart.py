"""Processes that the suite starts see the installed package, and nothing of the folder that one is in."""

from __future__ import annotations

import os
import subprocess
import sys
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import ModuleType

import pytest
from plugin_folders import scaled
from tiny_runs import tiny_run, tiny_values

from icl_curriculum.bench.children import in_children
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import build
from icl_curriculum.core.errors import UserError
from icl_curriculum.runs.pool import WorkerPool

#: Names that Python and the suite import, and the suite's own.
NAMES = ("random", "json", "numpy", "typing_extensions", "icl_curriculum/__init__", "pydantic/__init__")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that one is in, full of modules that must not be executed."""
    for name in NAMES:
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write(__name__)\nraise RuntimeError(__name__)\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_worker_imports_nothing_of_the_folder_that_one_is_in(hostile: Path) -> None:
    run = tiny_run({"training.steps": 2, "evaluation.shifts": [], "evaluation.baselines": ["zero"]})
    pool = WorkerPool(hostile / "results", "cpu", lambda _: None, lambda _: None, lambda _, failure: None)
    assert pool.execute([run], 1) == []
    assert (hostile / "results/tiny/mixed-seed0/model.safetensors").is_file()
    assert not (hostile / "executed").exists()


def test_neither_does_a_measuring_process(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []

    def start(process: SpawnProcess) -> None:
        command = [sys.executable, "-c", "import random; print(random.__file__)"]
        found.append(subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip())
        raise InterruptedError

    monkeypatch.setattr(SpawnProcess, "start", start)
    with pytest.raises(InterruptedError):
        in_children(print, [None])
    assert found == [str(Path(os.__file__).with_name("random.py"))]
    assert not (hostile / "executed").exists()
    assert "PYTHONSAFEPATH" not in os.environ


def test_nor_python_m(hostile: Path) -> None:
    # Python itself would execute a package of this name that lies where one is.
    (hostile / "icl_curriculum/__init__.py").unlink()
    (hostile / "icl_curriculum").rmdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    command = [sys.executable, "-m", "icl_curriculum", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (hostile / "executed").exists()


@pytest.mark.usefixtures("fresh_registries")
def test_what_is_typed_in_is_unknown_to_a_worker_which_is_said_before_it_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(scaled(imports="FACTOR = 3.0"), vars(main))
    run = Run(build(tiny_values({"function_classes": ["scaled"]}), source="tiny.toml"), "mixed", 0)
    pool = WorkerPool(tmp_path, "cpu", lambda _: None, lambda _: pytest.fail("started"), lambda _, failure: None)
    with pytest.raises(UserError, match="'scaled' is defined in __main__, which worker processes do not see"):
        pool.execute([run], 1)
