"""A decoder-only, GPT-2 style transformer that reads prompts.

Tokens alternate x_1, y_1, x_2, y_2, ..., x_query, or join each x with the pair before it; the prediction for f(x)
is read at x's own token, which sees the pairs before it and not its label. There is no vocabulary and no wasted
embedding.

Dimensions: b = prompts, t = tokens (2 points - 1, or points), w = width, h = heads, e = width per head.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Capability, Model, ModelConfig, register_model
from icl_curriculum.models.cpu_step.strategy import CpuStep
from icl_curriculum.models.heads import HeadEdit, TokenPlaces
from icl_curriculum.models.instructions import Instruction


@register_model("transformer")
class TransformerConfig(ModelConfig):
    """GPT-2 style decoder over a prompt's points.

    The published model is ``width = 256, layers = 12, heads = 8, initialization = "reference",
    tokens = "alternate", positions = "token", activation = "gelu"`` (Garg et al. 2022).
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXPLICIT_PARAMETERS,
            Capability.SECOND_DERIVATIVES,
            Capability.ATTENTION,
            Capability.HEAD_MASK,
            Capability.INSTRUCTION,
        }
    )

    width: int = Field(64, ge=1, le=65_536, description="width of the residual stream")
    layers: int = Field(3, ge=1, le=1024, description="number of blocks")
    heads: int = Field(2, ge=1, description="attention heads per block; divides width")
    mlp_ratio: int = Field(4, ge=1, le=1024, description="hidden width of the MLP over width")
    initialization: Literal["reference", "fast"] = Field(
        "fast",
        description="'reference': N(0, 0.02) as GPT-2; 'fast': N(0, 1/fan_in), positions N(0, position_scale)",
    )
    tokens: Literal["alternate", "joint"] = Field(
        "joint",
        description="'alternate': x and y in turn (GPT-2 as in Garg et al.); 'joint': each x beside the pair before it",
    )
    positions: Literal["token", "pair", "none"] = Field(
        "pair", description="a learned vector per token (GPT-2), per pair shared by its x and y, or none"
    )
    position_scale: float = Field(0.3, gt=0, le=1e6, description="standard deviation of the position vectors ('fast')")
    normalize_queries_and_keys: bool = Field(False, description="layer norm on each head's queries and keys")
    activation: Literal["gelu", "relu_squared"] = Field(
        "relu_squared", description="'gelu' is GPT-2's tanh form; 'relu_squared' costs a fraction of it on a CPU"
    )
    attention: Literal["fused", "plain"] = Field(
        "fused", description="PyTorch's fused attention, or explicit products (for second-order gradients)"
    )
    max_points: int | None = Field(
        None, ge=1, le=1_000_000, description="longest prompt the positions allow; default 2K + 1"
    )

    def check(self, *, dims: int, points: int) -> None:
        if self.width % self.heads:
            raise UserError(f"{self.width} is not divisible by model.heads = {self.heads}", key="model.width")
        if self.max_points is not None and self.max_points < points:
            raise UserError(f"{self.max_points} is less than the {points} points of a prompt", key="model.max_points")

    def lacks(self, capability: Capability) -> str | None:
        if capability == Capability.SECOND_DERIVATIVES and self.attention == "fused":
            return 'fused attention has no second derivatives; set model.attention = "plain"'
        return super().lacks(capability)

    def longest_prompt(self, points: int) -> int:
        return self.max_points if self.max_points is not None else 2 * points - 1

    def build(
        self, *, dims: int, points: int, generator: torch.Generator, instruction: Instruction | None = None
    ) -> Transformer:
        self.check(dims=dims, points=points)
        model = Transformer(self, dims=dims, max_points=self.longest_prompt(points), instruction=instruction)
        model.initialize(generator)
        return model


