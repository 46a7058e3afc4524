"""Checks the denominators of errors, E f(q)^2 under every shift, against formulas and the targets of drawn banks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from icl_curriculum.core.registry import SHIFTS
from icl_curriculum.evaluation import Bank
from icl_curriculum.function_classes.estimates import DRAWN
from icl_curriculum.results.statistics.moments import MomentEstimate
from icl_curriculum.shifts import Shift
from icl_curriculum.tasks import Task
from icl_curriculum.verify.cases import Spec, banks_of, named, task_of, tasks
from icl_curriculum.verify.checks import Check, CheckOutcome, drawn, exact
from icl_curriculum.verify.monte_carlo import PROMPTS, second_moments
from icl_curriculum.verify.trivial_errors import gaussian_hermite

#: The dimensions in which ratios are compared with formulas.
DIMS = 20
_POINTS = 5

#: Eigenvalues of the covariance S of the inputs, which lie in a uniformly random basis; tr S = d.
SPECTRA = {
    "half_subspace": [2.0] * (DIMS // 2) + [0.0] * (DIMS // 2),
    "skewed": [DIMS / i**2 / sum(1 / j**2 for j in range(1, DIMS + 1)) for i in range(1, DIMS + 1)],
}


@dataclass(frozen=True)
class Ratio:
    """E f(q)^2 under a shift, over that without one. ``printed``: its digits as the catalogue prints them."""

    spec: Spec
    shift: Spec
    source: str
    value: float
    printed: str | None = None


def _of_quadratic(s: Sequence[float]) -> float:
    return (sum(s) ** 2 + 2 * sum(v * v for v in s)) / (DIMS * (DIMS + 2))


def _of_hermite(degree: int, s: Sequence[float]) -> float:
    """The ratio of a Hermite class, from E (w·x)^j = (j - 1)!! E q^(j/2), q = w^T S w, w uniform on the unit sphere."""
    trace, squares, cubes = (sum(v**power for v in s) for power in (1, 2, 3))
    q1 = trace / DIMS
    q2 = (trace**2 + 2 * squares) / (DIMS * (DIMS + 2))
    q3 = (trace**3 + 6 * trace * squares + 8 * cubes) / (DIMS * (DIMS + 2) * (DIMS + 4))
    return gaussian_hermite(degree, q1, 3 * q2, 15 * q3)


def _hermite(degree: int) -> Spec:
    return {"name": "hermite", "degree": degree}


def _scaled(factor: float) -> Spec:
    return {"name": "scaled_inputs", "factor": factor}


#: The degree of the polynomial in x that a class is, or grows like; 0 for bounded values.
_DEGREES: list[tuple[Spec, int]] = [
    ("linear", 1), ("noisy_linear", 1), ("sparse_linear", 1), ("relu_network", 1), ("low_rank_linear", 1),
    ("quadratic", 2), ("linear_classification", 0), ("decision_tree", 0), ("sinusoid", 0),
]  # fmt: skip
_TAILS = {0: "bounded values", 1: "variance df / (df - 2)", 2: "df = 4 has no fourth moment"}
_HERMITE_PRINTED = {(2, "skewed"): "1.51", (3, "skewed"): "3.89"}
_QUADRATIC_PRINTED = {"half_subspace": "1.091", "skewed": "1.681"}

CATALOGUE = [
    *(
        Ratio(spec, _scaled(factor), f"c^{2 * degree}", factor ** (2 * degree))
        for spec, degree in _DEGREES
        for factor in (1 / 3, 0.5, 2.0, 3.0)
    ),
    *(
        Ratio(_hermite(p), _scaled(2.0), "moments of w·x", gaussian_hermite(p, 4, 3 * 4**2, 15 * 4**3))
        for p in (1, 2, 3)
    ),
    *(
        Ratio(spec, shift, "E|x|^2 = d" if degree else _TAILS[0], 1.0)
        for shift in SPECTRA
        for spec, degree in [*_DEGREES, ("gaussian_mixture", 1)]
        if degree < 2
    ),
    *(
        Ratio("quadratic", shift, "(tr^2 S + 2 tr S^2) / (d (d + 2))", _of_quadratic(s), _QUADRATIC_PRINTED[shift])
        for shift, s in SPECTRA.items()
    ),
    *(
        Ratio(_hermite(p), shift, "moments of w·x", _of_hermite(p, s), _HERMITE_PRINTED.get((p, shift)))
        for p in (1, 2, 3)
        for shift, s in SPECTRA.items()
    ),
    *(
        Ratio(spec, "other_inputs", _TAILS[min(degree, 2)], {0: 1.0, 1: 2.0}.get(degree, math.inf))
        for spec, degree in [*_DEGREES, *((_hermite(p), p) for p in (1, 2, 3))]
    ),
]


def checks() -> Iterator[Check]:
    """Checks against formulas in 20 dimensions, then of every class under every shift by Monte Carlo in 5."""
    for ratio in CATALOGUE:
        task, shift = task_of(ratio.spec, DIMS), cast(Shift, SHIFTS.build(ratio.shift))
        case = f"ratio for {named(task.function_class, DIMS)}"
        yield Check(case, shift.id, partial(_ratio, ratio, task, shift))
    for task_name, task in tasks().items():
        for shift_name, bank in banks_of(task, PROMPTS, _POINTS):
            yield Check(f"drawn for {task_name}", shift_name, partial(drawn_from, bank))


def _ratio(ratio: Ratio, task: Task, shift: Shift) -> CheckOutcome:
    found = shift.apply(task).second_moment() / task.second_moment()
    return exact(ratio.value, found, ratio.source, printed=ratio.printed)


def drawn_from(bank: Bank) -> CheckOutcome:
    """Compare a bank's denominator with its targets, over all k and at each k, because errors are divided at each."""
    task = bank.drawn_task
    if not task.has_second_moment():
        index, growth = task.inputs.tail_index, task.function_class.growth
        source = f"moments exist below order {index:g}, f grows like |x|^{growth:g}"
        holds = bank.second_moment == math.inf
        return CheckOutcome(holds, math.inf, source, bank.second_moment, note="nothing to draw" if holds else "")
    closed = task.function_class.second_moment(
        task.dims, squared_norm=task.inputs.squared_norm(task.dims), spectrum=task.inputs.spectrum(task.dims)
    )
    if bank.shift is None:
        unshifted = exact(bank.reference_error, bank.second_moment, "the trivial error, without a shift")
        if not unshifted.holds:
            return unshifted
    found = second_moments(lambda index: replace(bank, seed=index).draw())
    source = "closed form" if closed is not None else "Monte Carlo of its own"
    # A denominator drawn by Monte Carlo has an error of its own.
    own = 0.0 if closed is not None else max(_deviation(estimate) for estimate in found.at.values())
    own /= math.sqrt(DRAWN)
    outcome = drawn(bank.second_moment, _less_certain(found.overall, own), source)
    for k, estimate in found.at.items():
        if not outcome.holds:
            break
        at_k = drawn(bank.second_moment, _less_certain(estimate, own), f"{source}, at k = {k}")
        outcome = outcome if at_k.holds else at_k
    return outcome


def _deviation(estimate: MomentEstimate) -> float:
    return estimate.error * math.sqrt(estimate.prompts)


def _less_certain(estimate: MomentEstimate, error: float) -> MomentEstimate:
    return replace(estimate, error=math.hypot(estimate.error, error))
