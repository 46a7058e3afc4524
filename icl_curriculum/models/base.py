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
    #: `Model.forward` takes the keyword ``head_mask``: None, or factors (layers, heads) on the attention after the
    #: softmax. A model that declares it declares `ATTENTION` too, whose maps say how many layers and heads there are.
    HEAD_MASK = "head_mask"
    #: `Model.forward` takes the keyword ``instruction``: None, or the tokens (batch, tokens, width) of
    #: `Prompts.instruction`.
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
    """A faster way than autograd to the errors and gradients of `Model.backward`, for some models in some places.

    A model has one as its class attribute ``gradients``; a model without one trains by autograd.
    """

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
        """The same as `Model.backward`: it adds to ``.grad``, and leaves the weights as they are."""
        ...

    def prepare(self, model: Model) -> None:
        """Does what the first update would wait for, such as compiling; changes neither weights nor gradients."""
        ...


class Model(nn.Module):
    """A trainable learner, as a torch module.

    A subclass gives `forward` and sets ``max_points``; everything else has defaults. `predict` is what evaluation
    calls, `backward` what plain training calls, `forward_with` what methods with inner loops call. What a model can do
    beyond that is declared by its `ModelConfig`. A whole model::

        class LastLabels(Model):
            def __init__(self, points, generator):
                super().__init__()
                self.max_points = points
                self.weights = nn.Parameter(torch.randn(points, generator=generator))

            def forward(self, xs, ys, queries=None):
                if ys.shape[1] > self.max_points:
                    raise ValueError(f"{ys.shape[1]} points; the model reads {self.max_points}")
                earlier = [F.pad(ys[:, : ys.shape[1] - lag], (lag, 0)) for lag in range(1, ys.shape[1])]
                terms = [weight * labels for weight, labels in zip(self.weights, earlier)]
                return sum(terms, torch.zeros_like(ys))

        @register_model("last_labels")
        class LastLabelsConfig(ModelConfig):
            "A weighted sum of the labels so far, the latest first."

            def build(self, *, dims, points, generator):
                return LastLabels(points, generator)

    What holds of every model:

    - An entry of its predictions depends on its own prompt alone, and there on earlier pairs and its own query alone.
    - It draws no random numbers after it was built, and predicts the same in training and in evaluation mode, which a
      run does not switch between: no dropout, no batch normalisation.
    - Its parameters and buffers are all there is to it. They are saved as ``model.safetensors``, loaded into a model
      that the same config builds by another generator, and moved to the device that the run is on. A tensor in a
      plain attribute is neither saved nor moved; ``register_buffer`` keeps one.
    - It computes in float32 what it is given in float32.
    """

    #: Names of the parameters whose last two axes are weight matrices inside the network (Muon, weight decay).
    matrices: tuple[str, ...] = ()
    #: The most points that `forward` reads; for prompts of more it raises ValueError. Set by the subclass, and at least
    #: `ModelConfig.longest_prompt`.
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

        ``xs``, ``ys``: the pairs; ``ys`` in the units of the targets. Pair k is not among the first k, so label k is
        for later entries, and the last label for none; entry 0 is a prediction without any example. ``queries``: the
        inputs asked about, query k at ``queries[:, k]``; None: ``xs`` themselves. There may be any number of prompts
        and any number of points from 1 to ``max_points``; an entry is the same however many come after it. Raises
        ValueError for prompts of more points.

        A model that declares `Capability.HEAD_MASK` or `Capability.INSTRUCTION` takes ``head_mask=None`` or
        ``instruction=None`` as further keywords.
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

        By ``gradients`` where it applies, else by autograd. The errors are unweighted means over the positions, without
        a graph. Queries are ``xs`` themselves, as in all prompts of training.
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
        """The attention of every token to every token, after the softmax and before any head mask.

        For models that declare `Capability.ATTENTION`. ``asking`` and ``seen`` are the same tokens, in an order in
        which none sees a later one: rows sum to 1 and are 0 above the diagonal. Separate queries come after all pairs.
        Layers and heads are as many for every prompt.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no attention maps: it has no method attention")

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

    Fields are pydantic's, each with a default and a description: ``width: int = Field(64, ge=1, description="...")``
    is the key ``width`` of ``[model]``. What its models can do beyond predicting is declared in ``capabilities``, or by
    `lacks` where it depends on the fields. A training method that needs more is refused when the experiment file is
    read. `Model` has an example.
    """

    #: The abilities that every model of this kind has. A model whose forward pass does not read its parameters anew
    #: at each call must leave `Capability.EXPLICIT_PARAMETERS` out.
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.EXPLICIT_PARAMETERS})

    @abstractmethod
    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Model:
        """A freshly initialised model, on the CPU, for prompts of ``points`` points in ``dims`` dimensions.

        Initialisation draws from ``generator`` (a CPU generator) alone, so equal generators give equal weights. torch's
        own layers draw from the global generator as they are made: make them within
        ``torch.random.fork_rng(devices=[])``, then draw every parameter anew.
        """

    def longest_prompt(self, points: int) -> int:
        """The most points a prompt may have for a model built for ``points`` points, and at least as many.

        Shifts that ask for longer prompts are refused when the experiment file is read.
        """
        return points

    def why_too_long(self, asked: int, *, points: int) -> str | None:
        """Why a model built for ``points`` points cannot take a prompt of ``asked`` points; None where it can."""
        with at_work(self, "longest_prompt"):
            longest = self.longest_prompt(points)
        return None if asked <= longest else f"prompts of {asked} points, the model reads at most {longest}"

    def check(self, *, dims: int, points: int) -> None:
        """Raise UserError if this config cannot build a model for such prompts, with the ``key`` of a field to blame.

        For what the fields by themselves cannot say, when the experiment file is read: a width that is no multiple of
        the heads, say, with ``key="model.width"``.
        """

    def lacks(self, capability: Capability) -> str | None:
        """Why models of this config cannot do something, with the way out if there is one; None: they can."""
        return (
            None
            if capability in self.capabilities
            else f"{self.name or type(self).__name__} does not declare Capability.{capability.name}"
        )


register_model = MODELS.of(ModelConfig)
