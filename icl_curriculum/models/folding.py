"""A transformer's weights with its norms folded in, as `training_pass` wants them, and gradients of that form.

Layer norms become one division. Subtracting means commutes with everything else: what writes into the residual stream
is centred once per update, as are the rows of normalised queries and keys. Gains and biases of norms go into the
matrices behind them. Autograd carries the gradients back through the folding.

Dimensions: t = tokens, w = width, h = heads, e = width per head, n = layers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor


@dataclass(kw_only=True)
class Block:
    """Matrices (out, in) and biases of one layer, or of all on a leading axis n.

    ``qkv`` (3 w, w), the queries' rows first; ``out`` (w, w); ``up`` (hidden, w); ``down`` (w, hidden); ``gain`` (e,)
    of normalised queries, times that of keys, or None.
    """

    qkv: Tensor
    qkv_bias: Tensor
    gain: Tensor | None
    out: Tensor
    out_bias: Tensor
    up: Tensor
    up_bias: Tensor
    down: Tensor
    down_bias: Tensor


@dataclass(kw_only=True)
class Weights(Block):
    """A transformer's weights with norms folded in: `fold` makes them, and gradients have the same form.

    All layers of a `Block`; ``read_in`` (w, token); ``positions`` (t, w), with the read-in's bias; ``read_out`` (w,).
    """

    read_in: Tensor
    positions: Tensor
    read_out: Tensor
    read_out_bias: Tensor

    def tensors(self) -> list[Tensor]:
        return [value for field in fields(self) if (value := getattr(self, field.name)) is not None]

    def layer(self, layer: int) -> Block:
        return Block(**_each(self, Block, lambda value: value[layer]))

    def map(self, function: Callable[[Tensor], Tensor]) -> Weights:
        return Weights(**_each(self, Weights, function))

    def backward(self, gradients: Weights) -> None:
        """Through the folding, to the parameters."""
        pairs = zip(self.tensors(), gradients.tensors(), strict=True)
        reached = [(value, gradient) for value, gradient in pairs if value.requires_grad]
        torch.autograd.backward([value for value, _ in reached], [gradient for _, gradient in reached])


def _each(weights: Weights, kind: type[Block], function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The fields of a kind by name, mapped where there is something."""
    values = {field.name: getattr(weights, field.name) for field in fields(kind)}
    return {name: None if value is None else function(value) for name, value in values.items()}


def fold(model: Any, positions: Float[Tensor, "t w"]) -> Weights:
    """The weights of a `Transformer` as `loss_gradients` wants them, differentiable."""
    config = model.config
    heads = config.heads
    head_width = config.width // heads
    qkv, bias = model.qkv, model.qkv_bias
    qkv, bias = (
        qkv * model.attention_norm[:, None, None],
        bias + torch.einsum("ncow,nw->nco", qkv, model.attention_norm_bias),
    )
    score_scale = math.log2(math.e) / math.sqrt(head_width)
    gain = None
    if config.normalize_queries_and_keys:
        gain = model.query_gain * model.key_gain * score_scale
        centred = (
            _centred(part.unflatten(2, (heads, head_width)), 3).flatten(2, 3) for part in (qkv[:, :2], bias[:, :2])
        )
        qkv, bias = (torch.cat([part, whole[:, 2:]], dim=1) for part, whole in zip(centred, (qkv, bias), strict=True))
    else:
        factor = torch.tensor([score_scale, 1.0, 1.0])
        qkv, bias = qkv * factor[:, None, None], bias * factor[:, None]
    return Weights(
        read_in=_centred(model.read_in, 0),
        positions=_centred(positions + model.read_in_bias, 1),
        qkv=qkv.flatten(1, 2),
        qkv_bias=bias.flatten(1, 2),
        gain=gain,
        out=_centred(model.attention_out, 1),
        out_bias=_centred(model.attention_out_bias, 1),
        up=model.mlp_in * model.mlp_norm[:, None],
        up_bias=model.mlp_in_bias + torch.einsum("now,nw->no", model.mlp_in, model.mlp_norm_bias),
        down=_centred(model.mlp_out, 1),
        down_bias=_centred(model.mlp_out_bias, 1),
        read_out=(model.read_out * model.final_norm).squeeze(0),
        read_out_bias=model.read_out_bias + model.read_out @ model.final_norm_bias,
    )


def _centred_by_head(values: Tensor, heads: int) -> Tensor:
    """What makes queries and keys (n, 3, w, ...), without the means over each head's rows."""
    by_head = rearrange(values[:, :2], "n two (h e) ... -> n two h e ...", h=heads)
    return torch.cat([_centred(by_head, 3).flatten(2, 3), values[:, 2:]], dim=1)


def _centred(weights: Tensor, axis: int) -> Tensor:
    return weights - weights.mean(axis, keepdim=True)
