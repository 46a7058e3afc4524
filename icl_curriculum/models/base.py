"""The contract of a model: a config that builds a trainable learner, and what it says the learner can do.

Dimensions: batch = prompts, points = K + 1 (entry k has k examples before it), dims = d.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_curriculum.core.contracts import at_work
from icl_curriculum.core.errors import did_you_mean
from icl_curriculum.core.prompts import Prompts
from icl_curriculum.core.registry import MODELS, Component


class Capability(StrEnum):
    """An ability that a model may have beside predicting. A config that asks for one it lacks is refused when read."""

    #: `Model.forward_with` computes what `Model.forward` would with other parameters, and differentiates by them.
    #: True of every module whose forward pass reads its parameters anew at each call.
    EXPLICIT_PARAMETERS = "explicit_parameters"
    #: The gradients of `Model.forward_with` can be differentiated again.
    SECOND_DERIVATIVES = "second_derivatives"
    #: `Model.attention` gives the attention maps.
    ATTENTION = "attention"
    #: `Model.forward` takes ``head_mask``, factors (layers, heads) on the attention after the softmax.
    HEAD_MASK = "head_mask"
    #: `Model.forward` takes ``instruction``, the tokens (batch, tokens, width) of `Prompts.instruction`.
    INSTRUCTION = "instruction"

    @property
    def wording(self) -> str:
        """The capability as the end of a sentence that begins with "a model that can".

        >>> Capability.SECOND_DERIVATIVES.wording
        'be differentiated twice'
        """
        return _WORDINGS[self]


_WORDINGS = {
    Capability.EXPLICIT_PARAMETERS: "be called with explicit parameters",
    Capability.SECOND_DERIVATIVES: "be differentiated twice",
    Capability.ATTENTION: "give its attention maps",
    Capability.HEAD_MASK: "take a head mask",
    Capability.INSTRUCTION: "read instruction tokens",
}


class GradientStrategy(Protocol):
    """A faster way than autograd to the errors and gradients of `Model.backward`, for some models in some places."""

    def applies(self, model: Model, xs: Float[Tensor, "batch points dims"]) -> bool:
        """Says whether it computes what `Model.forward` and autograd would, for this model and on this device."""
        ...

    def backward(
        self,
        model: Model,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        targets: Float[Tensor, "batch points"],
        weights: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """The same as `Model.backward`."""
        ...

    def prepare(self, model: Model) -> None:
        """Does what the first update would wait for, such as compiling; changes neither weights nor gradients."""
        ...


class Model(nn.Module):
    """A trainable learner.

    A subclass gives `forward`; everything else has defaults. `predict` is what evaluation calls, `backward` what
    plain training calls, `forward_with` what methods with inner loops call. What a model can do beyond that is
    declared by its `ModelConfig`.
    """

    #: Names of the parameters whose last two axes are weight matrices inside the network (Muon, weight decay).
    matrices: tuple[str, ...] = ()
    #: Prompts of more points than this raise ValueError.
    max_points: int
    #: Prompts a forward pass of `predict` takes at a time, which bounds its memory.
    prompts_per_pass: int = 64
    #: A faster way to the gradients of `backward` than autograd, used where it applies.
    gradients: GradientStrategy | None = None

    @abstractmethod
    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch points"]:
        """Predictions, differentiable: entry k is that for the target of query k, from the first k pairs alone.

        ``queries``: the inputs asked about; None: ``xs`` themselves. Labels ``ys`` are in the units of the targets.
        """

    def forward_with(
        self,
        parameters: Mapping[str, Tensor],
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch points"]:
        """`forward` with these tensors in the place of the parameters of their names; the model is left as it is.

        ``parameters``: by the names of ``named_parameters``; those that are absent are the model's own. Gradients
        flow into the tensors given (`torch.func.functional_call`). It never goes through a compiled model. Raises
        KeyError for a name that is no parameter's or buffer's.
        """
        known = {name for name, _ in self.named_parameters()} | {name for name, _ in self.named_buffers()}
        for name in parameters:
            if name not in known:
                raise KeyError(f"{type(self).__name__} has no parameter {name!r}{did_you_mean(name, known)}")
        inside = {f"model.{name}": value for name, value in parameters.items()}
        predictions: Tensor = torch.func.functional_call(_Forward(self), inside, (xs, ys, queries))
        return predictions

    def backward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        targets: Float[Tensor, "batch points"],
        weights: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """Mean squared error of each prompt; adds the gradients of their sum, ``weights`` times each, to ``.grad``.

        By ``gradients`` where it applies, else by autograd.
        """
        if self.gradients is not None and self.gradients.applies(self, xs):
            return self.gradients.backward(self, xs, ys, targets, weights)
        return self.backward_by_autograd(xs, ys, targets, weights)

    def backward_by_autograd(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        targets: Float[Tensor, "batch points"],
        weights: Float[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        """`backward` by `forward` and autograd, whatever faster way there is."""
        errors = prompt_errors(self(xs, ys), targets)
        (errors * weights).sum().backward()  # type: ignore[no-untyped-call]
        return errors.detach()

    def prepare(self) -> None:
        """Does what the first update would wait for, such as compiling; changes neither weights nor gradients."""
        if self.gradients is not None:
            self.gradients.prepare(self)

    def attention(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch layers heads asking seen"]:
        """The attention of every token to every token, after the softmax; for models that declare `Capability`."""
        raise NotImplementedError(f"{type(self).__name__} gives no attention maps")

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


class _Forward(nn.Module):
    """A model's forward pass without what compiles it."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None) -> Tensor:
        return self.model.forward(xs, ys, queries)


