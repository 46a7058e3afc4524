"""Chromium, started once, and the page under test. Only `make test-browser` runs these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from chromium import chromium
from page import Open, opened
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent.parent


def stand_in(folder: Path) -> Path:
    """A page written by hand that keeps the conventions of a report."""
    for name in ("evaluation.csv", "learning.csv"):
        (folder / name).touch()
    return Path(shutil.copy(Path(__file__).with_name("stand_in.html"), folder / "report.html"))


#: Small runs of several variants, so that every kind of figure and table is there.
EXPERIMENT = """
extends = "smoke.toml"
description = "Does the page show everything?"
seeds = [0, 1]
[evaluation]
shifts = ["skewed", { name = "scaled_inputs", factor = 2.0 }]
[variants]
single_linear = { curriculum.function_classes = { name = "single", only = "linear" } }
sequential = { curriculum.function_classes = "sequential" }
a_variant_with_a_name_that_is_longer_than_most_are_in_any_experiment = { curriculum.function_classes = "mixed" }
"""


def written_report(folder: Path) -> Path:
    """What `icl run` writes of an experiment of several variants."""
    (folder / "page.toml").write_text(EXPERIMENT)
    command = [sys.executable, "-m", "icl_curriculum", "run", str(folder / "page.toml"), "--results", str(folder)]
    subprocess.run(command, check=True)
    return folder / "page" / "report.html"


make_report = written_report


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the page under test."""
    return make_report(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    # Without the sandbox (playwright's default), which neither root nor most containers can have; the pages are our
    # own. The rule for names keeps even what is no request, such as looking up a host in advance, on this machine.
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--host-resolver-rules=MAP * ~NOTFOUND"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def open_page(browser: Browser) -> Open:
    """`with open_page(path, width=380, scheme="dark") as view:`."""
    return partial(opened, browser)


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the folder that the variable SCREENSHOTS names, or a temporary one."""
    named = os.environ.get("SCREENSHOTS")
    return Path(named) if named else tmp_path_factory.mktemp("screenshots")
