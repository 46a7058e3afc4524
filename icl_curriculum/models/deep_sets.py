"""Deep sets: the examples are encoded one by one, averaged, and read beside the query. It cannot attend.

Dimensions: b = prompts, p = points, i = instruction tokens, w = width, n = layers, m = numbers of a label.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.models.any_length import AnyLengthConfig
from icl_curriculum.models.base import Capability, register_model
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.sums import prefix_sums
from icl_curriculum.models.tokens import InstructedModel, empty, exactly


@register_model("deep_sets")
class DeepSetsConfig(AnyLengthConfig):
    """Deep sets (Zaheer et al. 2017, arXiv 1703.06114): a mean over encoded examples, read beside the query.

    Example i becomes a vector by itself, and entry k is decoded from the mean of the first k of these, their number and
    the query: the prediction cannot depend on the order of examples, nor what is kept of an example on the query.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXPLICIT_PARAMETERS,
            Capability.SECOND_DERIVATIVES,
            Capability.INSTRUCTION,
            Capability.VECTOR_LABELS,
        }
    )

    width: int = Field(68, ge=1, le=65_536, description="width of an example's vector, and of the residual stream")
    encoder_layers: int = Field(2, ge=0, le=1024, description="blocks that each example passes by itself")
    decoder_layers: int = Field(2, ge=0, le=1024, description="blocks that the mean and the query pass")
    mlp_ratio: int = Field(4, ge=1, le=1024, description="hidden width of a block over width")

    def network(self) -> type[DeepSets]:
        return DeepSets


class DeepSets(InstructedModel):
    """The network that a `DeepSetsConfig` describes. Matrices are (out, in), blocks on the leading axis.

    Instruction tokens are elements of the set like examples.
    """

    config: DeepSetsConfig
    matrices = ("mlp_in", "mlp_out", "pool_in")

    def __init__(
        self,
        config: DeepSetsConfig,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__(config, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        n, w, hidden = config.encoder_layers + config.decoder_layers, config.width, config.width * config.mlp_ratio
        self.read_in = empty(w, dims + label_dims)
        self.read_in_bias = empty(w)
        self.norm = empty(n, w)
        self.norm_bias = empty(n, w)
        self.mlp_in = empty(n, hidden, w)
        self.mlp_in_bias = empty(n, hidden)
        self.mlp_out = empty(n, w, hidden)
        self.mlp_out_bias = empty(n, w)
        self.pool_in = empty(w, w)
        self.number_in = empty(w)
        self.query_in = empty(w, dims)
        self.query_in_bias = empty(w)
        self.final_norm = empty(w)
        self.final_norm_bias = empty(w)
        self.read_out = empty(label_dims, w)
        self.read_out_bias = empty(label_dims)
        self.make_instruction_vectors()

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight from ``generator``, in the order of definition: N(0, 1/fan_in); gains 1, biases 0."""
        for name, value in self.named_parameters():
            drawn = torch.randn(value.shape, generator=generator)
            if name.endswith("norm"):
                value.fill_(1.0)
            elif name.endswith("_bias"):
                value.zero_()
            else:
                value.copy_(drawn * value.shape[-1] ** -0.5)
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
        points, first = self.check_points(xs), self.instruction_tokens
        # The last pair is no example of any entry.
        elements = self.instructed(self.pairs(xs, ys)[:, :-1], instruction)
        with exactly(elements):
            encoded = F.linear(elements, self.reading_matrix(), self.read_in_bias)
            asked = F.linear(xs if queries is None else queries, self.query_in, self.query_in_bias)
        encoded = self._blocks(encoded, 0, self.config.encoder_layers)
        numbers = torch.arange(first, first + points, device=xs.device).to(encoded).unsqueeze(1)
        sums = F.pad(prefix_sums(encoded), (0, 0, 1, 0))[:, first:]
        pooled = F.linear(sums / numbers.clamp(min=1), self.pool_in) + numbers.log1p() * self.number_in
        read = self._blocks(asked + pooled, self.config.encoder_layers, self.config.decoder_layers)
        return self.normed_answer(read)

    def _blocks(self, h: Float[Tensor, "b t w"], first: int, number: int) -> Float[Tensor, "b t w"]:
        """The stream after so many residual blocks from the ``first`` on, each a two-layer network on its own token."""
        for layer in range(first, first + number):
            normed = F.layer_norm(h, h.shape[-1:], self.norm[layer], self.norm_bias[layer])
            hidden = F.relu(F.linear(normed, self.mlp_in[layer], self.mlp_in_bias[layer])).square()
            h = h + F.linear(hidden, self.mlp_out[layer], self.mlp_out_bias[layer])
        return h
