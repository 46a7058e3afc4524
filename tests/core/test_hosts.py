"""Processes and machines told apart: ended ones, those that have another's id, and those that cannot be seen."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
from quick_python import fork

from icl_curriculum.core import hosts
from icl_curriculum.core.hosts import is_running, machine_token, this_process


def test_this_process_runs_and_one_of_its_id_that_began_at_another_time_does_not() -> None:
    me = this_process()
    assert is_running(me) is True
    assert is_running(dataclasses.replace(me, started=str(int(me.started) - 1))) is False


def test_a_process_that_has_ended_does_not_run_though_nobody_has_asked_how_it_ended() -> None:
    reading, writing = os.pipe()
    if (child := fork()) == 0:
        os.write(writing, this_process().started.encode())
        os._exit(0)
    began = os.read(reading, 100).decode()
    process = dataclasses.replace(this_process(), pid=child, started=began)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert is_running(process) is False
    os.waitpid(child, 0)
    assert is_running(process) is False


def test_where_the_system_tells_no_beginnings_nothing_is_known_of_a_process_that_has_the_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS, or of another user's process on a machine that hides them."""
    me = this_process()
    assert is_running(dataclasses.replace(me, started="")) is None
    monkeypatch.setattr(hosts, "_stat", lambda pid: [])
    assert is_running(me) is None
    assert is_running(dataclasses.replace(me, pid=2**22 + 1)) is False


@pytest.mark.parametrize("pid", [2**100, 2**22 + 1])
def test_an_id_that_no_process_has_runs_nothing(pid: int) -> None:
    assert is_running(dataclasses.replace(this_process(), pid=pid)) is False


def test_another_machine_has_another_token(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = machine_token()
    assert mine == machine_token()
    monkeypatch.setattr("platform.node", lambda: "node7")
    assert machine_token() != mine
    assert len(machine_token()) == 8


def test_where_there_is_no_proc_a_machine_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(os, "readlink", missing)
    hosts._boot.cache_clear()
    try:
        me = this_process()
    finally:
        hosts._boot.cache_clear()
    assert (me.boot, me.namespace, me.started) == ("", "", "")
    assert me.kernel == me.host
    assert me.pid == os.getpid()
