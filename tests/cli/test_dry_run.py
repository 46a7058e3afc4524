"""``icl run NAME --dry-run``: a table of what would be done, the exit code of the real call, and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished_runs import FINISHED, Finished
from tiny_runs import Icl, tiny_values, write_toml


def test_it_says_what_would_be_done_and_does_nothing(
    icl: Icl, copied: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("icl_curriculum.runs.cost.SECONDS", 0.05)
    file = write_toml(tmp_path / "tiny.toml", tiny_values({**FINISHED, "seeds": [0, 1]}))
    before = {path: path.read_bytes() for path in copied.results.rglob("*") if path.is_file()}
    command = ("run", file, "--results", copied.results, "--device", "cpu", "--dry-run")

    code, out, err = icl(*command, "--set", "evaluation.confidence=0.5", "--set", "training.log_every=3")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert ["mixed-seed0", "re-evaluate", "evaluation.confidence"] in [row[:3] for row in rows]
    assert ["mixed-seed1", "train", "12", "96"] in [row[:4] for row in rows]
    assert "all together" in out
    assert "training.log_every is left as in" in out
    assert "nothing was trained or written" in out

    code, out, err = icl(*command, "--set", "training.clip=2.0")
    assert code == 2
    assert ["mixed-seed0", "refused", "training.clip"] in [line.split() for line in out.splitlines()]
    assert "needs --fresh" in out
    assert "another config; changed: training.clip" in err
    assert "nothing was trained" not in out

    (copied.path / "learning.csv").write_text("damaged")
    code, out, err = icl(*command)
    assert (code, err) == (1, "")
    assert "learning.csv is damaged" in out
    (copied.path / "learning.csv").write_bytes(before[copied.path / "learning.csv"])
    assert {path: path.read_bytes() for path in copied.results.rglob("*") if path.is_file()} == before


def test_the_command_says_what_it_evaluated_anew_and_what_it_left_as_recorded(
    icl: Icl, copied: Finished, tmp_path: Path, undrawn: None
) -> None:
    file = write_toml(tmp_path / "tiny.toml", tiny_values(FINISHED))
    command = ("run", file, "--results", copied.results, "--device", "cpu")
    code, out, err = icl(*command, "--set", "evaluation.confidence=0.5", "--set", "training.log_every=3")
    assert (code, err) == (0, "")
    assert "trained before, evaluated anew (evaluation.confidence changed): mixed-seed0" in out
    assert "note: mixed: training.log_every is left as in" in out
    code, out, _ = icl(*command, "--set", "evaluation.confidence=0.5")
    assert "already finished, kept: mixed-seed0" in out
