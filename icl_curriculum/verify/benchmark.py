"""Compares the benchmark's banks with what is frozen: the same prompts, and the same best errors on them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from icl_curriculum.baselines import Baseline
from icl_curriculum.core.registry import BASELINES
from icl_curriculum.evaluation import BANK_VERSION, Bank, NamedLearner, oracle_entry, score
from icl_curriculum.evaluation.benchmark_banks import bank_of, described
from icl_curriculum.evaluation.fingerprints import same_prompts
from icl_curriculum.results.scorecard.frozen import FROZEN, Benchmark, FrozenBank, benchmark
from icl_curriculum.verify.checks import Check, CheckOutcome

#: How far a best error may be from the frozen one: the last bits of prompts, and of the sums over them, move it.
TOLERANCE = 1e-3


def best_errors(bank: Bank, baselines: list[Any]) -> tuple[list[float], list[str]]:
    """The best normalized error at each number of examples, and whose it is: the optimum's alone where it is known.

    ``baselines``: the frozen list, of which at each length the best counts where no optimum is known.
    """
    prompts = bank.draw()
    known = [entry for entry in oracle_entry(bank) if entry.id == "oracle"]
    entries = known or [NamedLearner(item.id, "baseline", item, item) for item in map(_baseline, baselines)]
    rows = score(entries, bank, prompts, None)
    by_length: dict[int, list[tuple[float, str]]] = {}
    for row in rows:
        if row.metric == "normalized_error" and not math.isnan(row.value):
            by_length.setdefault(row.n_context, []).append((float(row.value), row.learner))
    best = [min(by_length[k]) for k in sorted(by_length)]
    return [value for value, _ in best], ["oracle"] if known else [name for _, name in best]


def _baseline(spec: Any) -> Baseline:
    built = BASELINES.build(spec)
    assert isinstance(built, Baseline)
    return built


def checks() -> Iterator[Check]:
    """One check of the prompts of each bank, and one of the best errors of each whose optimum is known."""
    frozen = benchmark()
    for bank in frozen.banks.values():
        yield Check(bank.name, "prompts", partial(_same_prompts, frozen, bank))
        if bank.known:
            yield Check(bank.name, "best errors", partial(_same_errors, frozen, bank))


def _same_prompts(frozen: Benchmark, bank: FrozenBank) -> CheckOutcome:
    found: Mapping[str, Any] = described(bank_of(frozen, bank))
    if found["hash"] == bank.hash:
        return CheckOutcome(True, bank.hash, FROZEN.name, "same bytes")
    if frozen.bank_version == BANK_VERSION and same_prompts(bank.record["fingerprint"], found["fingerprint"]):
        return CheckOutcome(True, bank.hash, FROZEN.name, "same prompts, other last bits")
    note = "what draws it has changed, so scores can't be set beside those of before: make another benchmark"
    return CheckOutcome(False, bank.hash, FROZEN.name, found["hash"], note=note)


def _same_errors(frozen: Benchmark, bank: FrozenBank) -> CheckOutcome:
    found, _ = best_errors(bank_of(frozen, bank), [])
    worst = max(range(len(found)), key=lambda k: abs(found[k] - bank.best[k]))
    holds = abs(found[worst] - bank.best[worst]) <= TOLERANCE
    return CheckOutcome(
        holds, bank.best[worst], f"{FROZEN.name}, at {worst} examples", found[worst], tolerance=TOLERANCE
    )
