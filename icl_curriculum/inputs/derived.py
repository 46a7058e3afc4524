"""Input distributions made from another one.

Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.inputs.base import AnyInputs, InputDistribution, register_inputs


class Derived(InputDistribution):
    """A change of another distribution's inputs that keeps its tails; a subclass says what `sample` changes."""

    of: AnyInputs = Field("gaussian", validate_default=True, description="the distribution that is changed")

    @property
    def tail_index(self) -> float:
        return self.of.tail_index

    def check_dims(self, dims: int) -> None:
        self.of.check_dims(dims)

    def squared_norm(self, dims: int) -> float:
        return self.of.squared_norm(dims)

    def largest(self, dims: int) -> float:
        return self.of.largest(dims)

    def only_signs(self, dims: int) -> bool:
        return self.of.only_signs(dims)


@register_inputs("scaled")
class Scaled(Derived):
    """The inputs of another distribution, the Gaussian by default, times c. E|x|^2 is c^2 times its own."""

    id_fields: ClassVar[tuple[str, ...]] = ("factor",)

    factor: float = Field(2.0, ge=1e-6, le=1e6, description="c, what the inputs are multiplied by")

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        return self.of.sample(n, points, dims, generator) * self.factor

    def squared_norm(self, dims: int) -> float:
        return self.of.squared_norm(dims) * self.factor**2

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        spectrum = self.of.spectrum(dims)
        return None if spectrum is None else tuple(value * self.factor**2 for value in spectrum)

    def largest(self, dims: int) -> float:
        return self.of.largest(dims) * self.factor

    def only_signs(self, dims: int) -> bool:
        return self.of.only_signs(dims) and self.factor == 1

    def rotation_invariant(self, dims: int) -> bool:
        return self.of.rotation_invariant(dims)

    def rank(self, dims: int) -> int:
        return self.of.rank(dims)


class InOneOrthant(Derived):
    """Another distribution's inputs with all signs of a prompt set to those of one random orthant. Not registered."""

    name: ClassVar[str] = "in_one_orthant"

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        signs = random_orthants(n, dims, generator)
        return self.of.sample(n, points, dims, generator).abs() * signs

    def spectrum(self, dims: int) -> tuple[float, ...] | None:
        # The spectrum serves for E f(x)^2, which is about single points. If all eigenvalues are equal, the coordinates
        # of a single point are independent, so setting their signs at random changes nothing.
        spectrum = self.of.spectrum(dims)
        return spectrum if spectrum is not None and len(set(spectrum)) == 1 else None

    def rotation_invariant(self, dims: int) -> bool:
        return False


def random_orthants(n: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n 1 dims"]:
    """The signs, -1 or 1, of an orthant drawn uniformly for each prompt."""
    drawn = torch.randint(0, 2, (n, 1, dims), generator=generator, device=generator.device)
    return (2 * drawn - 1).to(torch.get_default_dtype())
