"""Hugging Face's GPT-2 with the weights of a transformer of alternate tokens: what the suite's own is held against.

Dimensions: batch = prompts, points = K + 1, dims = d.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from icl_curriculum.core.prompts import Prompts
from icl_curriculum.models import Transformer

if TYPE_CHECKING:
    from transformers import GPT2Model


def gpt2_like(model: Transformer, activation: str) -> GPT2Model:
    """Hugging Face's GPT-2 of the same shape with the weights of ``model``; its matrices are (in, out)."""
    # Here, since it takes seconds, and every pytest process collects all tests.
    from transformers import GPT2Config, GPT2Model

    config = model.config
    made = GPT2Model(
        GPT2Config(
            vocab_size=1,
            n_positions=len(model.position),
            n_embd=config.width,
            n_layer=config.layers,
            n_head=config.heads,
            n_inner=config.mlp_ratio * config.width,
            activation_function=activation,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            attn_implementation="eager",
        )
    ).eval()
    pairs: list[tuple[Tensor, Tensor]] = [
        (made.wpe.weight, model.position),
        (made.ln_f.weight, model.final_norm),
        (made.ln_f.bias, model.final_norm_bias),
    ]
    for layer, block in enumerate(made.h):
        pairs += [
            (block.ln_1.weight, model.attention_norm[layer]),
            (block.ln_1.bias, model.attention_norm_bias[layer]),
            (block.attn.c_attn.weight, model.qkv[layer].flatten(0, 1).mT),
            (block.attn.c_attn.bias, model.qkv_bias[layer].flatten()),
            (block.attn.c_proj.weight, model.attention_out[layer].mT),
            (block.attn.c_proj.bias, model.attention_out_bias[layer]),
            (block.ln_2.weight, model.mlp_norm[layer]),
            (block.ln_2.bias, model.mlp_norm_bias[layer]),
            (block.mlp.c_fc.weight, model.mlp_in[layer].mT),
            (block.mlp.c_fc.bias, model.mlp_in_bias[layer]),
            (block.mlp.c_proj.weight, model.mlp_out[layer].mT),
            (block.mlp.c_proj.bias, model.mlp_out_bias[layer]),
        ]
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
    assert len(pairs) == len(list(made.parameters())) - 1, "all but the vocabulary"
    return made


def embedded_for_gpt2(model: Transformer, prompts: Prompts, before: Tensor | None = None) -> Tensor:
    """x and y (padded with zeros to d) as alternate tokens, read in, after the vectors (batch, tokens, width) given."""
    padded = torch.zeros_like(prompts.xs)
    padded[..., 0] = prompts.ys
    tokens = torch.stack([prompts.xs, padded], dim=2).flatten(1, 2)[:, :-1]
    embedded = tokens @ model.read_in.mT + model.read_in_bias
    return embedded if before is None else torch.cat([before, embedded], dim=1)


def predict_with_gpt2(model: Transformer, gpt2: GPT2Model, prompts: Prompts, before: Tensor | None = None) -> Tensor:
    """What GPT-2 says at the x tokens, read out."""
    embedded = embedded_for_gpt2(model, prompts, before)
    hidden = gpt2(inputs_embeds=embedded, use_cache=False).last_hidden_state
    first = 0 if before is None else before.shape[1]
    return (hidden[:, first::2] @ model.read_out.mT + model.read_out_bias).squeeze(-1)
