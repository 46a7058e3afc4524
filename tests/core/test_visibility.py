"""Waiting for paths that another machine has made."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from icl_curriculum.core import visibility
from icl_curriculum.core.visibility import wait_until_visible


def test_what_is_there_is_not_waited_for(tmp_path: Path) -> None:
    told = list[float]()
    assert wait_until_visible(tmp_path, seconds=10, tell=told.append)
    assert told == []


def test_what_comes_is_waited_for_with_its_folders(tmp_path: Path) -> None:
    path, told = tmp_path / "units/mixed-seed0/unit.toml", list[float]()

    def make() -> None:
        path.parent.mkdir(parents=True)
        path.touch()

    later = threading.Timer(0.1, make)
    later.start()
    assert wait_until_visible(path, seconds=10, tell=told.append)
    later.join()
    assert told[0] < 0.05
    assert told == sorted(told)
    assert told[-1] < 5


def test_what_does_not_come_is_given_up(tmp_path: Path) -> None:
    began, told = time.monotonic(), list[float]()
    assert not wait_until_visible(tmp_path / "nothing", seconds=0.1, tell=told.append)
    assert 0.1 <= time.monotonic() - began < 5
    assert len(told) >= 2
    assert not wait_until_visible(tmp_path / "nothing", seconds=0, tell=told.append)


def test_what_a_client_remembers_to_be_missing_is_seen_once_the_folder_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a network's file system answers from memory until it is made to ask its server."""
    path, listed = tmp_path / "run/manifest.json", list[str]()
    path.parent.mkdir()
    path.touch()
    lexists, listdir = os.path.lexists, os.listdir

    def remembered(asked: Path) -> bool:
        return bool(listed) and lexists(asked)

    def asks(folder: int) -> list[str]:
        listed.append("run")
        return listdir(folder)

    monkeypatch.setattr(os.path, "lexists", remembered)
    monkeypatch.setattr(os, "listdir", asks)
    assert wait_until_visible(path, seconds=0, tell=lambda waited: None)


def test_waits_grow_longer_but_not_above_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, slept = [0.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", sleep)
    assert not wait_until_visible(tmp_path / "nothing", seconds=30, tell=lambda waited: None)
    assert slept[0] == visibility.FIRST
    assert max(slept) == visibility.LONGEST
    assert sum(slept) == pytest.approx(30)
