"""A selective state-space model: diagonal linear recurrences whose gates the tokens choose, parallel over time.

Token k joins x_k with the pair before it; instruction tokens come first. Source: Gu and Dao 2023, "Mamba" (arXiv
2312.00752), section 3, in plain torch. Left out is Mamba's short convolution over tokens: a token holds the pair before
it already.

Dimensions: b = prompts, p = points, t = tokens, w = width, c = channels (expand times w), s = numbers of a channel's
state, r = rank of the time steps, n = layers, m = numbers of a label.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.models.any_length import AnyLengthConfig
from icl_curriculum.models.base import Capability, register_model
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.tokens import TokenReader, empty

#: The range of time steps that a model starts with, on a logarithmic scale: how fast a channel forgets.
_TIME_STEPS = (1e-3, 1e-1)


@register_model("state_space")
class StateSpaceConfig(AnyLengthConfig):
    """Residual blocks of diagonal state-space layers with input-dependent gates (Mamba; Gu and Dao 2023).

    In every channel c with input u_t a state of ``state`` numbers runs as h_t = exp(d_t A) h_(t-1) + d_t B_t u_t and is
    read as y_t = C_t . h_t + D u_t, where the token chooses the time step d_t > 0, the B_t and the C_t. All steps are
    computed at once by a scan of doubling strides, which multiplies decays and never divides by them.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXPLICIT_PARAMETERS,
            Capability.SECOND_DERIVATIVES,
            Capability.INSTRUCTION,
            Capability.VECTOR_LABELS,
        }
    )
    tokens: ClassVar[str] = "joint"
    positions: ClassVar[str] = "none"

    width: int = Field(68, ge=1, le=65_536, description="width of the residual stream")
    layers: int = Field(5, ge=1, le=1024, description="number of blocks")
    expand: int = Field(2, ge=1, le=64, description="channels of a block over width")
    state: int = Field(4, ge=1, le=4096, description="numbers in the state of a channel")

    def network(self) -> type[StateSpace]:
        return StateSpace


