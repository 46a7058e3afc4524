"""Recurrent networks over the points of a prompt: torch's GRU and LSTM.

Token k joins x_k with the pair before it, so a network that has read k tokens knows k - 1 pairs and x_k. Instruction
tokens come first.

Dimensions: b = prompts, p = points, t = tokens, w = width, n = layers, g = gates, m = numbers of a label.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.models.any_length import AnyLengthConfig
from icl_curriculum.models.base import Capability, register_model
from icl_curriculum.models.capabilities import TWICE_DIFFERENTIABLE
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.tokens import TokenReader, empty, exactly

#: The gates of a cell: reset, update and candidate; input, forget, candidate and output.
_GATES = {"gru": 3, "lstm": 4}


@register_model("recurrent")
class RecurrentConfig(AnyLengthConfig):
    """A stack of GRU or LSTM layers over a prompt's points (Cho et al. 2014, Hochreiter and Schmidhuber 1997).

    All that is known of a prompt is a state of ``width`` numbers in each layer (twice as many in an LSTM), whatever the
    number of examples. Weights start uniform within 1/sqrt(width), as torch's do.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.EXPLICIT_PARAMETERS, Capability.INSTRUCTION, Capability.VECTOR_LABELS}
    )
    tokens: ClassVar[str] = "joint"
    positions: ClassVar[str] = "none"

    cell: Literal["gru", "lstm"] = Field("gru", description="the cell: 'gru' or 'lstm'")
    width: int = Field(92, ge=1, le=65_536, description="numbers in the state of a layer")
    layers: int = Field(3, ge=1, le=1024, description="number of layers")

    def lacks(self, capability: Capability) -> str | None:
        if capability == Capability.SECOND_DERIVATIVES:
            return f"torch's recurrent kernels have no second derivatives; {TWICE_DIFFERENTIABLE}"
        return super().lacks(capability)

    def network(self) -> type[Recurrent]:
        return Recurrent


class Recurrent(TokenReader):
    """The network that a `RecurrentConfig` describes. Matrices are (out, in), the layers on the leading axis."""

    config: RecurrentConfig
    matrices = ("from_below", "from_before")

    def __init__(
        self,
        config: RecurrentConfig,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__(config, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        n, w, gates = config.layers, config.width, _GATES[config.cell]
        self.from_below = empty(n, gates, w, w)
        self.from_before = empty(n, gates, w, w)
        self.from_below_bias = empty(n, gates, w)
        self.from_before_bias = empty(n, gates, w)
        self.read_out = empty(label_dims, w)
        self.read_out_bias = empty(label_dims)
        self.make_instruction_vectors()

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight from ``generator``, in the order of definition.

        Layers are uniform within 1/sqrt(w), the read-in and read-out N(0, 1/fan_in), their biases zero.
        """
        for name, value in self.named_parameters():
            drawn = torch.rand(value.shape, generator=generator)
            if name.startswith("from_"):
                value.copy_((2 * drawn - 1) / math.sqrt(self.config.width))
            elif name.endswith("_bias"):
                value.zero_()
            else:
                value.copy_(torch.randn(value.shape, generator=generator) * value.shape[-1] ** -0.5)
        for preset in self.buffers():
            preset.copy_(torch.randn(preset.shape, generator=generator))

    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch points *labels"]:
        context, asking = self.streams(xs, ys, queries, instruction)
        read = self._run(context) if asking is None else self._asked(context, asking)
        with exactly(read):
            found = F.linear(read[:, -xs.shape[1] :].to(self.read_out.dtype), self.read_out, self.read_out_bias)
            return self.as_labels(found)

    def _weights(self, layer: int) -> list[Tensor]:
        """The weights of a layer, as torch's functions take them."""
        return [
            self.from_below[layer].flatten(0, 1), self.from_before[layer].flatten(0, 1),
            self.from_below_bias[layer].flatten(), self.from_before_bias[layer].flatten(),
        ]  # fmt: skip

    def _nothing(self, like: Tensor) -> Float[Tensor, "b w"]:
        return like.new_zeros(len(like), self.config.width)

    def _run(self, context: Float[Tensor, "b t w"]) -> Float[Tensor, "b t w"]:
        """The states of the last layer after every token, by torch's fused functions."""
        weights = [weight for layer in range(self.config.layers) for weight in self._weights(layer)]
        before = self._nothing(context).expand(self.config.layers, -1, -1).contiguous()
        # cuDNN gives gradients only of what it was told to train; elsewhere only drop-out would ask, and there is none.
        training = context.device.type != "cpu" and torch.is_grad_enabled()
        # Biases; layers; no drop-out; whether it is for training; one direction; the batch first.
        options = (True, self.config.layers, 0.0, training, False, True)
        if self.config.cell == "gru":
            states: Tensor = torch.gru(context, before, weights, *options)[0]
        else:
            states = torch.lstm(context, (before, before), weights, *options)[0]
        return states

    def _asked(self, context: Float[Tensor, "b t w"], asking: Float[Tensor, "b p w"]) -> Float[Tensor, "b p w"]:
        """What the last layer would be after each query in the place of its own token: token by token, by cells.

        Every state is passed on by the prompt's tokens, and asked by the queries beside them.
        """
        points = asking.shape[1]
        first = context.shape[1] - points
        states = [self._start(context) for _ in range(self.config.layers)]
        found = []
        for place in range(context.shape[1]):
            if place >= first:
                asked = asking[:, place - first]
                for layer, state in enumerate(states):
                    asked = self._cell(asked, state, layer)[0]
                found.append(asked)
            below = context[:, place]
            for layer, state in enumerate(states):
                states[layer] = self._cell(below, state, layer)
                below = states[layer][0]
        return torch.stack(found, dim=1)

    def _start(self, context: Tensor) -> tuple[Tensor, ...]:
        nothing = self._nothing(context)
        return (nothing,) if self.config.cell == "gru" else (nothing, nothing)

    def _cell(self, below: Tensor, state: tuple[Tensor, ...], layer: int) -> tuple[Tensor, ...]:
        """The state of a layer after one more token; its first part is what the layer above reads."""
        if self.config.cell == "gru":
            return (torch.gru_cell(below, state[0], *self._weights(layer)),)
        return torch.lstm_cell(below, state, *self._weights(layer))
