"""Means of independent numbers, and whether one that is stated can be theirs.

Means of heavy-tailed squares are too low far more often than too high, with too small a standard error; so a stated
value counts as too large only by Hall's (1992) transformation of the t statistic, which corrects for skewness, and only
where skewness / sqrt(n) is below `MAX_SKEW`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

#: Standard errors by which a stated mean may differ from the estimated one, unless told otherwise.
Z = 6.0
MAX_SKEW = 0.15


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

    def verdict(self, declared: float, *, z: float = Z) -> str | None:
        """Whether a declared moment is ``too small`` or ``too large``, by ``z`` standard errors; None if neither."""
        rounding = 1e-4 * abs(declared)
        gap = self.mean - declared
        if abs(gap) <= rounding:
            return None
        t = (gap - math.copysign(rounding, gap)) / max(self.error, 1e-300)
        if t > z:
            return "too small"
        return "too large" if self.judges_tails and _hall(t, max(self.skew, 0.0)) < -z else None

    def __str__(self) -> str:
        return f"{self.mean:.5g} ± {self.error:.2g} over {self.prompts:,} prompts"


def estimate_of(values: ArrayLike) -> MomentEstimate:
    """Estimates the mean of independent numbers, in float64."""
    numbers = np.asarray(values, dtype=np.float64)
    mean = float(numbers.mean())
    centred = numbers - mean
    spread = math.sqrt(float(np.square(centred).mean()))
    skew = float((centred**3).mean()) / spread**3 if spread > 0 else 0.0
    n = len(numbers)
    return MomentEstimate(mean, spread / math.sqrt(n), skew / math.sqrt(n), n)


def _hall(t: float, skew: float) -> float:
    """Hall's monotone transformation of a t statistic of skewed data, close to N(0, 1)."""
    if skew < 1e-6 or not math.isfinite(t):
        return t
    return float(((1 + skew * t / 3) ** 3 - 1) / skew + skew / 6)
