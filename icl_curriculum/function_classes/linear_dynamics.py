"""Observations of a linear dynamical system, which makes its own inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal, random_rotations
from icl_curriculum.core.streams import Streams
from icl_curriculum.function_classes.base import FunctionClass, InputSampler, Parameters, register_function_class


@register_function_class("linear_dynamics")
class LinearDynamics(FunctionClass):
    """f(x) = c·(rho Q x), c ~ N(0, I), along x_{t+1} = rho Q x_t + sqrt(1 - rho^2) e_t, Q a uniform orthogonal matrix.

    x_0 and e_t are N(0, I), so every x_t is. The class makes its own inputs: x_{t+1}, too, says something about Q.
    Trivial error rho^2 d. No oracle is known. Source: after the dynamical systems of Li et al. 2023
    (arXiv 2301.07067), with one label a step.
    """

    owns_inputs: ClassVar[bool] = True

    rho: float = Field(0.9, gt=0, le=1, description="how much of a state stays; 1: no noise in the dynamics")

    def sample(self, n: int, dims: int, generator: torch.Generator) -> Parameters:
        # QR with the signs of R's diagonal made positive is uniform (Mezzadri 2007).
        return {"rotation": random_rotations(n, dims, generator), "c": normal(n, dims, generator=generator)}

    def evaluate(self, parameters: Parameters, xs: Float[Tensor, "n points dims"]) -> Float[Tensor, "n points"]:
        weights = torch.einsum("nij,ni->nj", parameters["rotation"], parameters["c"])
        return self.rho * torch.einsum("npd,nd->np", xs, weights)

    def trivial_error(self, dims: int) -> float:
        return self.rho**2 * dims

    def second_moment(self, dims: int, *, squared_norm: float, spectrum: Sequence[float] | None) -> float | None:
        return self.rho**2 * squared_norm

    def draw(
        self, n: int, points: int, dims: int, inputs: InputSampler, streams: Streams
    ) -> tuple[Float[Tensor, "n points dims"], Float[Tensor, "n points"], Parameters]:
        """Draw a trajectory for each prompt; ``inputs`` gives x_0 and the noise e_t."""
        noise = inputs.sample(n, points, dims, streams.generator("inputs"))
        parameters = self.draw_functions(n, dims, streams)
        states = [noise[:, 0]]
        for t in range(1, points):
            moved = torch.einsum("nij,nj->ni", parameters["rotation"], states[-1])
            states.append(self.rho * moved + math.sqrt(1 - self.rho**2) * noise[:, t])
        xs = rearrange(states, "p n d -> n p d")
        return xs, self.evaluate(parameters, xs), parameters
