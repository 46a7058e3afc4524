"""The package as it is shipped."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from places import ROOT

PACKAGE = ROOT / "icl_curriculum"


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
