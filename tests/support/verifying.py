"""What the tests of ``icl verify`` share."""

from __future__ import annotations

import re
from collections.abc import Iterable

from icl_curriculum import verify
from icl_curriculum.verify import Check, CheckOutcome


def outcomes_of(checks: Iterable[Check], pattern: str = ".*") -> dict[str, CheckOutcome]:
    """What the checks find whose full names match."""
    found = {str(check): check.outcome() for check in checks if re.fullmatch(pattern, str(check))}
    assert found
    return found


def outcomes(section: str, pattern: str) -> dict[str, CheckOutcome]:
    """Likewise of a section."""
    return outcomes_of(verify.SECTIONS[section].checks(), pattern)


def failed(section: str, pattern: str) -> set[str]:
    return {name for name, outcome in outcomes(section, pattern).items() if not outcome.holds}
