"""A decoder-only, GPT-2 style transformer that reads prompts.

Tokens alternate x_1, y_1, x_2, y_2, ..., x_query, or join each x with the pair before it; the prediction for f(x)
is read at x's own token, which sees the pairs before it and not its label. There is no vocabulary and no wasted
embedding.

Dimensions: b = prompts, t = tokens (2 points - 1, or points), w = width, h = heads, e = width per head, m = numbers of
a label, an axis that is only there if they are several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor

from icl_curriculum.core.component import ADDED_LATER
from icl_curriculum.core.errors import UserError
from icl_curriculum.models.base import Capability, ModelConfig, register_model
from icl_curriculum.models.calling import mean_errors
from icl_curriculum.models.capabilities import WITH_HEADS
from icl_curriculum.models.cpu_step.strategy import CpuStep
from icl_curriculum.models.heads import HeadEdit
from icl_curriculum.models.instructions import Instruction
from icl_curriculum.models.tokens import TokenReader, causal, empty


@register_model("transformer")
class TransformerConfig(ModelConfig):
    """GPT-2 style decoder over a prompt's points, plain, looped, or with linear attention.

    The published model is ``width = 256, layers = 12, heads = 8, initialization = "reference",
    tokens = "alternate", positions = "token", activation = "gelu"`` (Garg et al. 2022).

    ``attention = "linear"`` mixes values by products of queries and keys, over the root of the head's width, without a
    softmax: token t gets the sum over s <= t of (q_t . k_s) v_s, divided by the number of those s or not
    (``divide_by_keys``); of this theory shows that it can take steps of gradient descent (von Oswald et al. 2023, arXiv
    2212.07677). ``loops = n`` applies the whole stack of blocks n times with the same weights: h_0 = 0 and h_(i+1) =
    blocks(h_i + prompt), so that the prompt is put in each time (Yang et al. 2024, arXiv 2311.12424); ``loss_loops``
    is the number of last loops over which they take the mean of the loss. Losses in tables are those of the last.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.EXPLICIT_PARAMETERS,
            Capability.SECOND_DERIVATIVES,
            Capability.ATTENTION,
            Capability.HEAD_MASK,
            Capability.INSTRUCTION,
            Capability.VECTOR_LABELS,
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
    attention: Literal["fused", "plain", "linear"] = Field(
        "fused",
        description="PyTorch's fused attention; the same by explicit products (for second-order gradients); or "
        "'linear': without the softmax, as theory has it",
    )
    divide_by_keys: bool = Field(
        True,
        description="linear attention: whether sums over the visible keys are divided by their number",
        json_schema_extra=ADDED_LATER,
    )
    loops: int = Field(
        1,
        ge=1,
        le=1024,
        description="how often the one stack of blocks is applied, the prompt added to its input each time",
        json_schema_extra=ADDED_LATER,
    )
    loss_loops: int = Field(
        1,
        ge=1,
        le=1024,
        description="plain training descends the mean loss of the answers after so many of the last loops",
        json_schema_extra=ADDED_LATER,
    )
    max_points: int | None = Field(
        None, ge=1, le=1_000_000, description="longest prompt the positions allow; default 2K + 1"
    )

    def check(self, *, dims: int, points: int) -> None:
        if self.width % self.heads:
            raise UserError(f"{self.width} is not divisible by model.heads = {self.heads}", key="model.width")
        if self.loss_loops > self.loops:
            raise UserError(f"{self.loss_loops} exceeds model.loops = {self.loops}", key="model.loss_loops")
        if self.attention != "linear" and not self.divide_by_keys:
            raise UserError(
                f'the softmax of {self.attention} attention divides by itself; only model.attention = "linear" can do '
                f"without",
                key="model.divide_by_keys",
            )
        if self.max_points is not None and self.max_points < points:
            raise UserError(f"{self.max_points} is less than the {points} points of a prompt", key="model.max_points")

    def lacks(self, capability: Capability) -> str | None:
        if capability == Capability.SECOND_DERIVATIVES and self.attention == "fused":
            return 'fused attention has no second derivatives; set model.attention = "plain"'
        if capability in (Capability.ATTENTION, Capability.HEAD_MASK) and self.attention == "linear":
            return f"the weights of linear attention sum to anything, so they are no attention maps; {WITH_HEADS}"
        if capability in (Capability.ATTENTION, Capability.HEAD_MASK) and self.loops > 1:
            return f"each head of looped blocks attends anew in every loop, so it has no one map; {WITH_HEADS}"
        return super().lacks(capability)

    def longest_prompt(self, points: int) -> int:
        return self.max_points if self.max_points is not None else 2 * points - 1

    def build(
        self,
        *,
        dims: int,
        points: int,
        generator: torch.Generator,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> Transformer:
        self.check(dims=dims, points=points)
        model = Transformer(
            self, dims=dims, max_points=self.longest_prompt(points), instruction=instruction, label_dims=label_dims
        )
        model.initialize(generator)
        return model


class Transformer(TokenReader):
    """The network that a `TransformerConfig` describes.

    The weights of equal shape in all blocks lie stacked in one tensor with the blocks on the leading axis,
    so an optimizer treats them as one batch. Matrices are (out, in).
    """

    config: TransformerConfig
    matrices = ("qkv", "attention_out", "mlp_in", "mlp_out")

    def __init__(
        self,
        config: TransformerConfig,
        *,
        dims: int,
        max_points: int,
        instruction: Instruction | None = None,
        label_dims: int = 1,
    ) -> None:
        super().__init__(config, dims=dims, max_points=max_points, instruction=instruction, label_dims=label_dims)
        w, n, hidden = config.width, config.layers, config.width * config.mlp_ratio
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
        self.read_out = empty(label_dims, w)
        self.read_out_bias = empty(label_dims)
        # Last, so that all other weights are drawn as without them.
        self.make_instruction_vectors()

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
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
        head_mask: HeadEdit | None = None,
    ) -> Float[Tensor, "batch points *labels"]:
        embedded, read, mask, places = self.layout(xs, ys, queries, instruction)
        edited = None if head_mask is None else Edited(head_mask, places.to(xs.device))
        return self._looped(embedded, read, mask, edited)[-1]

    def backward_by_autograd(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        targets: Float[Tensor, "batch points *labels"],
        weights: Float[Tensor, " batch"],
        instruction: Int[Tensor, " batch"] | None = None,
        entry_weights: Float[Tensor, "batch points"] | None = None,
    ) -> Float[Tensor, " batch"]:
        if self.config.loss_loops == 1:
            return super().backward_by_autograd(xs, ys, targets, weights, instruction, entry_weights)
        embedded, read, mask, _ = self.layout(xs, ys, None, instruction)
        errors = [
            mean_errors(predictions, targets, entry_weights, classes=self.classes)
            for predictions in self._looped(embedded, read, mask, None, answers=self.config.loss_loops)
        ]
        (torch.stack(errors).mean(dim=0) * weights).sum().backward()  # type: ignore[no-untyped-call]
        return errors[-1].detach()

    def attention(
        self,
        xs: Float[Tensor, "batch points dims"],
        ys: Float[Tensor, "batch points *labels"],
        queries: Float[Tensor, "batch points dims"] | None = None,
        *,
        instruction: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch layers heads asking seen"]:
        embedded, _, mask, places = self.layout(xs, ys, queries, instruction)
        edited = Edited(None, places)
        # Every token asks in the last block, too, also those whose answers nobody reads.
        self._decode(embedded, slice(0, None), causal(len(places), xs.device) if mask is None else mask, edited)
        return torch.stack(edited.maps, dim=1)

    def _looped(
        self,
        embedded: Float[Tensor, "b t w"],
        read: slice,
        mask: Bool[Tensor, "t t"] | None,
        edited: Edited | None,
        answers: int = 1,
    ) -> list[Float[Tensor, "b p *m"]]:
        """The predictions after so many of the last loops, the last one last."""
        found, h, every = [], embedded, slice(0, None)
        for left in reversed(range(self.config.loops)):
            if left == 0:
                found.append(self._decode(h, read, mask, edited))
                continue
            h = self._blocks(h, every, mask)
            if left < answers:
                found.append(self.normed_answer(h[:, read]))
            h = h + embedded
        return found

    def _decode(
        self, h: Float[Tensor, "b t w"], read: slice, mask: Bool[Tensor, "t t"] | None, edited: Edited | None = None
    ) -> Float[Tensor, "b p *m"]:
        """Run the blocks and read predictions at ``read``."""
        return self.normed_answer(self._blocks(h, read, mask, edited))

    def _blocks(
        self, h: Float[Tensor, "b t w"], read: slice, mask: Bool[Tensor, "t t"] | None, edited: Edited | None = None
    ) -> Float[Tensor, "b p w"]:
        """The stream after all blocks at the tokens ``read``; the last block computes nothing else.

        ``mask``: which tokens each token sees; None: itself and all before it. ``edited``: who looks at the heads.
        """
        blocks = zip(
            self.attention_norm, self.attention_norm_bias, self.qkv, self.qkv_bias,
            self.attention_out, self.attention_out_bias,
            self.mlp_norm, self.mlp_norm_bias, self.mlp_in, self.mlp_in_bias, self.mlp_out, self.mlp_out_bias,
            strict=True,
        )  # fmt: skip
        if mask is None and self.config.attention != "fused":
            mask = causal(h.shape[1], h.device)  # Once, not by each block.
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
        return h

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
            products = q @ k.mT / math.sqrt(q.shape[-1])
            if self.config.attention == "linear":
                attention = products * mask
                if self.config.divide_by_keys:
                    attention = attention / mask.sum(dim=-1, keepdim=True)
            else:
                attention = products.masked_fill(~mask, -math.inf).softmax(dim=-1)
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
