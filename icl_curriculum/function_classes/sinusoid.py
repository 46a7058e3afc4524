"""Sine waves along a random direction (Finn et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.core.draws import unit_vectors
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.function_classes.base import FunctionClass, OracleKind, Parameters, register_function_class

LEAST, GREATEST = 0.1, 5.0


@register_function_class("sinusoid")
class Sinusoid(FunctionClass):
    """f(x) = A sin(u·x + phi), A ~ U[0.1, 5], phi ~ U[0, pi], u uniform on the sphere.

    Trivial error E A^2 / 2 = 4.25167 under any inputs, as 2 phi is uniform on the circle. Reference inputs
    U[-5, 5] for d = 1, as published, and N(0, I) beyond. Oracle for d = 1 without noise, the posterior mean:
    exact from k = 2 on, where A cos(phi) and u A sin(phi) follow from two linear equations.
    Source: Finn et al. 2017 (MAML), section 5.1, which has d = 1 and u = 1.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (
        "zero", "averaging", "least_squares", {"name": "kernel_ridge", "kernel": "rbf"}, "knn",
    )  # fmt: skip

    @property
    def growth(self) -> float:
        return 0.0

    @property
    def oracle_kind(self) -> OracleKind:
        return "optimum"

    def oracle_for(self, dims: int, label_noise: float) -> OracleKind:
        return "optimum" if dims == 1 and label_noise == 0 else None

    def reference(self, dims: int) -> str | dict[str, Any]:
        return {"name": "uniform", "half_width": 5.0} if dims == 1 else "gaussian"

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        direction = unit_vectors(n, dims, generator)
        uniform = torch.rand(n, 2, generator=generator, device=generator.device)
        return {
            "u": direction,
            "amplitude": LEAST + (GREATEST - LEAST) * uniform[:, 0],
            "phase": math.pi * uniform[:, 1],
        }

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        t = torch.einsum("npd,nd->np", xs, parameters["u"]) + parameters["phase"].unsqueeze(1)
        return parameters["amplitude"].unsqueeze(1) * t.sin()

    def trivial_error(self, dims: int) -> float:
        return (GREATEST**3 - LEAST**3) / (GREATEST - LEAST) / 6

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return self.trivial_error(dims)

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """The posterior mean for d = 1, without noise: f(x) = a sin x + b cos x, with a = u A cos(phi), b = A sin(phi).

        k = 0: E f(x) = E[A] 2/pi cos x. k = 1: see `_after_one`. From k = 2 on: least squares on (sin, cos).
        """
        xs, asked = prompts.xs.double().squeeze(-1), prompts.query().double().squeeze(-1)
        ys = prompts.ys.double() / prompts.scale
        basis, asked_basis = (torch.stack([t.sin(), t.cos()], dim=-1) for t in (xs, asked))
        answers = predict_every_prefix(basis, ys, asked_basis)
        answers[:, 0] = (LEAST + GREATEST) / 2 * 2 / math.pi * asked[:, 0].cos()
        if prompts.points > 1:
            answers[:, 1] = _after_one(xs[:, 0], ys[:, 0], asked[:, 1])
        return answers * prompts.scale


def _after_one(x: Float[Tensor, " n"], y: Float[Tensor, " n"], asked: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """E[f(asked) | f(x) = y], in closed form.

    With D = asked - x and v = f'(x), f(asked) = y cos D + v sin D and A^2 = y^2 + v^2. Writing |v| = |y| sinh(t),
    the posterior of t on each sign of v is uniform: the Jacobian of (A, phi) to (y, v) is 1 / A, and
    dv / A = dt. What remains is A in [0.1, 5] and sin(phi) = (y cos x - v sin x) / A >= 0; the integral of v dt is A.
    """
    size = y.abs().clamp_min(1e-12)
    far = (GREATEST / size).clamp_min(1).acosh()
    near = (LEAST / size).clamp_min(1).acosh()
    # On the sign s of v: y cos x >= s |y| sinh(t) sin x.
    limit = y * x.cos() / size
    mass, moment = torch.zeros_like(y), torch.zeros_like(y)
    for sign in (1.0, -1.0):
        slope = sign * x.sin()
        bound = (limit / torch.where(slope == 0, torch.ones_like(slope), slope)).asinh()
        high = torch.where(slope > 0, torch.minimum(far, bound), far)
        low = torch.where(slope < 0, torch.maximum(near, bound), near)
        high = torch.where((slope == 0) & (limit < 0), low, high).maximum(low)
        mass = mass + (high - low)
        moment = moment + sign * size * (high.cosh() - low.cosh())
    difference = asked - x
    return y * difference.cos() + moment / mass.clamp_min(1e-300) * difference.sin()
