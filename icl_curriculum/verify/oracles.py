"""Golden errors of oracles: those that the catalogue of function classes states, and formulas for others.

Dimensions: n = prompts, points = K + 1, d = dims.
"""

from __future__ import annotations

import math
from functools import partial
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import FUNCTION_CLASSES
from icl_curriculum.function_classes import FunctionClass
from icl_curriculum.verify.cases import Spec
from icl_curriculum.verify.checks import Figure, printed
from icl_curriculum.verify.learners import FEW, LIKELIHOOD, NONE, ORACLE, PROMPTS, RAW, Case, Golden
from icl_curriculum.verify.trivial_errors import SINUSOID

DIMS = 20


def ridge_error(prompts: Prompts, k: int) -> Float[Tensor, " n"]:
    """sigma^2 tr (X^T X + sigma^2 I)^-1, the error of ridge regression for w and the query from N(0, I)."""
    variance = prompts.label_noise**2
    xs = prompts.xs[:, :k].double()
    penalty = variance * torch.eye(prompts.dims, dtype=torch.float64)
    traces: Tensor = torch.linalg.inv(xs.mT @ xs + penalty).diagonal(dim1=1, dim2=2).sum(-1)
    return variance * traces


def quadratic_error(prompts: Prompts, k: int) -> Float[Tensor, " n"]:
    """The posterior variance at the query, for the features x_j^2 / sqrt(3)."""
    return _outside(prompts.xs.square() / math.sqrt(3), prompts.query().square() / math.sqrt(3), k)


def power_law_error(prompts: Prompts, k: int) -> Float[Tensor, " n"]:
    """The posterior variance at the query, for the features sqrt(s_i) x_i, where s_i falls like 1 / i and sums to d."""
    shares = 1 / torch.arange(1, prompts.dims + 1, dtype=torch.float64)
    spread = (shares * prompts.dims / shares.sum()).sqrt()
    return _outside(prompts.xs.double() * spread, prompts.query().double() * spread, k)


def chebyshev_error(prompts: Prompts, k: int) -> Float[Tensor, " n"]:
    """The posterior variance at the query, for the features T_3(x) to T_11(x), as numpy computes them."""

    def features(xs: Tensor) -> Tensor:
        return torch.from_numpy(np.polynomial.chebyshev.chebvander(xs[..., 0].double().numpy(), 11)[..., 3:])

    return _outside(features(prompts.xs), features(prompts.query()), k)


def _outside(
    features: Float[Tensor, "n points features"], asked: Float[Tensor, "n points features"], k: int
) -> Float[Tensor, " n"]:
    """Returns |b - P b|^2, with b the features at the query and P the projection on the span of those of k examples.

    That is the posterior variance for weights N(0, I) where k is at most the number of features.
    """
    query = asked[:, k].double()
    basis = torch.linalg.qr(features[:, :k].double().mT)[0]
    return query.square().sum(-1) - torch.einsum("nfk,nf->nk", basis, query).square().sum(-1)


def pool_spread(pool: Spec, prompts: Prompts, k: int) -> Float[Tensor, " n"]:
    """The mean of |w_i - w|^2 over the linear functions of a pool, w their mean: the error of w for inputs N(0, I)."""
    members = cast(FunctionClass, FUNCTION_CLASSES.build(pool)).pool(prompts.dims)["w"].double()
    return (members - members.mean(0)).square().sum(-1).mean().expand(len(prompts))


#: A pool of two different subsets, whose products differ on half of all inputs.
_PARITIES: Spec = {"name": "parity", "pool_size": 2}
_POOL: Spec = {"name": "linear", "pool_size": 4}
#: The error at k = 0, as E sin(x + phi) = 2 cos(x) / pi for phi ~ U[0, pi], and x ~ U[-5, 5].
_SINUSOID = SINUSOID - (5.1 / 2 * 2 / math.pi) ** 2 * (1 / 2 + math.sin(10) / 20)
_CATALOGUE = "catalogue, Monte Carlo"
#: Of 400,000 prompts, each class's points as one normal vector of covariance 1 1^T + sigma^2 I; three standard errors.
_CLOUDS = "Monte Carlo by conditioning normal vectors"
_VARIANCE = "E |b - P b|^2, b the features at the query, P on the span of the examples'"


def _pool_mean(pool: Spec) -> Spec:
    return {"name": "dmmse", "pool": pool, "id": "dmmse"}