class Transformer(Model):
    """The network that a `TransformerConfig` describes.

    The weights of equal shape in all blocks lie stacked in one tensor with the blocks on the leading axis,
    so an optimizer treats them as one batch. Matrices are (out, in).
    """

    matrices = ("qkv", "attention_out", "mlp_in", "mlp_out")

    def __init__(
        self, config: TransformerConfig, *, dims: int, max_points: int, instruction: Instruction | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.instruction = instruction
        self.dims = dims
        self.max_points = max_points
        w, n, hidden = config.width, config.layers, config.width * config.mlp_ratio

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape))

        joint = config.tokens == "joint"
        self.read_in = empty(w, 2 * dims + 1 if joint else dims)
        self.read_in_bias = empty(w)
        before = self.instruction_tokens
        if config.positions != "none":
            per_token = config.positions == "token" and not joint
            # The last of 2 max_points positions is no token's, as in GPT-2: one instruction token has room there.
            self.position = empty(2 * max_points + max(0, before - 1) if per_token else max_points + before, w)
        if config.positions != "token" and not joint:
            self.label_token = empty(w)
        self.attention_norm = empty(n, w)
        self.attention_norm_bias = empty(n, w)
        self.qkv = empty(n, 3, w, w)
        self.qkv_bias = empty(n, 3, w)
        if config.normalize_queries_and_keys:
            self.query_gain = empty(n, w // config.heads)
            self.key_gain = empty(n, w // config.heads)
        self.attention_out = empty(n, w, w)
        self.attention_out_bias = empty(n, w)
        self.mlp_norm = empty(n, w)
        self.mlp_norm_bias = empty(n, w)
        self.mlp_in = empty(n, hidden, w)
        self.mlp_in_bias = empty(n, hidden)
        self.mlp_out = empty(n, w, hidden)
        self.mlp_out_bias = empty(n, w)
        self.final_norm = empty(w)
        self.final_norm_bias = empty(w)
        self.read_out = empty(1, w)
        self.read_out_bias = empty(1)
        if instruction is not None and instruction.vectors:
            vectors = torch.empty(len(instruction.names), instruction.vectors, w)
            if instruction.kind == "learned":
                self.instruction_vectors = nn.Parameter(vectors)
            else:
                self.register_buffer("instruction_vectors", vectors)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """Draw every weight from ``generator``, in the order of definition.

        ``reference``: block matrices and positions N(0, 0.02), projections into the residual stream
        N(0, 0.02 / sqrt(2 layers)), read-in and read-out uniform in +-1/sqrt(fan_in), as in GPT-2 and
        Garg et al.'s code. ``fast``: every matrix N(0, 1/fan_in); projections that start at zero, popular
        elsewhere, left some seeds on the plateau for several hundred steps.
        """
        fast = self.config.initialization == "fast"
        for name, value in self.named_parameters():
            drawn = torch.randn(value.shape, generator=generator)
            if name.endswith(("_norm", "_gain")):
                value.fill_(1.0)
            elif name in ("read_in", "read_out", "read_in_bias", "read_out_bias") and not fast:
                fan_in = self.dims if name.startswith("read_in") else self.config.width
                value.copy_((torch.rand(value.shape, generator=generator) * 2 - 1) / math.sqrt(fan_in))
            elif name.endswith("_bias"):
                value.zero_()
            elif name in ("position", "label_token", "instruction_vectors"):
                value.copy_(drawn * (self.config.position_scale if fast else 0.02))
            elif fast:
                value.copy_(drawn * value.shape[-1] ** -0.5)
            else:
                into_stream = name in ("attention_out", "mlp_out")
                value.copy_(drawn * (0.02 / math.sqrt(2 * self.config.layers) if into_stream else 0.02))
        for preset in self.buffers():
            preset.copy_(torch.randn(preset.shape, generator=generator))

    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
        head_mask: HeadEdit | None = None,
    ) -> Float[Tensor, "batch points"]:
        embedded, read, mask, places = self._layout(xs, ys, queries, instruction)
        edited = None if head_mask is None else Edited(head_mask, places.to(xs.device))
        return self._decode(embedded, read, mask, edited)

    def attention(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch layers heads asking seen"]:
        embedded, _, mask, places = self._layout(xs, ys, queries, instruction)
        edited = Edited(None, places)
        # Every token asks in the last block, too, also those whose answers nobody reads.
        self._decode(embedded, slice(0, None), causal(len(places), xs.device) if mask is None else mask, edited)
        return torch.stack(edited.maps, dim=1)

    def token_places(self, points: int) -> TokenPlaces:
        if self.config.tokens == "joint":
            raise UserError(
                "with joint tokens a label stands in one token with the inputs of the next example, so there is no "
                "attention from a label to its own input",
                way_out='train with model.tokens = "alternate"',
            )
        return super().token_places(points)

    def _layout(
        self, xs: Tensor, ys: Tensor, queries: Tensor | None, instruction: Tensor | None
    ) -> tuple[Float[Tensor, "b t w"], slice, Bool[Tensor, "t t"] | None, Int[Tensor, " t"]]:
        """The embedded tokens, which of them are read, who sees whom (None: all before), and their places in a prompt.

        The place of a query is that of the example in whose place it is asked.
        """
        points, step, first = self.check_points(xs), self.tokens_per_point, self.instruction_tokens
        tokens = self.instructed(self.tokens(xs, ys), instruction)
        places = torch.arange(tokens.shape[1])
        positions = self.token_positions(points) if self.instruction is None else self.token_offsets(points)
        if queries is None:
            return self._embed(tokens, positions), slice(first, None, step), None, places
        # Context first, then every query, which sees its own prefix of the context and itself.
        context = first + step * (points - 1)
        asking = self.instructed(self.tokens(queries, ys, xs), instruction)[:, first::step]
        places = torch.cat([places[:context], places[first::step]])
        mask = prefix_mask(points, step, tokens.device, first)
        embedded = self._embed(torch.cat([tokens[:, :context], asking], dim=1), positions[places])
        return embedded, slice(context, None), mask, places

    @property
    def tokens_per_point(self) -> int:
        return 1 if self.config.tokens == "joint" else 2

    def tokens(
        self,
        xs: Float[Tensor, "b p d"],
        ys: Float[Tensor, "b p"],
        examples: Float[Tensor, "b p d"] | None = None,
    ) -> Float[Tensor, "b t token"]:
        """The tokens that the model reads. ``examples``: the inputs of the pairs, where ``xs`` are only the queries.

        ``alternate``: x_1, y_1, x_2, ..., x_query, with a label where the first coordinate of x is, padded with
        zeros (Garg et al. 2022). ``joint``: (x_k, x_(k-1), y_(k-1)) for every k, zeros before the first pair.
        """
        if self.config.tokens == "joint":
            pairs = torch.cat([xs if examples is None else examples, ys.unsqueeze(-1)], dim=-1)
            return torch.cat([xs, F.pad(pairs[:, :-1], (0, 0, 1, 0))], dim=-1)
        labels = F.pad(ys[:, :-1].unsqueeze(-1), (0, self.dims - 1))
        return torch.cat([rearrange([xs[:, :-1], labels], "k b p d -> b (p k) d"), xs[:, -1:]], dim=1)

    def instructed(
        self, tokens: Float[Tensor, "b t token"], instruction: Int[Tensor, " b"] | None
    ) -> Float[Tensor, "b all wide"]:
        """The tokens with those of the instructions before them, as `reading_matrix` reads them."""
        return tokens if self.instruction is None else self.instruction.before(tokens, instruction)

    def reading_matrix(self) -> Float[Tensor, "w wide"]:
        """The matrix that reads tokens into the stream: the read-in, and beside it the instructions' own vectors."""
        if self.instruction is None or not self.instruction.vectors:
            return self.read_in
        return torch.cat([self.read_in, self.instruction_vectors.flatten(0, 1).mT], dim=1)

    def token_offsets(self, points: int) -> Float[Tensor, "t w"]:
        """What is added to the read tokens of a prompt: positions, and the read-in's bias where tokens are read in."""
        positions = self.token_positions(points)
        if self.instruction is None or not self.instruction.vectors:
            return positions + self.read_in_bias
        first = self.instruction_tokens
        return torch.cat([positions[:first], positions[first:] + self.read_in_bias])

    def check_points(self, xs: Tensor) -> int:
        """The points of prompts with these inputs; ValueError for more than the positions allow."""
        points = xs.shape[1]
        if points > self.max_points:
            raise ValueError(f"the prompt has {points} points, the model's positions allow {self.max_points}")
        return points

    def _embed(self, tokens: Float[Tensor, "b t token"], positions: Float[Tensor, "t w"]) -> Float[Tensor, "b t w"]:
        with exactly(tokens):
            if self.instruction is not None:
                return F.linear(tokens, self.reading_matrix()) + positions
            return F.linear(tokens, self.read_in, self.read_in_bias) + positions

    def token_positions(self, points: int) -> Float[Tensor, "t w"]:
        """The vectors that are added to the tokens of a prompt of ``points`` points, and of its instruction."""
        positions, joint = self.config.positions, self.config.tokens == "joint"
        first, n_tokens = self.instruction_tokens, self.tokens_per_point * (points - 1) + 1
        if positions == "token" or (positions == "pair" and joint):
            return self.position[: first + n_tokens]
        nothing = torch.zeros(1, self.config.width, device=self.read_in.device)
        if joint:
            return nothing.repeat(first + n_tokens, 1)
        kinds = torch.stack([torch.zeros_like(self.label_token), self.label_token])
        if positions == "none":
            vectors = kinds.repeat(points, 1)[:n_tokens]
            return vectors if not first else torch.cat([nothing.repeat(first, 1), vectors])
        own = self.position[first : first + points].unsqueeze(1) + kinds
        vectors = rearrange(own, "p k w -> (p k) w")[:n_tokens]
        return vectors if not first else torch.cat([self.position[:first], vectors])

    def _decode(
        self, h: Float[Tensor, "b t w"], read: slice, mask: Bool[Tensor, "t t"] | None, edited: Edited | None = None
    ) -> Float[Tensor, "b p"]:
        """Run the blocks and read predictions at ``read``; the last block computes nothing else.

        ``mask``: which tokens each token sees; None: itself and all before it. ``edited``: who looks at the heads.
        """
        blocks = zip(
            self.attention_norm, self.attention_norm_bias, self.qkv, self.qkv_bias,
            self.attention_out, self.attention_out_bias,
            self.mlp_norm, self.mlp_norm_bias, self.mlp_in, self.mlp_in_bias, self.mlp_out, self.mlp_out_bias,
            strict=True,
        )  # fmt: skip
        width = (self.config.width,)
        for layer, block in enumerate(blocks):
            ln1, ln1_bias, qkv, qkv_bias, out, out_bias, ln2, ln2_bias, up, up_bias, down, down_bias = block
            normed = F.layer_norm(h, width, ln1, ln1_bias)
            if layer < self.config.layers - 1:
                q, k, v = F.linear(normed, qkv.flatten(0, 1), qkv_bias.flatten()).chunk(3, dim=-1)
                seen = mask
            else:
                if mask is None:
                    mask = causal(h.shape[1], h.device)
                q = F.linear(normed[:, read], qkv[0], qkv_bias[0])
                k, v = F.linear(normed, qkv[1:].flatten(0, 1), qkv_bias[1:].flatten()).chunk(2, dim=-1)
                h, seen = h[:, read], mask[read]
                edited = edited and edited.at(read)
            h = h + F.linear(self._attend(layer, q, k, v, seen, edited), out, out_bias)
            hidden = F.linear(F.layer_norm(h, width, ln2, ln2_bias), up, up_bias)
            h = h + F.linear(self._activate(hidden), down, down_bias)
        with exactly(h):
            normed = F.layer_norm(h.to(self.final_norm.dtype), width, self.final_norm, self.final_norm_bias)
            return F.linear(normed, self.read_out, self.read_out_bias).squeeze(-1)

    def _attend(
        self,
        layer: int,
        q: Float[Tensor, "b r w"],
        k: Float[Tensor, "b t w"],
        v: Float[Tensor, "b t w"],
        mask: Bool[Tensor, "r t"] | None,
        edited: Edited | None,
    ) -> Float[Tensor, "b r w"]:
        q, k, v = (rearrange(part, "b t (h e) -> b t h e", h=self.config.heads) for part in (q, k, v))
        if self.config.normalize_queries_and_keys:
            q = F.layer_norm(q, q.shape[-1:], self.query_gain[layer])
            k = F.layer_norm(k, k.shape[-1:], self.key_gain[layer])
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if self.config.attention == "fused" and (edited is None or edited.edit is not None):
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        else:
            if mask is None:
                mask = causal(q.shape[2], q.device)
            attention = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf).softmax(dim=-1)
            mixed = attention @ v
            if edited is not None:
                edited.maps.append(attention)
        if edited is not None and edited.edit is not None:
            mixed = edited.edit.apply(layer, mixed, edited.places)
        return rearrange(mixed, "b h t e -> b t (h e)")

    def _activate(self, hidden: Tensor) -> Tensor:
        if self.config.activation == "gelu":
            return F.gelu(hidden, approximate="tanh")
        return F.relu(hidden).square()


Transformer.gradients = CpuStep(Transformer)


@dataclass(frozen=True)
class Edited:
    """Who looks at the heads in a pass: an edit of what they say, or nobody but the maps of attention, layer by layer.

    ``places``: those of the asking tokens in a plain prompt.
    """

    edit: HeadEdit | None
    places: Int[Tensor, " t"]
    maps: list[Tensor] = field(default_factory=list)

    def at(self, read: slice) -> Edited:
        """The same where only these tokens ask."""
        return replace(self, places=self.places[read])


def causal(tokens: int, device: torch.device) -> Bool[Tensor, "t t"]:
    """The mask by which every token sees itself and all before it."""
    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()


def exactly(like: Tensor) -> AbstractContextManager[None]:
    """Computes in float32 whatever the precision of training: reading in and out bounds the error from below."""
    return torch.autocast(like.device.type, enabled=False)


def prefix_mask(points: int, per_point: int, device: torch.device, first: int = 0) -> Bool[Tensor, "t t"]:
    """The mask of which token sees which when every prompt length has a query of its own.

    Tokens: the ``first`` of an instruction and the 2 (points - 1) of the context, causal among themselves, then one
    query per prompt length k, which sees the instruction, the first 2 k context tokens and itself.
    """
    context = first + per_point * (points - 1)
    mask = torch.eye(context + points, dtype=torch.bool, device=device)
    mask[:context, :context] = causal(context, device)
    lengths = first + per_point * torch.arange(points, device=device).unsqueeze(1)
    mask[context:, :context] = torch.arange(context, device=device).unsqueeze(0) < lengths
    return mask
