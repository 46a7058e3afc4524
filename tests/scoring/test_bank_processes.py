"""``icl evaluate --jobs``: banks that several processes answer make the tables that one makes."""

from __future__ import annotations

import functools
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
from finished_runs import Finished
from places import EVERY_KIND
from tiny_runs import Icl

import icl_curriculum
from icl_curriculum import figures
from icl_curriculum.core.contracts import ComponentFailed
from icl_curriculum.core.errors import RunFailed, UserError
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import Linear
from icl_curriculum.scoring import asked_run, bank_processes

SHIFTS = ("--shift", "label_noise", "--shift", "scaled_inputs/3")


@pytest.fixture
def icl(icl: Icl, monkeypatch: pytest.MonkeyPatch, fresh_registries: None) -> Icl:
    """``icl evaluate`` without its figures."""
    for name in ("draw_heat_map", "draw_prediction_differences"):
        monkeypatch.setattr(figures, name, lambda output: None)
    return functools.partial(icl, "evaluate")


def in_a_thread(jobs: int, context: Any, initializer: Callable[..., None], arguments: Any) -> ThreadPoolExecutor:
    assert jobs == 2
    return ThreadPoolExecutor(1, initializer=initializer, initargs=arguments)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for the processes, which take seconds to start. The last bank is heard of first."""
    monkeypatch.setattr(bank_processes, "ProcessPoolExecutor", in_a_thread)
    monkeypatch.setattr(bank_processes, "as_completed", lambda pending: reversed([*pending]))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".csv", ".json")}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_leave_the_files_that_one_leaves(
    icl: Icl, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those that are forked have imported torch already.
    monkeypatch.setattr(bank_processes, "get_context", lambda method: multiprocessing.get_context("fork"))
    options = (
        "--plugin",
        EVERY_KIND,
        "--function-class",
        "halved",
        "--function-class",
        "linear",
        "--predictions",
        "csv",
    )
    for jobs, into in ((1, "one"), (2, "two")):
        code, _, err = icl(finished.path, *options, *SHIFTS[:2], "--jobs", jobs, "--output", tmp_path / into)
        assert code == 0, err
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert {*files(tmp_path / "two")} == {
        "evaluation.csv", "prediction_differences.csv", "predictions.csv", "manifest.json",
    }  # fmt: skip


@pytest.mark.usefixtures("one_thread")
def test_rows_stand_in_the_order_of_the_grid_whoever_answers_first(
    icl: Icl, finished: Finished, tmp_path: Path
) -> None:
    assert icl(finished.path, *SHIFTS, "--jobs", "2", "--adapt", "steps=1", "--output", tmp_path / "two")[0] == 0
    assert icl(finished.path, *SHIFTS, "--adapt", "steps=1", "--output", tmp_path / "one")[0] == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.usefixtures("one_thread")
def test_a_bank_that_fails_is_named_and_the_others_are_kept(
    icl: Icl, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = Bank.draw

    def broken(bank: Bank) -> Any:
        if bank.shift_id == "scaled_inputs/3":
            raise ComponentFailed("it is broken")
        return draw(bank)

    monkeypatch.setattr(bank_processes, "as_completed", list)
    monkeypatch.setattr(Bank, "draw", broken)
    code, _, err = icl(finished.path, *SHIFTS, "--jobs", "2", "--output", tmp_path)
    assert code == 1
    assert err.splitlines()[-1] == (
        "failed: linear/gaussian/scaled_inputs/3: it is broken; 2 banks answered before are kept in "
        f"{tmp_path / 'evaluation.csv'}"
    )
    assert [*json.loads((tmp_path / "manifest.json").read_text())["banks"]] == [
        "linear/gaussian/none", "linear/gaussian/label_noise/0.5",
    ]  # fmt: skip


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_is_exchanged_while_it_is_asked_is_not_asked(
    copied: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asked_run.AskedRun, "found", property(lambda asked: (object(),)))
    with pytest.raises(UserError) as caught:
        icl_curriculum.evaluate(copied.path, shifts="label_noise", jobs=2, output=tmp_path)
    assert str(caught.value) == f"{copied.path}, or a plugin, was changed while it was asked; ask again"


def test_a_process_that_was_killed_is_told(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise BrokenProcessPool("abruptly")

    monkeypatch.setattr(bank_processes, "ProcessPoolExecutor", in_a_thread)
    monkeypatch.setattr(bank_processes, "as_completed", broken)
    with pytest.raises(RunFailed) as caught:
        icl_curriculum.evaluate(finished.path, shifts="label_noise", jobs=2, output=tmp_path)
    assert str(caught.value) == (
        "one of the processes that answer banks was ended, as the system does when memory runs out; lower jobs or "
        "n_prompts"
    )


def test_a_component_that_no_other_process_finds_is_refused(finished: Finished, tmp_path: Path) -> None:
    class Mine(Linear):
        """Defined in a test."""

    with pytest.raises(UserError) as caught:
        icl_curriculum.evaluate(finished.path, function_classes=[Mine()], jobs=2, output=tmp_path)
    assert str(caught.value) == (
        f"'linear' is defined in {__name__}, which worker processes do not see; name it, and the file that defines it "
        "in plugins; or ask without jobs"
    )
