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
    assert code == 0, err
    rows = [line.split() for line in out.splitlines()]
    assert ["mixed-seed0", "re-evaluate", "evaluation.confidence"] in [row[:3] for row in rows]
    assert ["mixed-seed1", "train", "12", "96"] in [row[:4] for row in rows]
    assert "all together" in out
    assert "training.log_every is left as in" in err
    assert "nothing was trained or written" in err

    code, out, err = icl(*command, "--set", "training.clip=2.0")
    assert code == 2
    assert ["mixed-seed0", "refused", "training.clip"] in [line.split() for line in out.splitlines()]
    assert "needs --fresh" in err
    assert "another config; changed: training.clip" in err
    assert "nothing was trained" not in err

    (copied.path / "learning.csv").write_text("damaged")
    code, out, err = icl(*command)
    assert code == 1
    assert ["mixed-seed0", "damaged"] in [line.split()[:2] for line in out.splitlines()]
    assert "learning.csv is damaged" in err
    (copied.path / "learning.csv").write_bytes(before[copied.path / "learning.csv"])
    assert {path: path.read_bytes() for path in copied.results.rglob("*") if path.is_file()} == before


def test_the_command_says_what_it_evaluated_anew_and_what_it_left_as_recorded(
    icl: Icl, copied: Finished, tmp_path: Path, undrawn: None
) -> None:
    file = write_toml(tmp_path / "tiny.toml", tiny_values(FINISHED))
    command = ("run", file, "--results", copied.results, "--device", "cpu")
    code, _, err = icl(*command, "--set", "evaluation.confidence=0.5", "--set", "training.log_every=3")
    assert code == 0, err
    assert "trained before, evaluated anew (evaluation.confidence changed): mixed-seed0" in err
    assert "note: mixed: training.log_every is left as in" in err
    code, _, err = icl(*command, "--set", "evaluation.confidence=0.5")
    assert "already finished, kept: mixed-seed0" in err


def test_it_says_that_predictions_ask_kept_runs_too(copied: Finished, icl: Icl, tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    write_toml(file, tiny_values(FINISHED))
    command = ("run", file, "--results", copied.results, "--device", "cpu", "--dry-run")
    assert "asked once more" not in icl(*command)[2]
    code, out, err = icl(*command, "--predictions", "csv")
    assert code == 0
    assert "keep" in out
    assert "for --predictions csv, all runs are asked once more, those that are kept, too" in err
    assert not (copied.path / "predictions.csv").exists()
