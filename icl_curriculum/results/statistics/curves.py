"""Numbers of one learning curve: an error at the steps, or after the prompts, at which it was measured.

A curve is what was measured and nothing between: an event is dated to the first measurement that shows it, so no
sooner than it happened, and by up to one interval later.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

#: A share of the error of predicting zero: above it nothing has been learned that is worth the name.
PLATEAU = 0.9


def plateau_end(steps: ArrayLike, errors: ArrayLike, *, level: float = PLATEAU) -> float:
    """The step at which the error leaves its plateau: the first of two measurements in a row below it; else infinite.

    The published recipe starts with a plateau near the error of predicting zero, 1 (Bhasin et al. 2024). What counts
    as below it is our definition: less than ``level`` times 1, or times the error at step 0 where that is less, as on
    a small bank that is easy by chance. Two in a row, so that one lucky measurement ends nothing; a last measurement
    needs no second.
    """
    times, values = np.asarray(steps, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    below = values < level * np.fmin(1.0, values[0])
    left = np.flatnonzero(below & np.append(below[1:], True))
    return float(times[left[0]]) if len(left) else math.inf


def first_below(exposures: ArrayLike, errors: ArrayLike, threshold: float) -> float:
    """The exposure (prompts, steps or operations) at which the error is first at most ``threshold``; else infinite.

    Infinite means: not within what was spent.
    """
    spent, values = np.asarray(exposures, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    reached = np.flatnonzero(values <= threshold)
    return float(spent[reached[0]]) if len(reached) else math.inf


def value_at_exposure(exposures: ArrayLike, errors: ArrayLike, exposure: float) -> float:
    """The error after so many prompts (or steps, or operations): straight between the measurements around it.

    ``exposures`` do not fall. Where several measurements have the same exposure, as while other classes are trained,
    the first counts: that is the error right after the last prompt that was spent. NaN outside of what was measured.
    """
    spent, values = np.asarray(exposures, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    spent, first = np.unique(spent, return_index=True)
    if not len(spent) or not spent[0] <= exposure <= spent[-1]:
        return math.nan
    return float(np.interp(exposure, spent, values[first]))
