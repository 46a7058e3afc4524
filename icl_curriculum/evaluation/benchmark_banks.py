"""The banks of the frozen benchmark, made from what is written down of them."""

from __future__ import annotations

import functools
from typing import Any

from icl_curriculum.core.machine import computing_threads
from icl_curriculum.core.registry import FUNCTION_CLASSES, INPUTS, SHIFTS
from icl_curriculum.evaluation.banks import BANK_VERSION, Bank, content_hash
from icl_curriculum.evaluation.fingerprints import fingerprint, same_prompts
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.results.scorecard.frozen import Benchmark, FrozenBank, benchmark
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task


def bank_of(frozen: Benchmark, bank: FrozenBank) -> Bank:
    """The bank that a record describes."""
    function_class = FUNCTION_CLASSES.build(bank.record["function_class"])
    inputs = INPUTS.build(bank.record["inputs"])
    shift = None if bank.record["shift"] is None else SHIFTS.build(bank.record["shift"])
    assert isinstance(function_class, FunctionClass)
    assert isinstance(inputs, InputDistribution)
    assert shift is None or isinstance(shift, Shift)
    return Bank(Task(function_class, inputs, frozen.dims), shift, frozen.n_prompts, frozen.points, frozen.bank_seed)


def described(bank: Bank) -> dict[str, Any]:
    """The hash and the fingerprint of a bank's prompts."""
    with computing_threads(1):
        prompts = bank.draw()
        return {"hash": content_hash(prompts), "fingerprint": fingerprint(prompts)}


@functools.cache
def drawn_alike(name: str, content: str) -> bool:
    """Whether a bank of the benchmark has this content hash when it is drawn here, and differs in last bits alone.

    Another kind of processor may round otherwise, with other hashes of the same prompts.
    """
    frozen = benchmark()
    if frozen.bank_version != BANK_VERSION:
        return False
    found = described(bank_of(frozen, frozen.banks[name]))
    alike = same_prompts(frozen.banks[name].record["fingerprint"], found["fingerprint"])
    return bool(found["hash"] == content and alike)
