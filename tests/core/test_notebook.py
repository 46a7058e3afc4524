"""Progress where Python is used by hand: in a notebook, for which a stand-in takes IPython's place, and as lines."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from icl_curriculum.core import notebook
from icl_curriculum.core.notebook import ProgressBoard, in_notebook


class Cell:
    """What IPython shows below a cell."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.places = 0

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.places += 1
        self.update(data, raw=raw)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.shown.append(data["text/plain"])


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A notebook's kernel."""
    found = Cell()
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())
    ipython.display = SimpleNamespace(display=found.display)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setattr(notebook, "NOTEBOOK_EVERY", 0.0)
    return found


def test_a_notebook_shows_the_lines_in_one_place(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    board = ProgressBoard()
    board.set("one", "training 1/2")
    board.set("two", "starting")
    board.set("one", "done")
    assert cell.shown == ["one: training 1/2", "one: training 1/2\ntwo: starting", "one: done\ntwo: starting"]
    assert cell.places == 1
    assert capsys.readouterr() == ("", "")


def test_a_notebook_shows_nothing_where_that_is_asked_for(cell: Cell) -> None:
    ProgressBoard(False).set("one", "training", now=True)
    assert cell.shown == []


def test_elsewhere_lines_are_written_if_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    ProgressBoard().set("one", "training", now=True)
    assert capsys.readouterr() == ("", "")
    board = ProgressBoard(True)
    board.set("one", "training 1/9")
    board.set("two", "starting")
    board.set("one", "training 2/9", now=True)
    board.set("two", "done", now=True)
    assert capsys.readouterr() == ("", "one: training 2/9\ntwo: starting\ntwo: done\n")


def test_a_terminal_of_ipython_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython: Any = ModuleType("IPython")
    ipython.get_ipython = lambda: SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert not in_notebook()
