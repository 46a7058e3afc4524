"""Extras: what they are called, how they are installed, and whether they are there."""

from __future__ import annotations

import doctest
import importlib.util
import json
import tomllib
from pathlib import Path

import pytest
from places import ROOT
from tiny_runs import Icl

from icl_curriculum.core import extras
from icl_curriculum.core.extras import EXTRAS, is_installed
from icl_curriculum.core.registry import KINDS

INSTALL = "pip install 'icl_curriculum[transformers]'"


def test_the_examples_in_the_docstrings() -> None:
    found = doctest.testmod(extras)
    assert (bool(found.attempted), found.failed) == (True, 0)


def test_each_is_one_of_the_package_s_and_installs_what_is_looked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {name: [item.split(">=")[0] for item in project[name]] for name in EXTRAS} == {
        name: [extra.package] for name, extra in EXTRAS.items()
    }
    # Whatever else is optional is for those who work on the package.
    assert set(project) - set(EXTRAS) == {"browser", "docs", "test"}


def test_components_name_extras_that_there_are() -> None:
    needed = {
        name: cls.needs_extra
        for registry in KINDS.values()
        for name, (cls, _) in registry.tables().items()
        if cls.needs_extra
    }
    assert needed == {"huggingface": "transformers", "ray": "ray"}


def test_a_folder_of_the_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("some_package")
    assert not is_installed("no_such_package")
    assert is_installed("torch")


@pytest.mark.parametrize("there", [True, False])
def test_lists_say_how_to_get_what_is_wanting_and_whether_it_is_here(
    there: bool, icl: Icl, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.find_spec("torch")
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: spec if there else None)  # type: ignore[attr-defined]
    words = "installed here" if there else "not installed here"
    code, listed, _ = icl("list", "models")
    assert code == 0
    (line,) = [line for line in listed.splitlines() if "huggingface" in line]
    assert line.endswith(f"Needs {INSTALL} ({words}).")
    assert line in icl("list")[1].splitlines()
    assert listed.count("pip install") == 1
    rows = {row["name"]: row for row in json.loads(icl("list", "models", "--json")[1])["components"]}
    assert (rows["huggingface"]["needs"], rows["huggingface"]["installed"]) == (INSTALL, there)
    assert INSTALL in rows["huggingface"]["what"]
    assert "needs" not in rows["transformer"]


def test_extras_are_listed_by_themselves_and_with_all_else(icl: Icl) -> None:
    lines = icl("list", "extras")[1].splitlines()
    assert lines[0] == "extras"
    for name, line in zip(EXTRAS, lines[1:], strict=False):
        assert line.split()[0] == name
        assert line.endswith(f"pip install 'icl_curriculum[{name}]'")
    assert lines[1] in icl("list")[1].splitlines()
