"""Rules on the tails and on E|x|^2: what a distribution states is compared with its own samples.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from icl_curriculum.inputs import Own
from icl_curriculum.results.statistics.moments import MomentEstimate, Z, estimate_of
from icl_curriculum.testing.inputs.subject import InputsSubject
from icl_curriculum.testing.rules import Finding, Inapplicable, Note, rule

POINTS = 4
#: Points of a long prompt, each of which is looked at by itself.
LONG = 16
#: The prompts drawn in one round. More rounds follow until a difference of `RESOLVED` would show.
PROMPTS = 1 << 14
ROUNDS = (1, 4, 16)
RESOLVED = 0.05
#: The prompts behind the tail's index, and the shares of the largest |x| that it is estimated from.
TAIL_PROMPTS = 1 << 17
SHARES = (0.02, 0.0005)
#: An index that has grown by more than this between the two shares is not that of a power law, and goes on growing. It
#: grows by 1.5 for a log-normal, by 2 for an exponential tail; by less than 1.1 for Student's t with up to 3 degrees.
GROWS = 1.2
#: By how much an index may be overstated. The estimate has a standard error of 6%.
GENEROUS = 1.4

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class Tail:
    """The tail of |x|: the largest values fall off as the power ``-index``, unless that is still growing."""

    index: float
    growth: float

    @property
    def is_power_law(self) -> bool:
        return math.isfinite(self.index) and self.growth < GROWS


def tail_of(norms: Norms) -> Tail:
    """Hill's estimates (1975) of the index from the largest 2% and 0.05% of some numbers."""
    ordered = np.sort(norms)[::-1]
    found = []
    for share in SHARES:
        top = ordered[: int(share * len(ordered)) + 1]
        logs = np.log(np.maximum(top, 1e-300))
        excess = float(logs[:-1].mean() - logs[-1])
        found.append(1 / excess if excess > 0 else math.inf)
    return Tail(found[1], found[1] / found[0] if math.isfinite(found[0]) else math.inf)


def _squares(subject: InputsSubject, prompts: int, dims: int, purpose: str, index: int = 0) -> torch.Tensor:
    """|x|^2 (prompts, points) in float64."""
    return subject.drawn(prompts, POINTS, dims, purpose, index).double().square().sum(-1)


