"""What a model may declare that it can do beside predicting."""

from __future__ import annotations

from enum import StrEnum


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


_WORDINGS = {
    Capability.EXPLICIT_PARAMETERS: "be called with explicit parameters",
    Capability.SECOND_DERIVATIVES: "be differentiated twice",
    Capability.ATTENTION: "give its attention maps",
    Capability.HEAD_MASK: "take a head mask",
    Capability.INSTRUCTION: "read instruction tokens",
    Capability.VECTOR_LABELS: "predict labels of several numbers, or classes",
}