class StateSpace(TokenReader):
    """The network that a `StateSpaceConfig` describes. Matrices are (out, in), the blocks on the leading axis."""

    config: StateSpaceConfig
    matrices = ("channels_in", "gates_in", "time_steps_in", "channels_out")

    def __init__(
        self,
        config: StateSpaceConfig,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__(config, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        n, w, channels, state = config.layers, config.width, config.expand * config.width, config.state
        rank = math.ceil(w / 16)
        self.sizes = rank, state, state
        self.norm = empty(n, w)
        self.norm_bias = empty(n, w)
        self.channels_in = empty(n, 2, channels, w)
        self.gates_in = empty(n, rank + 2 * state, channels)
        self.time_steps_in = empty(n, channels, rank)
        self.time_steps_bias = empty(n, channels)
        self.log_decay = empty(n, channels, state)
        self.skip = empty(n, channels)
        self.channels_out = empty(n, w, channels)
        self.final_norm = empty(w)
        self.final_norm_bias = empty(w)
        self.read_out = empty(label_dims, w)
        self.read_out_bias = empty(label_dims)
        self.make_instruction_vectors()

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight from ``generator``, in the order of definition.

        Every matrix is N(0, 1/fan_in); decays are 1, 2, ... for the numbers of a state, skips 1, and time steps
        uniform on a logarithmic scale from 0.001 to 0.1, all as in Mamba.
        """
        for name, value in self.named_parameters():
            drawn = torch.rand(value.shape, generator=generator)
            if name.endswith("norm") or name == "skip":
                value.fill_(1.0)
            elif name == "log_decay":
                value.copy_(torch.arange(1, self.config.state + 1).log().expand_as(value))
            elif name == "time_steps_bias":
                low, high = map(math.log, _TIME_STEPS)
                steps = (low + (high - low) * drawn).exp()
                # What the softplus turns into these.
                value.copy_(steps + (-(-steps).expm1()).log())
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
        for layer in range(self.config.layers):
            context, asking = self._block(layer, context, asking)
        read = context[:, -xs.shape[1] :] if asking is None else asking
        return self.normed_answer(read)

    def _block(
        self, layer: int, context: Float[Tensor, "b t w"], asking: Float[Tensor, "b p w"] | None
    ) -> tuple[Float[Tensor, "b t w"], Float[Tensor, "b p w"] | None]:
        """Both streams after a block: a query is asked of the state before the token in whose place it stands."""
        channels, gate, decays, gains, reading = self._gates(layer, context)
        states = scan(decays, gains)
        after = context + self._read(layer, states, channels, gate, reading)
        if asking is None:
            return after, None
        before = F.pad(states, (0, 0, 0, 0, 1, 0))[:, -asking.shape[1] - 1 : -1]
        channels, gate, decays, gains, reading = self._gates(layer, asking)
        return after, asking + self._read(layer, decays * before + gains, channels, gate, reading)

    def _gates(
        self, layer: int, stream: Float[Tensor, "b t w"]
    ) -> tuple[
        Float[Tensor, "b t c"],
        Float[Tensor, "b t c"],
        Float[Tensor, "b t c s"],
        Float[Tensor, "b t c s"],
        Float[Tensor, "b t s"],
    ]:
        """What tokens choose: inputs and gates of channels, decays and gains of states, and how these are read."""
        normed = F.layer_norm(stream, stream.shape[-1:], self.norm[layer], self.norm_bias[layer])
        inputs, gate = F.linear(normed, self.channels_in[layer].flatten(0, 1)).chunk(2, dim=-1)
        channels = F.silu(inputs)
        low, writing, reading = F.linear(channels, self.gates_in[layer]).split(self.sizes, dim=-1)  # type: ignore[no-untyped-call]
        steps = F.softplus(F.linear(low, self.time_steps_in[layer], self.time_steps_bias[layer])).unsqueeze(-1)
        decays = (-steps * self.log_decay[layer].exp()).exp()
        return channels, F.silu(gate), decays, steps * writing.unsqueeze(2) * channels.unsqueeze(-1), reading

    def _read(
        self,
        layer: int,
        states: Float[Tensor, "b t c s"],
        channels: Float[Tensor, "b t c"],
        gate: Float[Tensor, "b t c"],
        reading: Float[Tensor, "b t s"],
    ) -> Float[Tensor, "b t w"]:
        read = (states @ reading.unsqueeze(-1)).squeeze(-1) + self.skip[layer] * channels
        return F.linear(read * gate, self.channels_out[layer])


def scan(decays: Float[Tensor, "b t *state"], gains: Float[Tensor, "b t *state"]) -> Float[Tensor, "b t *state"]:
    """The states h_t = decay_t h_(t-1) + gain_t of a linear recurrence that starts at 0, all at once.

    In about log2(t) passes: after the pass with stride s every entry holds what the last 2 s tokens make of it, by
    h_t = (product of the last decays) h_(t-s) + (what came in since). Nothing is divided, so decays may be 0. Gradients
    are a scan themselves, from the last token to the first, and can be differentiated again. On a CPU, which gains
    nothing by passes that each touch all tokens, the one pass goes token by token.

    >>> scan(torch.tensor([[0.5, 0.5, 0.0, 2.0]]), torch.ones(1, 4))
    tensor([[1.0000, 1.5000, 1.0000, 3.0000]])
    """
    found: Tensor = _Scan.apply(decays, gains)  # type: ignore[no-untyped-call]
    return found


class _Scan(torch.autograd.Function):
    """`scan` with the gradients g_t = (that of h_t) + decay_(t+1) g_(t+1) of gain t, and g_t h_(t-1) of decay t."""

    @staticmethod
    def forward(decays: Tensor, gains: Tensor) -> Tensor:
        return by_token(decays, gains) if gains.device.type == "cpu" else by_stride(decays, gains)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        decays, states = ctx.saved_tensors
        later = torch.cat([decays[:, 1:], torch.zeros_like(decays[:, :1])], dim=1)
        reached = scan(later.flip(1), grads[0].flip(1)).flip(1)
        before = torch.cat([torch.zeros_like(states[:, :1]), states[:, :-1]], dim=1)
        return reached * before, reached


def by_token(decays: Float[Tensor, "b t *state"], gains: Float[Tensor, "b t *state"]) -> Float[Tensor, "b t *state"]:
    """`scan` in one pass over the tokens, each of which waits for the one before."""
    states = gains.clone()
    for t in range(1, gains.shape[1]):
        states[:, t].addcmul_(decays[:, t], states[:, t - 1])
    return states


def by_stride(decays: Float[Tensor, "b t *state"], gains: Float[Tensor, "b t *state"]) -> Float[Tensor, "b t *state"]:
    """`scan` in about log2(t) passes over all tokens at once."""
    stride, tokens = 1, gains.shape[1]
    while stride < tokens:
        late = decays[:, stride:]
        gains = torch.cat([gains[:, :stride], torch.addcmul(gains[:, stride:], late, gains[:, :-stride])], dim=1)
        decays = torch.cat([decays[:, :stride], late * decays[:, :-stride]], dim=1)
        stride *= 2
    return gains
