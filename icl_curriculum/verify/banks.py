"""Compares banks with the committed record: the same bytes, or on other hardware the same up to the last bits.

The record is written by ``python -m icl_curriculum.verify.record``. It must be written anew when `BANK_VERSION` is
raised, or when a class or a shift is added.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from icl_curriculum import evaluation
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.evaluation import Bank, content_hash
from icl_curriculum.evaluation.fingerprints import fingerprint, same_prompts
from icl_curriculum.verify.cases import banks_of, tasks
from icl_curriculum.verify.checks import Check, CheckOutcome

PROMPTS, POINTS = 64, 11
GOLDEN = Path(__file__).parent / "golden_banks.json"
RECORD = "python -m icl_curriculum.verify.record"

#: Class by shift: a bank's hash and fingerprint.
Recorded = Mapping[str, Mapping[str, Any]]


def banks() -> dict[str, dict[str, Bank]]:
    """The banks of every built-in class without a shift and under every shift defined for it, by both names."""
    return {name: dict(banks_of(task, PROMPTS, POINTS)) for name, task in tasks().items()}


def described(bank: Bank) -> dict[str, Any]:
    """What the record holds about a bank."""
    # One thread, as sums over several differ in their last bits.
    with computing_threads(1):
        prompts = bank.draw()
        return {"hash": content_hash(prompts), **fingerprint(prompts)}


def read(path: Path = GOLDEN) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def checks() -> Iterator[Check]:
    """One check for each bank, or a single one that fails if the version was raised without a new record."""
    golden = read()
    if golden["bank_version"] != evaluation.banks.BANK_VERSION:
        yield Check("all", "bank version", partial(_version, golden["bank_version"]))
        return
    recorded: Recorded = golden["banks"]
    current = banks()
    for name in {**current, **recorded}:
        there, known = current.get(name, {}), recorded.get(name, {})
        for shift in {**there, **known}:
            yield Check(name, shift, partial(_compare, there.get(shift), known.get(shift)))


def _version(recorded: int) -> CheckOutcome:
    return CheckOutcome(
        False, f"bank version {recorded}", GOLDEN.name, f"bank version {evaluation.banks.BANK_VERSION}",
        note=f"BANK_VERSION was raised: record the banks anew with {RECORD}",
    )  # fmt: skip


def _compare(bank: Bank | None, recorded: Mapping[str, Any] | None) -> CheckOutcome:
    if bank is None:
        assert recorded is not None
        note = f"the class or shift is gone or no longer defined: if that is meant, record anew with {RECORD}"
        return CheckOutcome(False, recorded["hash"], GOLDEN.name, "no such bank", note=note)
    found = described(bank)
    if recorded is None:
        note = f"a new class or shift: record it with {RECORD}"
        return CheckOutcome(False, "a record of it", GOLDEN.name, found["hash"], note=note)
    expected = recorded["hash"]
    if found["hash"] == recorded["hash"]:
        return CheckOutcome(True, expected, GOLDEN.name, "same bytes")
    if same_prompts(recorded, found):
        return CheckOutcome(True, expected, GOLDEN.name, "same prompts, other last bits")
    note = f"the generator has changed: raise BANK_VERSION in evaluation/banks.py and record anew with {RECORD}"
    return CheckOutcome(False, expected, GOLDEN.name, found["hash"], note=note)
