"""Means of independent numbers, and whether one that is stated can be theirs.

Means of heavy-tailed squares are too low far more often than too high, with too small a standard error; so a stated
value counts as too large only by Hall's (1992) transformation of the t statistic, which corrects for skewness, and only
where skewness / sqrt(n) is below `MAX_SKEW`. Where the numbers have their tail below, all of it is the other way round.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Standard errors by which a stated mean may differ from the estimated one, unless told otherwise.
Z = 6.0
MAX_SKEW = 0.15
#: Standard errors beyond those that are allowed at which an error is found nearly always: but for one case in 700.
MARGIN = 3.0


@dataclass(frozen=True)
class MomentEstimate:
    """A mean over independent prompts, its standard error, and skewness / sqrt(prompts)."""

    mean: float
    error: float
    skew: float
    prompts: int

    @property
    def judges_tails(self) -> bool:
        return self.skew <= MAX_SKEW

    def verdict(self, declared: float, *, z: float = Z, rounding: float | None = None) -> str | None:
        """Whether a declared moment is ``too small`` or ``too large``, by ``z`` standard errors; None if neither.

        ``rounding``: a difference that is none; None: 1e-4 of the declared moment.
        """
        allowed = 1e-4 * abs(declared) if rounding is None else rounding
        gap = self.mean - declared
        if abs(gap) <= allowed:
            return None
        t = (gap - math.copysign(allowed, gap)) / max(self.error, 1e-300)
        if t > 0:
            return "too small" if _beyond(t, -self.skew, z) else None
        return "too large" if _beyond(-t, self.skew, z) else None

    def resolution(self, *, z: float = Z) -> float:
        """The relative error from which on a stated value is found nearly always, whether too small or too large.

        Infinite where the tail is too heavy for a verdict on one of the two sides.
        """
        if self.error == 0:
            return 0.0
        if self.mean == 0 or abs(self.skew) > MAX_SKEW:
            return math.inf
        return (_needed(z, abs(self.skew)) + MARGIN) * self.error / abs(self.mean)

    def merged(self, other: MomentEstimate) -> MomentEstimate:
        """The estimate from the numbers behind both, so that many need not be held at once (Chan et al. 1979)."""
        n, gap = self.prompts + other.prompts, other.mean - self.mean
        share = other.prompts / n
        parts = [(item.prompts, *item._central_sums()) for item in (self, other)]
        (a, squares, cubes), (b, more_squares, more_cubes) = parts
        total = squares + more_squares + gap**2 * a * b / n
        third = cubes + more_cubes + gap**3 * a * b * (a - b) / n**2 + 3 * gap * (a * more_squares - b * squares) / n
        return _estimate(self.mean + gap * share, total, third, n)

    def _central_sums(self) -> tuple[float, float]:
        """The sums of the squares and of the cubes of what the numbers are off their mean."""
        spread = self.error * math.sqrt(self.prompts)
        return self.prompts * spread**2, self.prompts * self.skew * math.sqrt(self.prompts) * spread**3

    def __str__(self) -> str:
        return f"{self.mean:.5g} ± {self.error:.2g} over {self.prompts:,} prompts"


def estimate_of(values: ArrayLike) -> MomentEstimate:
    """Estimates the mean of independent numbers, in float64."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    centred = numbers - mean
    squares = np.square(centred)
    # `centred**3` would take ten times as long.
    return _estimate(mean, float(squares.sum()), float((squares * centred).sum()), len(numbers))


def beats(
    errors_one: ArrayLike, errors_other: ArrayLike, z: float = 5.0, *, rounding: float = 0.0
) -> NDArray[np.bool_]:
    """At which entries one learner's error is below another's by more than ``z`` standard errors.

    ``errors_one``, ``errors_other``: squared errors on the same prompts, (prompts, points), or (prompts,) for one
    entry. Compared are the paired differences. That one learner is better on nearly all prompts and far worse on a few,
    which the prompts at hand may lack, is allowed for as in `MomentEstimate.verdict`: by the skewness of the
    differences, and where too few prompts decide, nothing is claimed. ``rounding``: a mean difference that is none. A
    prompt on which an error is NaN is left out of its entry. False where an error is infinite, or fewer than 2 prompts
    are left.
    """
    one, other = (np.asarray(errors, dtype=np.float64) for errors in (errors_one, errors_other))
    with np.errstate(invalid="ignore"):  # Two infinite errors have no difference.
        differences = (other - one).reshape(len(one), -1)
    found = np.zeros(differences.shape[1], dtype=np.bool_)
    for k, column in enumerate(differences.T):
        compared = column[~np.isnan(column)]
        if len(compared) > 1 and np.isfinite(compared).all():
            found[k] = estimate_of(compared).verdict(0.0, z=z, rounding=rounding) == "too small"
    return found.reshape(one.shape[1:])


def _estimate(mean: float, squares: float, cubes: float, n: int) -> MomentEstimate:
    """An estimate from a mean and the sums of the squares and cubes of what ``n`` numbers are off it."""
    spread = math.sqrt(squares / n)
    skew = cubes / n / spread**3 if spread > 0 else 0.0
    return MomentEstimate(mean, spread / math.sqrt(n), skew / math.sqrt(n), n)


def _beyond(t: float, skew: float, z: float) -> bool:
    """Whether a stated value lies ``t`` standard errors above the mean by more than chance.

    A tail above the mean (``skew`` > 0), of which the numbers at hand may lack a part, is allowed for.
    """
    return t > z and skew <= MAX_SKEW and _hall(-t, max(skew, 0.0)) < -z


def _hall(t: float, skew: float) -> float:
    """Hall's monotone transformation of a t statistic of skewed data, close to N(0, 1)."""
    if skew < 1e-6 or not math.isfinite(t):
        return t
    return float(((1 + skew * t / 3) ** 3 - 1) / skew + skew / 6)


def _needed(z: float, skew: float) -> float:
    """The t for which `_hall` of -t is -z: the standard errors that a stated value has to lie above the mean."""
    if skew < 1e-6:
        return z
    return float(3 / skew * (1 - np.cbrt(1 - skew * (z + skew / 6))))
