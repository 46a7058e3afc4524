"""Noise on the labels that is not Gaussian with one variance: outliers, heavy tails, and noise that grows with x.

Dimensions: n = prompts, points = K + 1, dims = d, labels = the numbers of a label, if they are several.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.draws import normal, student_t
from icl_curriculum.observations.base import OF_NUMBERS, LabelKind, Observation, Pairs, register_observation

#: Huber's regression, whose loss grows linearly beyond 1.35 times a scale that is fitted (Huber 1964). Without an
#: intercept and next to without a penalty, as the functions are linear ones through 0.
HUBER: dict[str, Any] = {
    "name": "sklearn",
    "regressor": "HuberRegressor",
    "parameters": {"fit_intercept": False, "max_iter": 1000},
    "id": "huber",
}


@register_observation("outliers")
class Outliers(Observation):
    """A share of the labels is replaced by noise that says nothing of the function.

    Numbers become N(0, ``spread``^2 T), T the trivial error; signs and classes become any, each as likely. Every label
    is replaced by itself, whatever the others. This is Huber's contamination model (Huber 1964).
    """

    id_fields: ClassVar[tuple[str, ...]] = ("share",)
    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (HUBER,)

    share: float = Field(0.1, gt=0, le=1, description="probability that a label is replaced")
    spread: float = Field(
        3.0, gt=0, le=1e6, description="standard deviation of an outlier over the root of the trivial error"
    )

    @property
    def noise_variance(self) -> float:
        return self.share * (1 + self.spread**2)

    def show(self, pairs: Pairs, generator: torch.Generator) -> Pairs:
        replaced = torch.rand(pairs.ys.shape[:2], generator=generator, device=generator.device) < self.share
        if pairs.kind in OF_NUMBERS:
            others = self.spread * pairs.size * _like(pairs.ys, generator)
        else:
            shape = pairs.ys.shape[:2]
            drawn = torch.randint(pairs.n_classes, shape, generator=generator, device=generator.device)
            if pairs.kind == "signs":
                others = (2 * drawn - 1).to(pairs.ys.dtype)
            else:
                others = torch.zeros_like(pairs.ys).scatter_(-1, drawn.unsqueeze(-1), 1.0)
        return replace(pairs, ys=torch.where(_beside(replaced, pairs.ys), others, pairs.ys))


class _LevelNoise(Observation):
    """Noise of mean 0 that is added to numbers, with a standard deviation that is given."""

    kinds: ClassVar[frozenset[LabelKind]] = OF_NUMBERS
    id_fields: ClassVar[tuple[str, ...]] = ("level",)

    level: float = Field(
        0.5,
        gt=0,
        le=1e6,
        description="standard deviation over the root of the trivial error, of vectors of each number's share of it",
    )

    @property
    def noise_variance(self) -> float:
        return self.level**2


@register_observation("student_t_noise")
class StudentTNoise(_LevelNoise):
    """Label noise with Student's t distribution, of the same standard deviation whatever its tails.

    y = f(x) + level sqrt(T (df - 2) / df) t with ``df`` degrees of freedom, T the trivial error: at df = 3 the
    noise of one label in 72 is beyond 3 standard deviations; of Gaussian noise it is one in 370.
    """

    baselines: ClassVar[tuple[str | dict[str, Any], ...]] = (HUBER,)

    df: float = Field(3.0, gt=2, le=1e6, description="degrees of freedom; up to 2 there is no variance")

    def show(self, pairs: Pairs, generator: torch.Generator) -> Pairs:
        drawn = student_t(*pairs.ys.shape, df=self.df, generator=generator)
        return replace(pairs, ys=pairs.ys + self.level * pairs.size * math.sqrt((self.df - 2) / self.df) * drawn)


@register_observation("heteroscedastic_noise")
class HeteroscedasticNoise(_LevelNoise):
    """Gaussian label noise whose standard deviation grows with the input: level sqrt(T) |x| / sqrt(d).

    T is the trivial error. Averaged over inputs with E|x|^2 = d it has the variance of label noise of the same level.
    """

    def show(self, pairs: Pairs, generator: torch.Generator) -> Pairs:
        grown = pairs.xs.norm(dim=-1) / math.sqrt(pairs.xs.shape[-1])
        noise = self.level * pairs.size * _like(pairs.ys, generator)
        return replace(pairs, ys=pairs.ys + _beside(grown, pairs.ys) * noise)


def _like(ys: Float[Tensor, "n points *labels"], generator: torch.Generator) -> Float[Tensor, "n points *labels"]:
    """Standard normal numbers, one for each number of a label."""
    return normal(*ys.shape, generator=generator)


def _beside(
    entries: Float[Tensor, "n points"] | Bool[Tensor, "n points"], ys: Float[Tensor, "n points *labels"]
) -> Tensor:
    """What there is one of for every entry, shaped so that it goes with every number of a label."""
    return entries if ys.ndim == 2 else rearrange(entries, "n p -> n p 1")
