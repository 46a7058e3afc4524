"""Checks of golden numbers, and the rules by which numbers are compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from icl_curriculum.core.errors import described
from icl_curriculum.results.statistics.moments import MomentEstimate, Z

#: The relative difference that is allowed for the order of summation in float64.
ROUNDING = 1e-9
#: Stands in place of a found number where no run of ours has the size of a published one.
NOT_RUN = "not run"
#: Standard errors by which a measured error may differ from a golden one. At the first look, some 150 comparisons
#: together fail by chance with a probability of one percent. The prompts are fixed, so what held then holds always.
ERRORS_Z = 4.0


@dataclass(frozen=True)
class ModelBesidePrinted:
    """A model of ours whose errors stand beside printed ones, and what training it took.

    ``family``: experiment and variant. ``prompts``, ``operations``, ``seconds``: of one run, in floating-point
    operations and on the clock; None where the runs do not say.
    """

    family: str
    size: str
    published_size: bool
    seeds: tuple[int, ...]
    steps: int
    prompts: int | None
    operations: int | None
    seconds: float | None

    def __str__(self) -> str:
        taken = [f"{self.steps:,} steps"]
        taken += [] if self.prompts is None else [f"{self.prompts:,} prompts"]
        taken += [] if self.operations is None else [f"{self.operations:.2e} operations"]
        if self.seconds is not None:
            taken.append(f"{self.seconds:.0f} seconds" if self.seconds < 120 else f"{self.seconds / 60:.0f} minutes")
        return f"{self.family}, {self.size}; {', '.join(taken)}"


@dataclass(frozen=True)
class CheckOutcome:
    """What a check expected and why, what it found, and whether that holds (None: the two only stand side by side).

    ``error``: the standard error of what was found, None where there is no chance in it. ``tolerance``: how far the
    two may be apart. ``note``: what could not be judged, or how to mend it. ``exception``: why nothing was found.
    Of printed results alone: ``interval``: the ends of that of what was found; ``expected_interval``: of what is
    printed, None where none is; ``model``: the one whose error was found.
    """

    holds: bool | None
    expected: float | str
    source: str
    found: float | str
    error: float | None = None
    tolerance: float | None = None
    note: str = ""
    exception: Exception | None = None
    interval: tuple[float, float] | None = None
    expected_interval: tuple[float, float] | None = None
    model: ModelBesidePrinted | None = None


@dataclass(frozen=True)
class Check:
    """One golden number to compare with; ``look`` computes what is compared.

    Consecutive checks of one ``case``, such as ``linear, d = 20``, stand under it as their heading and are looked at
    one after another, so that they can share what is costly. ``name`` tells them apart.
    """

    case: str
    name: str
    look: Callable[[], CheckOutcome]

    def __str__(self) -> str:
        return f"{self.case}: {self.name}"

    def outcome(self) -> CheckOutcome:
        """The outcome of `look`. If it raises, the check fails, and the other checks go on."""
        try:
            return self.look()
        except Exception as error:
            return CheckOutcome(False, "an answer", "", described(error), exception=error)


@dataclass(frozen=True)
class VerifySection:
    """Checks that are shown together. They are listed when the section's turn comes."""

    title: str
    checks: Callable[[], Iterable[Check]]


@dataclass(frozen=True)
class Figure:
    """A golden number, known to within ``margin``."""

    value: float
    margin: float = 0.0


def printed(text: str) -> Figure:
    """A golden number of which only these digits are known."""
    return Figure(float(text), _half_a_digit(text))


def between(low: float, high: float) -> Figure:
    """A golden number of which only a range is known."""
    return Figure((low + high) / 2, (high - low) / 2)


def exact(expected: float, found: float, source: str, *, printed: str | None = None) -> CheckOutcome:
    """Compare two numbers without chance in them. ``printed``: what the catalogue says, to hold to its last digit."""
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
    """Compare a number with a golden one that is known only to its printed digits."""
    expected = printed(digits)
    holds = abs(found - expected.value) <= expected.margin
    return CheckOutcome(holds, expected.value, source, found, tolerance=expected.margin)


def measured(expected: Figure, estimate: MomentEstimate, source: str) -> CheckOutcome:
    """Compare an error over drawn prompts with a golden number: within `ERRORS_Z` standard errors and the margin."""
    tolerance = ERRORS_Z * estimate.error + expected.margin
    holds = abs(estimate.mean - expected.value) <= tolerance
    return CheckOutcome(holds, expected.value, source, estimate.mean, error=estimate.error, tolerance=tolerance)


def _half_a_digit(printed: str) -> float:
    decimals = len(printed.partition(".")[2])
    return 0.5 * 10.0**-decimals * (1 + 1e-6)


def drawn(expected: float, estimate: MomentEstimate, source: str, *, note: str = "") -> CheckOutcome:
    """Compare a number with a Monte Carlo estimate of it, by the rule on tails of the conformity check."""
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
