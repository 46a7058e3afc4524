"""Compares banks with the committed record: the same bytes, or on other hardware the same up to the last bits.

The record is written by ``python -m icl_curriculum.verify.record``. It must be written anew when `BANK_VERSION` is
raised, or when a class or a shift is added.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from icl_curriculum import evaluation
from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.evaluation import Bank, content_hash
from icl_curriculum.verify.cases import banks_of, tasks
from icl_curriculum.verify.checks import Check, CheckOutcome

PROMPTS, POINTS = 64, 11
GOLDEN = Path(__file__).parent / "golden_banks.json"
RECORD = "python -m icl_curriculum.verify.record"
#: The last bits may move a weighted sum by this share of the root mean square of the values.
TOLERANCE = 1e-4
_FREQUENCIES = (0.0, 1.0, math.sqrt(2))

#: Class by shift: a bank's hash and fingerprint.
Recorded = Mapping[str, Mapping[str, Any]]


def banks() -> dict[str, dict[str, Bank]]:
    """The banks of every built-in class without a shift and under every shift defined for it, by both names."""
    return {name: dict(banks_of(task, PROMPTS, POINTS)) for name, task in tasks().items()}


def fingerprint(prompts: Prompts) -> dict[str, list[Any]]:
    """Each tensor's type, shape and root mean square, and sums of its values weighted with waves, over sqrt(size).

    A change of a single value moves the sums by its share; last bits move them by about 1e-7.
    """
    found = {}
    for name in ("xs", "ys", "targets", "queries", "mask", "steps"):
        value = getattr(prompts, name)
        if value is not None:
            flat = value.double().flatten()
            positions = torch.arange(len(flat), dtype=torch.float64)
            numbers = [flat.square().mean().sqrt()] + [
                (flat * (frequency * positions).cos()).sum() / math.sqrt(len(flat)) for frequency in _FREQUENCIES
            ]
            shape = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
            found[name] = [shape, *(float(f"{float(number):.9g}") for number in numbers)]
    return found


def described(bank: Bank) -> dict[str, Any]:
    """What the record holds about a bank."""
    # One thread, as sums over several differ in their last bits.
    with computing_threads(1):
        prompts = bank.draw()
        return {"hash": content_hash(prompts), **fingerprint(prompts)}


def same_prompts(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the fingerprints of two banks differ by no more than the last bits."""
    names = recorded.keys() - {"hash"}
    return names == found.keys() - {"hash"} and all(_close(recorded[name], found[name]) for name in names)


def _close(recorded: list[Any], found: list[Any]) -> bool:
    allowed = TOLERANCE * recorded[1]
    return recorded[0] == found[0] and all(
        abs(one - other) <= allowed for one, other in zip(recorded[1:], found[1:], strict=True)
    )


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
