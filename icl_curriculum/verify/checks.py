"""What a check of a golden number is, and how numbers are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from icl_curriculum.core.errors import described
from icl_curriculum.testing.moments import MomentEstimate, Z

#: Relative difference that is left to the order of summation in float64.
ROUNDING = 1e-9
#: Found where a published result has no run of ours to stand beside it.
NOT_RUN = "not run"
#: Standard errors by which a measured error may differ from a golden one. Prompts are fixed: what holds once holds
#: always, and the first time some 150 comparisons at once would fail by chance with a probability of one percent.
ERRORS_Z = 4.0


@dataclass(frozen=True)
class CheckOutcome:
    """What was expected and why, what was found, and whether that holds; None where the two only stand side by side.

    ``error``: the standard error of what was found, None where there is no chance in it. ``tolerance``: how far the
    two may be apart. ``note``: what could not be judged, or how to mend it. ``exception``: why nothing was found.
    """

    holds: bool | None
    expected: float | str
    source: str
    found: float | str
    error: float | None = None
    tolerance: float | None = None
    note: str = ""
    exception: Exception | None = None


@dataclass(frozen=True)
class Check:
    """One golden number; ``look`` computes it.

    Consecutive checks of one ``case``, such as ``linear, d = 20``, stand under it as their heading and are looked at
    one after another, so that they can share what is costly. ``name`` tells them apart.
    """

    case: str
    name: str
    look: Callable[[], CheckOutcome]

    def __str__(self) -> str:
        return f"{self.case}: {self.name}"

    def outcome(self) -> CheckOutcome:
        """What `look` says; an exception is a check that fails and stops no other."""
        try:
            return self.look()
        except Exception as error:
            return CheckOutcome(False, "an answer", "", described(error), exception=error)


@dataclass(frozen=True)
class VerifySection:
    """Checks that are shown together, listed when the section's turn comes."""

    title: str
    checks: Callable[[], Iterable[Check]]


@dataclass(frozen=True)
class Figure:
    """A golden number, known to within ``margin``."""

    value: float
    margin: float = 0.0


def printed(text: str) -> Figure:
    """A number of which only these digits are known."""
    return Figure(float(text), _half_a_digit(text))


def between(low: float, high: float) -> Figure:
    """A number of which only a range is known."""
    return Figure((low + high) / 2, (high - low) / 2)


def exact(expected: float, found: float, source: str, *, printed: str | None = None) -> CheckOutcome:
    """Two numbers without chance in them. ``printed``: what the catalogue says of ``expected``, to its last digit."""
    holds = found == expected or math.isclose(found, expected, rel_tol=ROUNDING)
    tolerance = 0.0 if math.isinf(expected) else ROUNDING * abs(expected)
    if printed is None:
        return CheckOutcome(holds, expected, source, found, tolerance=tolerance)
    agrees = abs(expected - float(printed)) <= _half_a_digit(printed)
    note = "" if agrees else f"the catalogue prints {printed}: correct one of the two in icl_curriculum/verify"
    return CheckOutcome(
        holds and agrees, expected, f"{source}; {printed} as printed", found, tolerance=tolerance, note=note
    )


def rounded(digits: str, found: float, source: str) -> CheckOutcome:
    """A number that is known to its printed digits only."""
    expected = printed(digits)
    holds = abs(found - expected.value) <= expected.margin
    return CheckOutcome(holds, expected.value, source, found, tolerance=expected.margin)


def measured(expected: Figure, estimate: MomentEstimate, source: str) -> CheckOutcome:
    """A golden number against an error over drawn prompts: within `ERRORS_Z` standard errors and its own margin."""
    tolerance = ERRORS_Z * estimate.error + expected.margin
    holds = abs(estimate.mean - expected.value) <= tolerance
    return CheckOutcome(holds, expected.value, source, estimate.mean, error=estimate.error, tolerance=tolerance)


def _half_a_digit(printed: str) -> float:
    decimals = len(printed.partition(".")[2])
    return 0.5 * 10.0**-decimals * (1 + 1e-6)


def drawn(expected: float, estimate: MomentEstimate, source: str, *, note: str = "") -> CheckOutcome:
    """A number against a Monte Carlo estimate of it, by the rule on tails of the conformity check."""
    wrong = estimate.verdict(expected)
    notes = [note] if note else []
    if wrong:
        notes.append(f"the expected number is {wrong} by more than {Z:.0f} standard errors")
    elif not estimate.judges_tails:
        notes.append("heavy tails: too large an expected number would not show")
    return CheckOutcome(
        wrong is None,
        expected,
        source,
        estimate.mean,
        error=estimate.error,
        tolerance=Z * estimate.error + 1e-4 * abs(expected),
        note="; ".join(notes),
    )