def prompt_errors(
    predictions: Float[Tensor, "batch points"], targets: Float[Tensor, "batch points"]
) -> Float[Tensor, " batch"]:
    """The mean squared error of each prompt, in float32; ValueError for predictions of another shape.

    Broadcasting would train on something else without a word.
    """
    if predictions.shape != targets.shape:
        expected = f"{tuple(targets.shape)} (prompts, points)"
        raise ValueError(f"predictions have shape {tuple(predictions.shape)}, expected {expected}")
    return (predictions.float() - targets).square().mean(dim=1)


class ModelConfig(Component):
    """The part of an experiment file that describes a model. A subclass gives `build`; its fields are the file's keys.

    What its models can do beyond predicting is declared in ``capabilities``, or by `lacks` where it depends on the
    fields. A training method that needs more is refused when the experiment file is read.
    """

    #: The abilities that every model of this kind has. A model whose forward pass does not read its parameters anew
    #: at each call must leave `Capability.EXPLICIT_PARAMETERS` out.
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.EXPLICIT_PARAMETERS})

    @abstractmethod
    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        """A freshly initialised model for prompts of ``points`` points in ``dims`` dimensions.

        Initialisation draws from ``generator`` (a CPU generator) alone.
        """

    def longest_prompt(self, points: int) -> int:
        """The most points a prompt may have for a model built for ``points`` points."""
        return points

    def why_too_long(self, asked: int, *, points: int) -> str | None:
        """Why a model built for ``points`` points cannot take a prompt of ``asked`` points; None where it can."""
        with at_work(self, "longest_prompt"):
            longest = self.longest_prompt(points)
        return None if asked <= longest else f"prompts of {asked} points, the model's positions allow {longest}"

    def check(self, *, dims: int, points: int) -> None:
        """Raise UserError if this config cannot build a model for such prompts, with the ``key`` of a field to blame.

        For example ``key="model.width"``.
        """

    def lacks(self, capability: Capability) -> str | None:
        """Why models of this config cannot do something, with the way out if there is one; None: they can."""
        return None if capability in self.capabilities else f"{self.name or type(self).__name__} does not declare it"


register_model = MODELS.of(ModelConfig)
