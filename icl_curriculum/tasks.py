"""A task: a function class, an input distribution, a number of dimensions and a label noise.

Training, evaluation and scoring draw their prompts here and nowhere else.
Dimensions: n = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.contracts import at_work, expect_shape
from icl_curriculum.function_classes.base import FunctionClass, InputSampler
from icl_curriculum.inputs import InputDistribution
from icl_curriculum.prompts import Prompts
from icl_curriculum.streams import Streams

_DENOMINATOR_PROMPTS = 1 << 18
_DENOMINATOR_CHUNK = 1 << 14


@dataclass(frozen=True)
class Task:
    """What a prompt is made of. ``label_noise`` None: the class's own (raw units)."""

    function_class: FunctionClass
    inputs: InputDistribution
    dims: int
    label_noise: float | None = None

    @property
    def raw_noise(self) -> float:
        return self.function_class.label_noise if self.label_noise is None else self.label_noise

    def draw(self, n: int, points: int, streams: Streams, *, active_dims: int | None = None) -> Prompts:
        """``n`` prompts of ``points`` points; coordinates from ``active_dims`` on are zero if it is given."""
        sampler = self.inputs if active_dims is None else _Truncated(self.inputs, active_dims)
        with at_work(self.function_class, "draw"):
            xs, values, truth = self.function_class.draw(n, points, self.dims, _Checked(sampler, self.inputs), streams)
        expect_shape(self.function_class, "draw (inputs)", xs, (n, points, self.dims), "prompts, points, dims")
        expect_shape(self.function_class, "draw (values)", values, (n, points), "prompts, points")
        return self.label(xs, values, truth, streams)

    def label(
        self,
        xs: Float[Tensor, "n points dims"],
        values: Float[Tensor, "n points"],
        truth: dict[str, Tensor],
        streams: Streams,
        *,
        queries: Float[Tensor, "n points dims"] | None = None,
        query_values: Float[Tensor, "n points"] | None = None,
    ) -> Prompts:
        """Prompts from clean raw values: adds the label noise from its own stream and the class's unit."""
        scale = self.function_class.output_scale(self.dims)
        ys = values
        if self.raw_noise > 0:
            noise = streams.generator("noise")
            ys = values + self.raw_noise * torch.randn(values.shape, generator=noise, device=values.device)
        targets = values if query_values is None else query_values
        return Prompts(
            xs=xs,
            ys=ys * scale if scale != 1 else ys,
            targets=targets * scale if scale != 1 else targets,
            queries=queries,
            function_class=self.function_class.id,
            label_noise=self.raw_noise * scale,
            truth=truth,
        )

    def trivial_error(self) -> float:
        """The squared error of predicting zero under the reference inputs, in the units of the targets."""
        return self.function_class.trivial_error(self.dims) * self.function_class.output_scale(self.dims) ** 2

    def second_moment(self) -> float:
        """E f(x)^2 under this task's inputs, in the units of the targets; infinite where it does not exist.

        Closed form where the class has one, else one Monte Carlo of 2^18 functions and inputs from a
        stream of its own, the same for every bank.
        """
        if not self.has_second_moment():
            return float("inf")
        closed = self.function_class.second_moment(
            self.dims,
            squared_norm=self.inputs.squared_norm(self.dims),
            spectrum=self.inputs.spectrum(self.dims),
        )
        if closed is None:
            return self._monte_carlo_second_moment()
        return closed * self.function_class.output_scale(self.dims) ** 2

    def has_second_moment(self) -> bool:
        """Whether E f(x)^2 is finite: the tail index must exceed twice the class's growth."""
        return self.inputs.tail_index > 2 * self.function_class.growth

    def has_error_variance(self) -> bool:
        """Whether the squared error has a finite variance, so that intervals of its mean make sense."""
        return self.inputs.tail_index > 4 * self.function_class.growth

    def _monte_carlo_second_moment(self) -> float:
        total = 0.0
        for chunk in range(_DENOMINATOR_PROMPTS // _DENOMINATOR_CHUNK):
            streams = Streams(0, f"denominator/{self.function_class.id}/{self.inputs.id}/{self.dims}", chunk)
            total += float(self.draw(_DENOMINATOR_CHUNK, 1, streams).targets.double().square().sum())
        return total / _DENOMINATOR_PROMPTS


@dataclass(frozen=True)
class _Checked:
    """A sampler held to its contract; ``inputs`` is the distribution that answers for it."""

    sampler: InputSampler
    inputs: InputDistribution

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        with at_work(self.inputs, "sample"):
            xs = self.sampler.sample(n, points, dims, generator)
        expect_shape(self.inputs, "sample", xs, (n, points, dims), "prompts, points, dims")
        return xs


@dataclass(frozen=True)
class _Truncated:
    """An input distribution whose coordinates from ``active`` on are set to zero (Garg et al.'s curriculum)."""

    inputs: InputSampler
    active: int

    def sample(self, n: int, points: int, dims: int, generator: torch.Generator) -> Float[Tensor, "n points dims"]:
        xs = self.inputs.sample(n, points, dims, generator)
        xs[:, :, self.active :] = 0
        return xs
