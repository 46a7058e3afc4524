"""Experiments of thousands of seeds: what all seeds share is computed once, and what each has is looked up at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import Icl, tiny_values, write_toml

from icl_curriculum.cli.options import parse_seeds
from icl_curriculum.config.experiment import Run
from icl_curriculum.config.loading import load
from icl_curriculum.core.errors import UserError
from icl_curriculum.runs import launch as launching


class Begun(Exception):
    """The first run would start."""


def begin(*args: Any) -> None:
    raise Begun


@pytest.mark.parametrize("seeds", [10, 200])
def test_before_the_first_run_starts_no_seed_is_hashed_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: int
) -> None:
    runs = load(str(write_toml(tmp_path / "tiny.toml", tiny_values({"training.steps": 50_000}))), seeds=range(seeds))
    hashed = []
    real = Run.hash
    monkeypatch.setattr(Run, "hash", lambda run: hashed.append(run.name) or real(run))
    with pytest.raises(Begun):
        launching.launch(runs, tmp_path, jobs=0, report=lambda progress: None, started=begin)
    assert len(hashed) <= 2


def test_thirty_thousand_seeds_are_an_experiment(tmp_path: Path) -> None:
    file = write_toml(tmp_path / "tiny.toml", tiny_values({"seeds": list(range(30_000))}))
    runs = load(str(file))
    assert [run.seed for run in runs] == list(range(30_000))
    file = write_toml(tmp_path / "tiny.toml", tiny_values({"seeds": [*range(30_000), 17]}))
    with pytest.raises(UserError, match="seeds: 17 stands there twice"):
        load(str(file))


def test_seeds_from_one_to_another(icl: Icl) -> None:
    assert parse_seeds("3-6") == [3, 4, 5, 6]
    assert parse_seeds(" 0 - 1 ") == [0, 1]
    code, printed, _ = icl("show", "smoke", "--seeds", "7-9")
    assert code == 0
    assert [line.strip(" ,") for line in printed.split("seeds = [")[1].split("]")[0].split()] == ["7", "8", "9"]


@pytest.mark.parametrize("text", ["5-3", "1-", "-1", "1-2-3", "0-9999999999", "a-b", "1,2-3"])
def test_what_is_no_range(icl: Icl, text: str) -> None:
    code, _, complaint = icl("show", "smoke", f"--seeds={text}")
    assert code == 2
    assert complaint.startswith(f"error: --seeds {text}: expected non-negative whole numbers")