CASES = [
    Case("linear", DIMS, [
        Golden(ORACLE, {k: Figure(20.0 - k) for k in (1, 5, 10, 15)}, "max(0, d - k)", RAW),
    ]),
    Case("linear", DIMS, [Golden(ORACLE, {20: NONE}, "max(0, d - k)", RAW)], prompts=FEW),
    Case("sparse_linear", DIMS, [
        Golden(ORACLE, {0: Figure(3.0), 1: Figure(2.0), 2: Figure(1.0), 3: NONE}, "max(0, s - k), support known", RAW),
    ], prompts=2 * PROMPTS),
    Case("sparse_linear", DIMS, [
        Golden(
            "sparse_posterior", {k: Figure(value, 0.03) for k, value in {1: 0.91, 2: 0.86, 3: 0.72, 4: 0.0}.items()},
            "catalogue, Monte Carlo; support unknown, over s",
        ),
    ], prompts=1 << 11),
    Case("noisy_linear", DIMS, [
        Golden(ORACLE, dict.fromkeys((5, 10, 20), ridge_error), "sigma^2 E tr (X^T X + sigma^2 I)^-1", RAW),
    ]),
    Case("power_law_linear", DIMS, [
        Golden(ORACLE, dict.fromkeys((1, 5, 10, 15), power_law_error), _VARIANCE, RAW),
    ]),
    Case("quadratic", DIMS, [
        Golden(
            ORACLE, {1: printed(".843"), 5: printed(".570"), 10: printed(".369"), 15: printed(".176")}, _CATALOGUE,
        ),
        Golden(ORACLE, dict.fromkeys((2, 8, 12), quadratic_error), f"{_VARIANCE} / d"),
    ]),
    Case("quadratic", DIMS, [Golden(ORACLE, {20: NONE}, "as many equations as weights", RAW)], prompts=FEW),
    Case("chebyshev", 1, [
        Golden(ORACLE, dict.fromkeys((1, 3, 5, 8), chebyshev_error) | {12: NONE}, _VARIANCE, RAW),
    ]),
    Case("sinusoid", 1, [
        Golden(ORACLE, {0: Figure(_SINUSOID)}, "E f(x)^2 - E (E f(x))^2", RAW),
        Golden(ORACLE, {2: NONE, 5: NONE}, "two linear equations", RAW),
    ]),
    Case("parity", 10, [
        Golden(
            ORACLE,
            {2: printed(".906"), 4: printed(".675"), 6: printed(".279"), 8: printed(".084"), 10: printed(".020")},
            _CATALOGUE, RAW,
        ),
    ]),
    Case("gaussian_mixture", DIMS, [
        Golden(ORACLE, {1: printed("24.8"), 5: printed("16.1"), 10: printed("9.27")}, _CATALOGUE, RAW),
    ]),
    Case({"name": "linear_map", "label_dims": 3}, DIMS, [
        Golden(ORACLE, {k: Figure(3 * (20.0 - k)) for k in (1, 5, 10, 15)}, "m max(0, d - k)", RAW),
    ]),
    Case("gaussian_classes", 5, [
        Golden(
            ORACLE,
            {0: Figure(1.0, 1e-9), 1: Figure(0.5982, 0.0035), 2: Figure(0.3372, 0.003), 5: Figure(0.1224, 0.002),
             10: Figure(0.0695, 0.0015), 20: Figure(0.0493, 0.0013)},
            _CLOUDS,
        ),
        Golden(
            ORACLE,
            {0: Figure(math.log(3), 1e-9), 1: Figure(0.6940, 0.0026), 2: Figure(0.4541, 0.003),
             5: Figure(0.2011, 0.0025), 10: Figure(0.1159, 0.002), 20: Figure(0.0819, 0.0017)},
            _CLOUDS, LIKELIHOOD,
        ),
        Golden("zero", {5: Figure(1.0, 1e-9)}, "chance"),
        Golden("zero", {5: Figure(math.log(3), 1e-9)}, "log C", LIKELIHOOD),
    ], prompts=4 * PROMPTS),
    Case(_POOL, DIMS, [
        Golden(_pool_mean(_POOL), {0: partial(pool_spread, _POOL)}, "the pool's spread around its mean", RAW),
        Golden(_pool_mean(_POOL), {2: NONE, 5: NONE}, "examples tell the functions apart", RAW),
    ]),
    Case(_PARITIES, 10, [
        Golden(
            _pool_mean(_PARITIES), {k: Figure(0.5 ** (k + 1)) for k in (0, 1, 2, 4)},
            "2^-(k + 1): an example tells the two apart half of the time", RAW,
        ),
    ], prompts=2 * PROMPTS),
]  # fmt: skip
