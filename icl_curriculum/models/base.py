"""The contract of a model: a config that builds a trainable learner."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import MODELS, Component


class Model(nn.Module):
    """A trainable learner. ``forward`` is differentiable; `predict` is what evaluation calls.

    Optional capabilities (instruction tokens, attention maps, a head mask) are named in ``capabilities``.
    """

    capabilities: frozenset[str] = frozenset()
    #: Names of the parameters whose last two axes are weight matrices inside the network (Muon, weight decay).
    matrices: tuple[str, ...] = ()
    #: Prompts of more points than this raise ValueError.
    max_points: int
    #: Prompts a forward pass of `predict` takes at a time, which bounds its memory.
    prompts_per_pass: int = 64

    @abstractmethod
    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch points"]:
        """Entry k predicts the target of query k from the first k pairs."""

    def backward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        targets: Float[Tensor, "batch points"],
        weights: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of each prompt; adds the gradients of their sum, ``weights`` times each, to ``.grad``.

        By `forward` and autograd; a model may know a faster way to the same numbers.
        """
        predictions = self(xs, ys)
        if predictions.shape != targets.shape:
            # Broadcasting would train on something else without a word.
            expected = f"{tuple(targets.shape)} (prompts, points)"
            raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
        errors: Tensor = (predictions.float() - targets).square().mean(dim=1)
        (errors * weights).sum().backward()  # type: ignore[no-untyped-call]
        return errors.detach()

    def prepare(self) -> None:
        """Do what the first update would wait for, such as compiling; changes neither weights nor gradients.

        Nothing, unless a model has something of the kind.
        """

    @torch.no_grad()
    def predict(self, prompts: Prompts) -> Float[Tensor, "batch points"]:
        """`forward` without gradients, in passes of ``prompts_per_pass`` prompts."""
        device = next(self.parameters()).device
        passes = []
        for start in range(0, len(prompts), self.prompts_per_pass):
            part = prompts[start : start + self.prompts_per_pass]
            queries = None if part.queries is None else part.queries.to(device)
            passes.append(self(part.xs.to(device), part.ys.to(device), queries))
        return torch.cat(passes).to(prompts.xs.device)


class ModelConfig(Component):
    """What an experiment file says of a model."""

    @abstractmethod
    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        """A freshly initialised model for prompts of ``points`` points in ``dims`` dimensions.

        Initialisation draws from ``generator`` (a CPU generator) alone.
        """

    def longest_prompt(self, points: int) -> int:
        """The most points a prompt may have for a model built for ``points`` points."""
        return points

    def check(self, *, dims: int, points: int) -> None:
        """Raise UserError if this config cannot build a model for such prompts."""


register_model = MODELS.of(ModelConfig)
