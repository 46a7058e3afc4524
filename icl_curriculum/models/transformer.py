"""A decoder-only, GPT-2 style transformer that reads prompts.

Tokens alternate x_1, y_1, x_2, y_2, ..., x_query, or join each x with the pair before it; the prediction for f(x)
is read at x's own token, which sees the pairs before it and not its label. There is no vocabulary and no wasted
embedding.

Dimensions: b = prompts, t = tokens (2 points - 1, or points), w = width, h = heads, e = width per head.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Capability, Model, ModelConfig, register_model
from icl_curriculum.models.cpu_step.strategy import CpuStep


@register_model("transformer")
class TransformerConfig(ModelConfig):
    """GPT-2 style decoder over a prompt's points.

    The published model is ``width = 256, layers = 12, heads = 8, initialization = "reference",
    tokens = "alternate", positions = "token", activation = "gelu"`` (Garg et al. 2022).
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.EXPLICIT_PARAMETERS, Capability.SECOND_DERIVATIVES}
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

    def build(self, *, dims: int, points: int, generator: torch.Generator) -> Transformer:
        self.check(dims=dims, points=points)
        model = Transformer(self, dims=dims, max_points=self.longest_prompt(points))
        model.initialize(generator)
        return model


class Transformer(Model):
    """The network that a `TransformerConfig` describes.

    The weights of equal shape in all blocks lie stacked in one tensor with the blocks on the leading axis,
    so an optimizer treats them as one batch. Matrices are (out, in).
    """

    matrices = ("qkv", "attention_out", "mlp_in", "mlp_out")

    def __init__(self, config: TransformerConfig, *, dims: int, max_points: int) -> None:
        super().__init__()
        self.config = config
        self.dims = dims
        self.max_points = max_points
        w, n, hidden = config.width, config.layers, config.width * config.mlp_ratio

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape))

        joint = config.tokens == "joint"
        self.read_in = empty(w, 2 * dims + 1 if joint else dims)
        self.read_in_bias = empty(w)
        if config.positions != "none":
            self.position = empty(max_points if joint or config.positions == "pair" else 2 * max_points, w)
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
            elif name in ("position", "label_token"):
                value.copy_(drawn * (self.config.position_scale if fast else 0.02))
            elif fast:
                value.copy_(drawn * value.shape[-1] ** -0.5)
            else:
                into_stream = name in ("attention_out", "mlp_out")
                value.copy_(drawn * (0.02 / math.sqrt(2 * self.config.layers) if into_stream else 0.02))

    def forward(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points"],
        queries: Float[Tensor, "batch points dims"] | None = None,
    ) -> Float[Tensor, "batch points"]:
        points = self.check_points(xs)
        tokens, positions = self.tokens(xs, ys), self.token_positions(points)
        if queries is None:
            return self._decode(self._embed(tokens, positions), slice(0, None, self.tokens_per_point), None)
        # Context first, then every query, which sees its own prefix of the context and itself.
        context = tokens[:, : self.tokens_per_point * (points - 1)]
        asking = self.tokens(queries, ys, xs)[:, :: self.tokens_per_point]
        positions = torch.cat([positions[: context.shape[1]], positions[:: self.tokens_per_point]])
        mask = prefix_mask(points, self.tokens_per_point, tokens.device)
        embedded = self._embed(torch.cat([context, asking], dim=1), positions)
        return self._decode(embedded, slice(context.shape[1], None), mask)

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

    def check_points(self, xs: Tensor) -> int:
        """The points of prompts with these inputs; ValueError for more than the positions allow."""
        points = xs.shape[1]
        if points > self.max_points:
            raise ValueError(f"the prompt has {points} points, the model's positions allow {self.max_points}")
        return points

    def _embed(self, tokens: Float[Tensor, "b t token"], positions: Float[Tensor, "t w"]) -> Float[Tensor, "b t w"]:
        with exactly(tokens):
            return F.linear(tokens, self.read_in, self.read_in_bias) + positions

    def token_positions(self, points: int) -> Float[Tensor, "t w"]:
        """The vectors that are added to the tokens of a prompt of ``points`` points."""
        positions, joint = self.config.positions, self.config.tokens == "joint"
        n_tokens = self.tokens_per_point * (points - 1) + 1
        if positions == "token" or (positions == "pair" and joint):
            return self.position[:n_tokens]
        if joint:
            return torch.zeros(n_tokens, self.config.width, device=self.read_in.device)
        kinds = torch.stack([torch.zeros_like(self.label_token), self.label_token])
        if positions == "none":
            return kinds.repeat(points, 1)[:n_tokens]
        return rearrange(self.position[:points].unsqueeze(1) + kinds, "p k w -> (p k) w")[:n_tokens]

    def _decode(self, h: Float[Tensor, "b t w"], read: slice, mask: Bool[Tensor, "t t"] | None) -> Float[Tensor, "b p"]:
        """Run the blocks and read predictions at ``read``; the last block computes nothing else.

        ``mask``: which tokens each token sees; None: itself and all before it.
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
                    mask = torch.ones(h.shape[1], h.shape[1], dtype=torch.bool, device=h.device).tril()
                q = F.linear(normed[:, read], qkv[0], qkv_bias[0])
                k, v = F.linear(normed, qkv[1:].flatten(0, 1), qkv_bias[1:].flatten()).chunk(2, dim=-1)
                h, seen = h[:, read], mask[read]
            h = h + F.linear(self._attend(layer, q, k, v, seen), out, out_bias)
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
    ) -> Float[Tensor, "b r w"]:
        q, k, v = (rearrange(part, "b t (h e) -> b t h e", h=self.config.heads) for part in (q, k, v))
        if self.config.normalize_queries_and_keys:
            q = F.layer_norm(q, q.shape[-1:], self.query_gain[layer])
            k = F.layer_norm(k, k.shape[-1:], self.key_gain[layer])
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if self.config.attention == "fused":
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        else:
            if mask is None:
                mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device).tril()
            scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
            mixed = scores.softmax(dim=-1) @ v
        return rearrange(mixed, "b h t e -> b t (h e)")

    def _activate(self, hidden: Tensor) -> Tensor:
        if self.config.activation == "gelu":
            return F.gelu(hidden, approximate="tanh")
        return F.relu(hidden).square()


Transformer.gradients = CpuStep(Transformer)


def exactly(like: Tensor) -> AbstractContextManager[None]:
    """Computes in float32 whatever the precision of training: reading in and out bounds the error from below."""
    return torch.autocast(like.device.type, enabled=False)


def prefix_mask(points: int, per_point: int, device: torch.device) -> Bool[Tensor, "t t"]:
    """The mask of which token sees which when every prompt length has a query of its own.

    Tokens: the 2 (points - 1) of the context, causal among themselves, then one query per prompt length k,
    which sees the first 2 k context tokens and itself.
    """
    context = per_point * (points - 1)
    mask = torch.eye(context + points, dtype=torch.bool, device=device)
    mask[:context, :context] = torch.ones(context, context, dtype=torch.bool, device=device).tril()
    lengths = per_point * torch.arange(points, device=device).unsqueeze(1)
    mask[context:, :context] = torch.arange(context, device=device).unsqueeze(0) < lengths
    return mask
