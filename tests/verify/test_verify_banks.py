"""``icl verify``: recorded banks notice a changed generator."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from places import ROOT
from tiny_runs import Icl
from verifying import outcomes

from icl_curriculum import evaluation
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes import Linear, Quadratic
from icl_curriculum.verify import CheckOutcome, banks, cases
from icl_curriculum.verify.record import main as record_main
from icl_curriculum.verify.record import record

RECORD = "python -m icl_curriculum.verify.record"
CHANGED = f"the generator has changed: raise BANK_VERSION in evaluation/banks.py and record anew with {RECORD}"


def test_the_record_is_complete_and_ships_with_the_package() -> None:
    golden = banks.read()
    assert golden["bank_version"] == evaluation.BANK_VERSION
    assert {name: set(row) for name, row in golden["banks"].items()} == {
        name: set(row) for name, row in banks.banks().items()
    }
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(banks.GOLDEN.match(pattern) for pattern in setuptools["package-data"]["icl_curriculum.verify"])


def test_a_changed_generator_fails(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Quadratic.sample
    monkeypatch.setattr(Quadratic, "sample", lambda *args: {"w": sample(*args)["w"].flip(0)})
    code, out, _ = icl("verify", "banks")
    assert code == 1
    lines = [line for line in out.splitlines() if line.startswith("    failed")]
    assert len(lines) == len(banks.read()["banks"]["quadratic, d = 5"]) - 1  # other_class is linear
    pattern = rf"    failed \w+ +\w{{16}}, expected \w{{16}} \(golden_banks.json\); {re.escape(CHANGED)}"
    assert all(re.fullmatch(pattern, line) for line in lines)


def shaken(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> CheckOutcome:
    """What the check of the linear class's bank says where its labels come out otherwise."""
    draw = Bank.draw
    monkeypatch.setattr(Bank, "draw", lambda self: replace(made := draw(self), ys=change(made.ys)))
    return outcomes("banks", "linear, d = 5: none")["linear, d = 5: none"]


def test_other_last_bits_are_the_same_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = shaken(monkeypatch, lambda ys: ys * (1 + 1e-6))
    assert (outcome.holds, outcome.found) == (True, "same prompts, other last bits")


def _one_value(ys: torch.Tensor) -> torch.Tensor:
    ys[17, 3] += 0.05
    return ys


@pytest.mark.parametrize(
    "change",
    [_one_value, lambda ys: ys.flip(0), lambda ys: ys.double(), lambda ys: ys * 1.001, lambda ys: -ys],
    ids=["one value", "order", "type", "scale", "sign"],
)
def test_other_prompts_are_not(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    outcome = shaken(monkeypatch, change)
    assert (outcome.holds, outcome.note) == (False, CHANGED)


def test_a_raised_bank_version_wants_a_new_record(icl: Icl, monkeypatch: pytest.MonkeyPatch) -> None:
    version = evaluation.banks.BANK_VERSION
    monkeypatch.setattr(evaluation.banks, "BANK_VERSION", version + 1)
    code, out, _ = icl("verify", "banks")
    assert code == 1
    lines = out.splitlines()
    assert lines[1:3] == [
        "  all",
        f"    failed bank version bank version {version + 1}, expected bank version {version} (golden_banks.json); "
        f"BANK_VERSION was raised: record the banks anew with {RECORD}",
    ]
    assert lines[-2:] == ["1 checks, 1 failed:", "  banks: all: bank version"]


def test_new_and_lost_banks_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    golden = banks.read()
    row = golden["banks"]["linear, d = 5"]
    row["lost"] = row.pop("skewed")
    monkeypatch.setattr(banks, "read", lambda: golden)
    found = outcomes("banks", "linear, d = 5: (lost|skewed|none)")
    assert found["linear, d = 5: none"].holds
    lost, new = found["linear, d = 5: lost"], found["linear, d = 5: skewed"]
    assert (lost.holds, lost.found) == (False, "no such bank")
    assert lost.note.endswith(f"if that is meant, record anew with {RECORD}")
    assert (new.holds, new.note) == (False, f"a new class or shift: record it with {RECORD}")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Banks of the linear class alone."""
    monkeypatch.setattr(cases, "built_in", lambda registry: ["linear"] if registry is FUNCTION_CLASSES else ["skewed"])


@pytest.mark.usefixtures("few")
def test_recording_writes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    assert record(path) == 2
    written = banks.read(path)
    assert written["banks"].keys() == {"linear, d = 5"}
    assert {key: written[key] for key in ("prompts", "points", "seed")} == {"prompts": 64, "points": 11, "seed": 0}
    golden = banks.read()["banks"]["linear, d = 5"]
    for shift, bank in written["banks"]["linear, d = 5"].items():
        assert banks.same_prompts(golden[shift], bank)
    before = path.read_bytes()
    record(path)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("few")
def test_a_changed_bank_is_recorded_under_a_new_version_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "golden.json"
    record(path)
    before = path.read_bytes()
    sample, version = Linear.sample, evaluation.banks.BANK_VERSION
    monkeypatch.setattr(Linear, "sample", lambda *args: {"w": -sample(*args)["w"]})
    with pytest.raises(UserError) as error:
        record(path)
    assert str(error.value) == (
        f"linear, d = 5, none; linear, d = 5, skewed: not what bank version {version} was recorded with; raise "
        "BANK_VERSION in evaluation/banks.py, or use --replace if nobody has used that version yet"
    )
    assert path.read_bytes() == before
    record(path, replace=True)
    assert path.read_bytes() != before
    monkeypatch.setattr(Linear, "sample", sample)
    monkeypatch.setattr(evaluation.banks, "BANK_VERSION", version + 1)
    record(path)
    assert banks.read(path)["bank_version"] == version + 1


@pytest.mark.usefixtures("few")
def test_the_maintainer_s_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "golden.json"
    monkeypatch.setattr("icl_curriculum.verify.record.GOLDEN", path)
    record_main([])
    version = evaluation.BANK_VERSION
    assert capsys.readouterr().out == f"2 banks of version {version} recorded in {path}\n"
    golden = json.loads(path.read_text())
    golden["banks"]["linear, d = 5"]["none"]["xs"][1] *= 2
    path.write_text(json.dumps(golden))
    with pytest.raises(SystemExit, match="error: linear, d = 5, none: not what bank version"):
        record_main([])
    record_main(["--replace"])
    assert banks.read(path) != golden
