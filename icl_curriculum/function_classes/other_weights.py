"""Linear functions whose weights have another distribution than N(0, I), of the same mean square length."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.regression import predict_every_prefix
from icl_curriculum.core.transfers import sent
from icl_curriculum.function_classes.base import OracleKind, Parameters, register_function_class
from icl_curriculum.function_classes.linear import Linear

#: The narrowest band of angles, in degrees.
NARROWEST = 0.001
#: Angles between which the quantiles of an angle are interpolated, and the log density that is as good as none.
_ANGLES, _NEGLIGIBLE = 4097, -40.0


@register_function_class("cap_linear")
class CapLinear(Linear):
    """f(x) = w·x with w uniform on a cap of the sphere of radius sqrt(d), around the first axis.

    The angle between w and the axis is at most ``angle``, and at least ``least_angle``, with which what is left of the
    sphere can be asked of a model that was trained on a cap. Trivial error d. No oracle in closed form.
    Source: Goddard et al. 2025, section 2.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("angle",)

    angle: float = Field(
        45.0, ge=NARROWEST, le=180, description="largest angle between w and the first axis, in degrees"
    )
    least_angle: float = Field(0.0, ge=0, lt=180, description="smallest angle between w and the first axis, in degrees")

    @model_validator(mode="after")
    def _in_order(self) -> CapLinear:
        if self.least_angle > self.angle - NARROWEST:
            raise ValueError(
                f"expected a least_angle below the angle {self.angle:g} by {NARROWEST:g} or more, found "
                f"{self.least_angle:g}"
            )
        return self

    @property
    def oracle_kind(self) -> OracleKind:
        return None

    def check_dims(self, dims: int) -> None:
        if dims < 2:
            raise UserError(f"a cap needs 2 dimensions or more, found {dims}", subject=self.name)

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        self.check_dims(dims)
        angles, shares = (sent(value, generator.device) for value in _angles(self.least_angle, self.angle, dims))
        uniform = torch.rand(n, generator=generator, device=generator.device)
        right = torch.searchsorted(shares, uniform).clamp(1, len(shares) - 1)
        gap = shares[right] - shares[right - 1]
        part = ((uniform - shares[right - 1]) / gap.clamp_min(torch.finfo(gap.dtype).tiny)).clamp(0, 1)
        angle = angles[right - 1] + part * (angles[right] - angles[right - 1])
        across = torch.nn.functional.normalize(normal(n, dims - 1, generator=generator), dim=1)
        w = torch.cat([angle.cos().unsqueeze(1), angle.sin().unsqueeze(1) * across], dim=1)
        return {"w": w * math.sqrt(dims)}

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        # Under inputs that are not turned at random it depends on the axis.
        return None if spectrum is None else squared_norm


@functools.lru_cache(maxsize=16)
def _angles(least: float, largest: float, dims: int) -> tuple[Tensor, Tensor]:
    """Angles to the axis, in radians, and the share of a band of the sphere up to each: its density is sin^(d - 2)."""
    low, high = math.radians(least), math.radians(largest)
    for _ in range(2):  # Then only where there is anything: in many dimensions nearly all lies around the equator.
        angles = torch.linspace(low, high, _ANGLES, dtype=torch.float64)
        density = (dims - 2) * angles.sin().clamp_min(1e-300).log() if dims > 2 else torch.zeros_like(angles)
        density -= density.max()
        there = (density > _NEGLIGIBLE).nonzero().flatten()
        low = float(angles[max(int(there[0]) - 1, 0)])
        high = float(angles[min(int(there[-1]) + 1, _ANGLES - 1)])
    shares = torch.cumulative_trapezoid(density.exp(), angles)
    shares = torch.cat([torch.zeros(1, dtype=torch.float64), shares / shares[-1]])
    return angles.float(), shares.float()


@register_function_class("power_law_linear")
class PowerLawLinear(Linear):
    """f(x) = w·x with independent w_i ~ N(0, s_i), where s_i falls like i^-decay and sums to d.

    Trivial error d. Oracle: ridge regression after each coordinate is multiplied by sqrt(s_i), the posterior mean for
    any inputs that do not depend on w; under label noise of variance s^2 its penalty is s^2.
    """

    id_fields: ClassVar[tuple[str, ...]] = ("decay",)

    decay: float = Field(1.0, ge=0, le=100, description="exponent by which the variances of the weights fall")

    def deviations(self, dims: int) -> Float[Tensor, " dims"]:
        """The standard deviations of the weights."""
        shares = torch.arange(1, dims + 1, dtype=torch.float64) ** -self.decay
        return (dims * shares / shares.sum()).sqrt().float()

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        return {"w": normal(n, dims, generator=generator) * sent(self.deviations(dims), generator.device)}

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        # Under inputs that are not turned at random it depends on how large which coordinate is.
        return None if spectrum is None else squared_norm

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        spread = self.deviations(prompts.dims).to(prompts.xs.device)
        asked = None if prompts.queries is None else prompts.queries * spread
        return predict_every_prefix(prompts.xs * spread, prompts.ys, asked, penalty=prompts.noise_variance)
