"""Checks trivial errors: the catalogue's formulas, what classes declare, and second moments of what they draw.

The tails of the Hermite polynomial of degree 3 with Gaussian weights defeat Monte Carlo; quadrature takes its place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.tasks import Task
from icl_curriculum.verify.cases import Spec, built_in, named, task_of
from icl_curriculum.verify.checks import Check, CheckOutcome, drawn, exact, rounded
from icl_curriculum.verify.monte_carlo import PROMPTS, second_moments

_POINTS = 4


@dataclass(frozen=True)
class GoldenTrivialError:
    """The trivial error of a class: ``value`` from a formula, or as ``printed`` where only digits are known."""

    spec: Spec
    dims: int
    source: str
    value: float | None = None
    printed: str | None = None


def _hermite(degree: int, weights: str) -> Spec:
    return {"name": "hermite", "degree": degree, "weights": weights}


def gaussian_hermite(degree: int, m2: float, m4: float, m6: float) -> float:
    """E f^2 of the Hermite class for degrees 1 to 3 from m_j = E (w·x)^j."""
    second, third = (m4 - 2 * m2 + 1) / 2, (m6 - 6 * m4 + 9 * m2) / 6
    cross = math.sqrt(2 / 3) * (m4 - 3 * m2)
    return {1: m2, 2: (m2 + second) / 2, 3: (m2 + second + third + cross) / 3}[degree]


#: The class whose tails defeat Monte Carlo.
_HEAVY = _hermite(3, "gaussian")
#: E A^2 / 2 for amplitudes A ~ U[0.1, 5].
SINUSOID = (5**3 - 0.1**3) / 4.9 / 6
_MOMENTS_20 = (20.0, 3 * 20 * 22.0, 15 * 20 * 22 * 24.0)

CATALOGUE = [
    GoldenTrivialError("linear", 20, "d", 20.0),
    GoldenTrivialError("noisy_linear", 20, "d, of the clean function", 20.0),
    GoldenTrivialError("sparse_linear", 20, "s", 3.0),
    GoldenTrivialError({"name": "sparse_linear", "sparsity": 2}, 20, "s", 2.0),
    *(GoldenTrivialError({"name": "cap_linear", "angle": a}, 20, "d, as |w|^2 = d", 20.0) for a in (30.0, 180.0)),
    GoldenTrivialError("power_law_linear", 20, "d", 20.0),
    GoldenTrivialError("linear_classification", 20, "signs", 1.0),
    GoldenTrivialError("quadratic", 20, "d", 20.0),
    GoldenTrivialError("relu_network", 20, "d", 20.0),
    GoldenTrivialError("decision_tree", 20, "leaves of variance 1", 1.0),
    *(GoldenTrivialError(_hermite(p, "unit"), 20, "orthonormal polynomials", 1.0) for p in (1, 2, 3, 4)),
    *(
        GoldenTrivialError(_hermite(p, "gaussian"), 20, "moments of w·x", gaussian_hermite(p, *_MOMENTS_20), printed)
        for p, printed in ((1, "20.000"), (2, "330.250"), (3, "8933.10"))
    ),
    GoldenTrivialError("chebyshev", 1, "sum of (1 - 1 / (4 j^2 - 1)) / 2, as printed", printed="4.4609"),
    *(GoldenTrivialError("sinusoid", d, "E A^2 / 2", SINUSOID, "4.25167") for d in (1, 5)),
    GoldenTrivialError("parity", 10, "signs", 1.0),
    GoldenTrivialError("gaussian_mixture", 20, "d + 8", 28.0),
    GoldenTrivialError("low_rank_linear", 20, "d", 20.0),
    GoldenTrivialError({"name": "low_rank_linear", "rank": 2}, 20, "d", 20.0),
    GoldenTrivialError("linear_dynamics", 20, "rho^2 d", 0.9**2 * 20),
    GoldenTrivialError({"name": "linear_map", "label_dims": 3}, 20, "m d", 60.0),
    GoldenTrivialError("composition", 20, "m, as E|s|^2 = m", 2.0),
    GoldenTrivialError({"name": "composition", "first": {"name": "linear_map", "label_dims": 5}}, 3, "m", 5.0),
    GoldenTrivialError({"name": "multiclass_linear", "n_classes": 4}, 20, "one-hot vectors", 1.0),
    GoldenTrivialError("gaussian_classes", 5, "one-hot vectors", 1.0),
    GoldenTrivialError("table", 5, "a standardised target", 1.0),
]


def checks() -> Iterator[Check]:
    """Two checks for each class: what it declares against the catalogue, and against what it draws."""
    known = set()
    for golden in CATALOGUE:
        known.add(golden.spec if isinstance(golden.spec, str) else golden.spec["name"])
        task = task_of(golden.spec, golden.dims)
        name = named(task.function_class, golden.dims)
        yield Check(name, "declared", partial(_declared, golden, task))
        if golden.spec == _HEAVY:
            yield Check(name, "by quadrature", partial(_by_quadrature, task))
        else:
            yield Check(name, "drawn", partial(_drawn, task))
    for name in sorted(set(built_in(FUNCTION_CLASSES)) - known):
        yield Check(name, "unknown", _unknown)


def _declared(golden: GoldenTrivialError, task: Task) -> CheckOutcome:
    declared = task.function_class.trivial_error(golden.dims)
    if golden.value is None:
        assert golden.printed is not None
        return rounded(golden.printed, declared, golden.source)
    return exact(golden.value, declared, golden.source, printed=golden.printed)


def _unknown() -> CheckOutcome:
    note = "add it to CATALOGUE in icl_curriculum/verify/trivial_errors.py"
    return CheckOutcome(False, "a golden number", "every built-in class has one", "none", note=note)


def _drawn(task: Task) -> CheckOutcome:
    def draw(index: int) -> Prompts:
        return task.draw(PROMPTS, _POINTS, Streams(0, f"verify/trivial error/{task.function_class.family}", index))

    return drawn(task.trivial_error(), second_moments(draw).overall, "as declared")


def _by_quadrature(task: Task) -> CheckOutcome:
    return exact(task.trivial_error(), gaussian_projection(task.function_class, task.dims), "as declared")


def gaussian_projection(function_class: FunctionClass, dims: int) -> float:
    """E f(x)^2 of a class whose f is a polynomial in w·x, with w and x from N(0, I), d even; exact up to rounding.

    The expectation over |w|^2 / 2 = u, of density u^(d/2 - 1) exp(-u) / (d/2 - 1)!, and that over x along w, from
    N(0, 1), are each a Gaussian quadrature of 24 nodes. f is the class's own `evaluate`.
    """
    u, u_weights = np.polynomial.laguerre.laggauss(24)
    x, x_weights = np.polynomial.hermite_e.hermegauss(24)
    w, xs = torch.zeros(len(u), dims, dtype=torch.float64), torch.zeros(len(u), len(x), dims, dtype=torch.float64)
    w[:, 0], xs[:, :, 0] = torch.from_numpy(np.sqrt(2 * u)), torch.from_numpy(x)
    squares = function_class.evaluate({"w": w}, xs).square().numpy()
    density = u_weights * u ** (dims // 2 - 1) / math.factorial(dims // 2 - 1)
    return float(density @ squares @ x_weights / math.sqrt(2 * math.pi))
