"""Golden numbers: compares what the suite computes with what algebra and the catalogue of its classes say.

A section is a list of checks. A new section is a function in a file of its own and a line in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from icl_curriculum.core.errors import UserError, did_you_mean
from icl_curriculum.core.options import given
from icl_curriculum.verify import (
    banks,
    baselines,
    benchmark,
    denominators,
    learners,
    oracles,
    published,
    trivial_errors,
)
from icl_curriculum.verify.checks import Check, CheckOutcome, VerifySection

SECTIONS: dict[str, VerifySection] = {
    "trivial_errors": VerifySection(
        "E f(x)^2 under the reference inputs: what classes declare, and what they draw", trivial_errors.checks
    ),
    "denominators": VerifySection(
        "E f(q)^2 under every shift: what divides the errors, and what is drawn", denominators.checks
    ),
    "banks": VerifySection("evaluation banks: the same prompts as recorded", banks.checks),
    "benchmark": VerifySection("the frozen benchmark: the same prompts, and the same best errors", benchmark.checks),
    "oracles": VerifySection(
        "errors of the best attainable predictions, of bounds on them, and of posterior means over pools",
        partial(learners.checks, oracles.CASES),
    ),
    "baselines": VerifySection("errors of classical estimators", partial(learners.checks, baselines.CASES)),
    "published": VerifySection(
        "transformers of Garg et al. 2022 (arXiv 2208.01066), 12 layers of 256, d = 20, beside ours of any size",
        partial(published.checks, published.RESULTS),
    ),
}


def chosen(names: Sequence[str], results: Path = published.RESULTS) -> dict[str, VerifySection]:
    """The sections of these names, all of them if there are none; ``results``: where runs are looked for.

    UserError for an unknown name, and for a folder of results that is not there.
    """
    if results != published.RESULTS and not results.is_dir():
        raise UserError(f"{given('--results', results)}: expected a folder with experiments, found none")
    known = {**SECTIONS, "published": replace(SECTIONS["published"], checks=partial(published.checks, results))}
    for name in names:
        if name not in known:
            raise UserError(f"unknown section {name!r}{did_you_mean(name, known)}")
    return {name: section for name, section in known.items() if name in names or not names}


__all__ = ["SECTIONS", "Check", "CheckOutcome", "VerifySection", "chosen"]
