"""Golden numbers: what the suite computes against what algebra and the catalogue of its classes say.

A section is a list of checks; another one is a function in a file of its own and a line in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from icl_curriculum.registry import UserError, did_you_mean
from icl_curriculum.verify import banks, denominators, trivial_errors
from icl_curriculum.verify.checks import Check, Outcome, Section
from icl_curriculum.verify.view import show

SECTIONS: dict[str, Section] = {
    "trivial_errors": Section(
        "E f(x)^2 under the reference inputs: what classes declare, and what they draw", trivial_errors.checks
    ),
    "denominators": Section(
        "E f(q)^2 under every shift: what divides the errors, and what is drawn", denominators.checks
    ),
    "banks": Section("evaluation banks: the same prompts as recorded", banks.checks),
}


def chosen(names: Sequence[str]) -> dict[str, Section]:
    """The sections of these names, all of them if there are none. UserError for an unknown one."""
    for name in names:
        if name not in SECTIONS:
            raise UserError(f"unknown section {name!r}{did_you_mean(name, SECTIONS)}")
    return {name: section for name, section in SECTIONS.items() if name in names or not names}


__all__ = ["SECTIONS", "Check", "Outcome", "Section", "chosen", "show"]
