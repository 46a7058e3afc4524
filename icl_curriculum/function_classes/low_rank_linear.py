"""Linear functions whose weights form a matrix of low rank."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal
from icl_curriculum.core.errors import UserError
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.function_classes.base import OracleKind, Parameters, register_function_class
from icl_curriculum.function_classes.linear import Linear


@register_function_class("low_rank_linear")
class LowRankLinear(Linear):
    """f(x) = w·x with w = vec(U V^T) / sqrt(r), U: m1 x r and V: m2 x r of N(0, 1), d = m1 m2.

    m1 is ``rows``, or the largest divisor of d up to sqrt(d). Trivial error d: the weights are uncorrelated
    and have variance 1. No oracle is known. Source: low-rank regression in Panwar et al. 2024 (ICLR).
    """

    id_fields: ClassVar[tuple[str, ...]] = ("rank",)

    rank: int = Field(1, ge=1, le=1_000_000, description="r, at most the smaller side of the matrix")
    rows: int | None = Field(None, ge=1, le=1_000_000, description="m1, a divisor of d; default: the most square")

    @property
    def oracle_kind(self) -> OracleKind:
        return None

    def sides(self, dims: int) -> tuple[int, int]:
        """The shape (m1, m2) of the matrix in ``dims`` dimensions."""
        rows = self.rows or max(m for m in range(1, math.isqrt(dims) + 1) if dims % m == 0)
        return rows, dims // rows

    def check_dims(self, dims: int) -> None:
        rows, columns = self.sides(dims)
        if rows * columns != dims:
            raise UserError(f"rows {rows} does not divide the number of dimensions {dims}", subject=self.name)
        if self.rank > min(rows, columns):
            raise UserError(f"rank {self.rank} exceeds a side of the {rows} x {columns} matrix", subject=self.name)

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        self.check_dims(dims)
        rows, columns = self.sides(dims)
        u = normal(n, rows, self.rank, generator=generator)
        v = normal(n, columns, self.rank, generator=generator)
        return {"w": (u @ v.mT).flatten(1) / math.sqrt(self.rank)}

    def oracle(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        raise NotImplementedError("low_rank_linear has no oracle")
