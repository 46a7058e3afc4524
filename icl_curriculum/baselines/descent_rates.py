"""The best constant rate of gradient descent on linear functions, by dimensions, examples and steps.

Dimensions: draws = drawn sets of inputs, d = dims, k = examples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import roots_genlaguerre
from torch import Tensor

from icl_curriculum.core.streams import generator

Array = NDArray[np.float64]

#: Sets of inputs over which the error is averaged.
DRAWS = 512

#: Nodes of the quadrature over the largest eigenvalue, and the least skewness that is believed of its distribution.
_NODES, _LEAST_SKEWNESS = 48, 0.16

#: The search's interval, which holds every best rate as the eigenvalues are 1 on average, and how often it is cut.
_LARGEST_RATE, _CUTS = 2.0, 40


@lru_cache(maxsize=4096)
def best_rate(dims: int, examples: int, steps: int, noise_variance: float = 0.0) -> float:
    """The constant rate at which the expected error after so many ``steps`` is least.

    The expectation is over linear functions, w ~ N(0, I), inputs x ~ N(0, I) and labels with Gaussian noise of
    ``noise_variance``; the rate is that of `GradientDescent`. One step: k / (k + d + 1 + noise_variance), exactly. With
    more steps the least of `expected_error`, found by golden-section search. The same in every process.
    """
    if steps == 1:
        return examples / (examples + dims + 1 + noise_variance)
    spectrum = _spectrum(dims, examples)
    ratio = (math.sqrt(5) - 1) / 2
    low, high = 0.0, _LARGEST_RATE
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = (spectrum.error(rate, steps, noise_variance) for rate in (left, right))
    for _ in range(_CUTS):
        # Where both overflow the lower one is nearer.
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = spectrum.error(left, steps, noise_variance)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = spectrum.error(right, steps, noise_variance)
    return (low + high) / 2


def expected_error(dims: int, examples: int, rate: float, steps: int, noise_variance: float = 0.0) -> float:
    """The normalized error of gradient descent on linear functions, w ~ N(0, I), with inputs N(0, I).

    With the eigenvalues l of X^T X / k and u = (1 - rate l)^steps it is E[sum u^2 + s sum (1 - u)^2 / (k l)] / d, s the
    noise's variance, where eigenvalues of 0 add 1 each. The expectation is the mean over `DRAWS` fixed draws of X. On
    these alone it would hang on the few in which the largest eigenvalue makes the descent diverge, so that one is
    integrated over the shifted gamma distribution with its mean, variance and skewness on the draws, which is close to
    its own far into the tail (Chiani 2014, arXiv 1209.3394).
    """
    return _spectrum(dims, examples).error(rate, steps, noise_variance)


@dataclass(frozen=True)
class _Spectrum:
    """The eigenvalues of X^T X / k: ``others`` (draws, min(k, d) - 1), and the largest by quadrature."""

    dims: int
    examples: int
    others: Array
    largest: Array
    weights: Array

    def error(self, rate: float, steps: int, noise_variance: float) -> float:
        with np.errstate(over="ignore"):
            largest = self._terms(self.largest, rate, steps, noise_variance) @ self.weights
            others = self._terms(self.others, rate, steps, noise_variance).sum(axis=1).mean()
        missing = self.dims - min(self.dims, self.examples)
        return float(largest + others + missing) / self.dims

    def _terms(self, eigenvalues: Array, rate: float, steps: int, noise_variance: float) -> Array:
        left: Array = (1 - rate * eigenvalues) ** steps
        terms: Array = np.square(left)
        if noise_variance > 0:
            terms = terms + noise_variance / self.examples * np.square(1 - left) / eigenvalues
        return terms


def _example(dims: int, i: int) -> Float[Tensor, "draws dims"]:
    return torch.randn(DRAWS, dims, generator=generator(0, f"best rate/{dims}", i), dtype=torch.float64)


@lru_cache(maxsize=1024)
def _spectrum(dims: int, examples: int) -> _Spectrum:
    # Examples have streams of their own, so that one more adds to the same draws and rates change little with k.
    xs = torch.stack([_example(dims, i) for i in range(examples)], dim=1)
    products = xs @ xs.mT if examples < dims else xs.mT @ xs
    eigenvalues = (torch.linalg.eigvalsh(products) / examples).clamp_min(torch.finfo(torch.float64).tiny).numpy()
    top = eigenvalues[:, -1]
    skewness = max(float(np.mean(((top - top.mean()) / top.std()) ** 3)), _LEAST_SKEWNESS)
    shape = 4 / skewness**2
    scale = float(top.std()) / math.sqrt(shape)
    nodes, weights = roots_genlaguerre(_NODES, shape - 1)
    largest = np.maximum(float(top.mean()) + scale * (nodes - shape), np.finfo(np.float64).tiny)
    return _Spectrum(dims, examples, eigenvalues[:, :-1], largest, weights / weights.sum())