@rule("tail index", "moments of |x| exist up to the order that tail_index states", requires=("fresh inputs",))
def tail_index(subject: InputsSubject) -> Iterator[Finding | Note]:
    declared = subject.stated_tail_index
    if not isinstance(declared, numbers.Real) or isinstance(declared, bool) or not float(declared) > 0:
        yield Finding(
            expected="a positive number, or infinity, from tail_index",
            found=repr(declared),
            mend="write a property that returns a float: the order below which moments of |x| exist, math.inf for "
            "light tails",
        )
        return
    dims = subject.dims[0]
    rounds = [_squares(subject, TAIL_PROMPTS // 8, dims, "tail index", index) for index in range(8)]
    tail = tail_of(torch.cat(rounds).sqrt().flatten().numpy())
    if tail.is_power_law and float(declared) > GENEROUS * tail.index:
        yield Finding(
            expected=f"moments of |x| up to the order {float(declared):g}, as tail_index states",
            found=f"|x| beyond its largest {SHARES[1]:.2%} falls off as |x|^-{tail.index:.2f} at d = {dims}, and no "
            "faster farther out: moments from about that order on are infinite",
            mend=f"let tail_index return what theory says, about {tail.index:.1f}: it decides which errors have a mean "
            "and an interval",
        )
    elif float(declared) < tail.index / 4:
        yield Note(
            f"|x| falls off much faster than tail_index = {float(declared):g} says: errors that exist may be left out"
        )


@rule("squared norm", "squared_norm is E|x|^2, of every point of a prompt", requires=("tail index",))
def squared_norm(subject: InputsSubject) -> Iterator[Finding | Note]:
    if isinstance(subject.as_given, Own):
        raise Inapplicable("nothing is stated of inputs that function classes make themselves")
    index = float(subject.as_given.tail_index)
    unresolved: dict[str, list[int]] = {}
    for dims in subject.dims:
        declared = subject.stated("squared_norm", dims)
        if not isinstance(declared, numbers.Real) or isinstance(declared, bool) or not float(declared) > 0:
            yield Finding(
                expected="a positive number, or infinity, from squared_norm",
                found=f"squared_norm({dims}) gives {declared!r}",
                mend="return float(E|x|^2), summed over the coordinates: closed forms of E f(x)^2 are made of it",
            )
            return
        stated = float(declared)
        if math.isinf(stated) != (index <= 2):
            yield Finding(
                expected="an infinite squared_norm where tail_index is at most 2, and a finite one elsewhere",
                found=f"squared_norm({dims}) = {stated:g} with tail_index = {index:g}",
                mend="return math.inf where E|x|^2 does not exist; else correct tail_index",
            )
            return
        if math.isinf(stated):
            continue
        drawn, beyond = _estimate(subject, dims, index)
        wrong = drawn.verdict(stated)
        if wrong == "too large" and drawn.verdict(stated - beyond) != wrong:
            wrong = None
        if wrong:
            yield Finding(
                expected=f"E|x|^2 = {drawn} at d = {dims}"
                + (f", and at most {beyond:.2g} more from the tails beyond what was counted" if beyond else ""),
                found=f"squared_norm({dims}) = {stated:.5g} is {wrong} (beyond {Z:.0f} standard errors)",
                mend="return the sum of the second moments of all d coordinates, with means and scales in it; it "
                "depends on dims, and divides errors",
            )
            return
        if index > 4:
            at = _at_a_point(subject, dims, stated)
            if at is not None:
                k, at_point, verdict = at
                yield Finding(
                    expected=f"E|x|^2 = squared_norm({dims}) = {stated:.5g} at every point of a prompt, however many "
                    "it has",
                    found=f"{at_point} at point {k} of {LONG}, for which that is {verdict}",
                    mend="draw all points from one distribution: errors at every k are divided by the same number",
                )
                return
        resolved = (Z * drawn.error + beyond) / stated
        if not drawn.judges_tails:
            unresolved.setdefault(
                "the tails are too heavy for Monte Carlo: too large a value would not show", []
            ).append(dims)
        elif resolved > RESOLVED * (1 + 1e-9):
            unresolved.setdefault(f"a value less than {resolved:.0%} too large would not show", []).append(dims)
    if unresolved:
        yield Note("; ".join(f"at d = {', '.join(map(str, at))}, {why}" for why, at in unresolved.items()))


def _at_a_point(subject: InputsSubject, dims: int, stated: float) -> tuple[int, MomentEstimate, str] | None:
    """The first point of long prompts whose E|x|^2 is not as stated: which, its estimate, and how it is off."""
    squares = subject.drawn(PROMPTS // 8, LONG, dims, "points").double().square().sum(-1)
    for k in range(LONG):
        drawn = estimate_of(squares[:, k].numpy())
        verdict = drawn.verdict(stated)
        if verdict is not None:
            return k, drawn, verdict
    return None


def _estimate(subject: InputsSubject, dims: int, index: float) -> tuple[MomentEstimate, float]:
    """E|x|^2 by Monte Carlo, and what may be missing in it.

    Without a fourth moment |x|^2 is cut off at a bound c: that leaves out p c / (index / 2 - 1) of a power law whose
    share beyond c is p, and what may be missing is twice that.
    """
    beyond = 0.0
    parts: list[torch.Tensor] = []
    for rounds in ROUNDS:
        for number in range(len(parts), rounds):
            parts.append(_squares(subject, PROMPTS, dims, "squared norm", number))
        squares = torch.cat(parts)
        if index <= 4:
            bound = float(np.quantile(squares.numpy(), 1 - SHARES[1]))
            beyond = 2 * SHARES[1] * bound / (index / 2 - 1)
            squares = squares.clamp(max=bound)
        estimate = estimate_of(squares.mean(1).numpy())
        if estimate.judges_tails and Z * estimate.error <= RESOLVED * estimate.mean:
            break
    return estimate, beyond
