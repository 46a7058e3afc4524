"""A transformer's parameters as `training_pass` reads them, and gradients of the same form.

Dimensions: t = tokens, w = width, e = width per head, n = layers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

MATRICES = ("qkv", "attention_out", "mlp_in", "mlp_out")


@dataclass(kw_only=True)
class LayerWeights:
    """Parameters of one layer, or of all on a leading axis n, under their names in `Transformer`."""

    attention_norm: Tensor
    attention_norm_bias: Tensor
    qkv: Tensor
    qkv_bias: Tensor
    query_gain: Tensor | None
    key_gain: Tensor | None
    attention_out: Tensor
    attention_out_bias: Tensor
    mlp_norm: Tensor
    mlp_norm_bias: Tensor
    mlp_in: Tensor
    mlp_in_bias: Tensor
    mlp_out: Tensor
    mlp_out_bias: Tensor


@dataclass(kw_only=True)
class Weights(LayerWeights):
    """All parameters; ``positions`` (t, w) is what the embedding adds to the tokens, with the read-in's bias."""

    read_in: Tensor
    positions: Tensor
    final_norm: Tensor
    final_norm_bias: Tensor
    read_out: Tensor
    read_out_bias: Tensor

    @classmethod
    def of(cls, model: Any, points: int) -> Weights:
        """The parameters of a `Transformer` that reads ``points`` points."""
        named: dict[str, Any] = {field.name: getattr(model, field.name, None) for field in fields(cls)}
        named["read_in"] = model.reading_matrix()
        named["positions"] = model.token_offsets(points)
        return cls(**named)

    def tensors(self) -> list[Tensor]:
        return [value for field in fields(self) if (value := getattr(self, field.name)) is not None]

    def unfilled(self) -> Weights:
        """A room for gradients of the same form: matrices are left without values, everything smaller is zero."""
        made: dict[str, Any] = {}
        for name, value in _each(self, Weights, lambda value: value).items():
            like = torch.empty_like if name in MATRICES else torch.zeros_like
            made[name] = None if value is None else like(value)
        return Weights(**made)

    def layer(self, layer: int) -> Any:
        """One layer's, as `LayerWeights`."""
        return LayerWeights(**_each(self, LayerWeights, lambda value: value[layer]))

    def map(self, function: Callable[[Tensor], Any]) -> Any:
        """What a function makes of each, such as an array of the same memory, under the same names."""
        return Weights(**_each(self, Weights, function))

    def backward(self, gradients: Weights) -> None:
        """Add gradients of this form to the parameters' ``.grad``."""
        by_graph = []
        for value, gradient in zip(self.tensors(), gradients.tensors(), strict=True):
            if not value.requires_grad:
                continue
            if not value.is_leaf:
                by_graph.append((value * gradient).sum())
            elif value.grad is None:
                value.grad = gradient
            else:
                value.grad.add_(gradient)
        if by_graph:
            # Not `value.backward(gradient)`: its check of the shapes imports sympy, which takes every run a second.
            sum(by_graph[1:], by_graph[0]).backward()  # type: ignore[no-untyped-call]


def _each(weights: Weights, kind: type[LayerWeights], function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The fields of a kind by name, mapped where there is something."""
    values = {field.name: getattr(weights, field.name) for field in fields(kind)}
    return {name: None if value is None else function(value) for name, value in values.items()}
