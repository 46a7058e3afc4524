"""What the tests of ``icl verify`` share, and its golden numbers for the tests of what they are numbers of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy.typing as npt
from helpers import Spec, assert_mean

from icl_curriculum import verify
from icl_curriculum.verify import Check, CheckOutcome, baselines, oracles, trivial_errors
from icl_curriculum.verify.checks import Figure, printed
from icl_curriculum.verify.learners import NONE


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


def golden_errors(case: str, learner: str) -> dict[int, Figure]:
    """The errors that the tables of ``icl verify`` know of a learner, by the number of examples.

    Without formulas in the inputs, and without errors of zero, which rounding decides.
    """
    figures = {
        k: figure
        for each in (*oracles.CASES, *baselines.CASES)
        for golden in each.golden
        if (str(each), golden.id) == (case, learner)
        for k, figure in golden.figures.items()
        if isinstance(figure, Figure) and figure != NONE
    }
    assert figures, f"no golden errors of {learner} on {case}"
    return figures


def golden_trivial_error(spec: Spec, dims: int) -> Figure:
    """The trivial error of a class that the table of ``icl verify`` knows."""
    (found,) = [item for item in trivial_errors.CATALOGUE if (item.spec, item.dims) == (spec, dims)]
    if found.value is not None:
        return Figure(found.value)
    assert found.printed is not None
    return printed(found.printed)


def assert_golden(errors: npt.NDArray[Any], golden: Mapping[int, Figure]) -> None:
    """The means of errors (prompts, points) are golden ones, within five standard errors and their margins."""
    figures = list(golden.values())
    expected, margins = [figure.value for figure in figures], [figure.margin for figure in figures]
    assert_mean(errors[:, list(golden)], expected, rounding=margins)
