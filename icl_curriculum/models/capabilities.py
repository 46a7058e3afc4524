"""What a model may declare that it can do beside predicting."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from icl_curriculum.core.errors import UserError


class Capability(StrEnum):
    """An ability that a model may have beside predicting. A config that asks for one it lacks is refused when read."""

    #: `Model.forward_with` computes what `Model.forward` would with other parameters, and differentiates by them.
    #: True of every module whose forward pass reads its parameters anew at each call.
    EXPLICIT_PARAMETERS = "explicit_parameters"
    #: The gradients of `Model.forward_with` can be differentiated again.
    SECOND_DERIVATIVES = "second_derivatives"
    #: `Model.attention` gives the attention maps, and `Model.token_places` says where labels and inputs stand in them.
    ATTENTION = "attention"
    #: `Model.forward` takes the keyword ``head_mask``: None, or a `HeadEdit`, whose ``apply`` it calls in every layer
    #: on what the heads have mixed. A model that declares it declares `ATTENTION` too, whose maps say how many heads
    #: there are.
    HEAD_MASK = "head_mask"
    #: `ModelConfig.build` takes the keyword ``instruction``, an `Instruction` that the model is told before every
    #: prompt, and `Model.forward` the keyword ``instruction``, the row of each prompt's.
    INSTRUCTION = "instruction"
    #: `ModelConfig.build` takes the keyword ``label_dims``, how many numbers a label is: several for vectors, and for
    #: one-hot classes. `Model.forward` then reads and predicts labels with a last axis.
    VECTOR_LABELS = "vector_labels"

    @property
    def wording(self) -> str:
        """The capability as the end of a sentence that begins with "a model that can".

        >>> Capability.SECOND_DERIVATIVES.wording
        'be differentiated twice'
        """
        return _WORDINGS[self]


#: Which of the families have what not all of them have, for the reasons that the others give.
WITH_HEADS = 'the model transformer with attention = "fused" or "plain" and loops = 1 has them'
TWICE_DIFFERENTIABLE = (
    'the models state_space, deep_sets, and transformer with attention = "plain" or "linear" have them'
)


def expect_able(model: Any, capability: Capability) -> None:
    """UserError, with the reason, for a model whose config says that it cannot do something."""
    lacking: Mapping[Capability, str] = getattr(model, "lacking", {})
    if capability in lacking:
        raise UserError(f"{type(model).__name__} cannot {capability.wording}: {lacking[capability]}")


_WORDINGS = {
    Capability.EXPLICIT_PARAMETERS: "be called with explicit parameters",
    Capability.SECOND_DERIVATIVES: "be differentiated twice",
    Capability.ATTENTION: "give its attention maps",
    Capability.HEAD_MASK: "take a head mask",
    Capability.INSTRUCTION: "read instruction tokens",
    Capability.VECTOR_LABELS: "predict labels of several numbers, or classes",
}
