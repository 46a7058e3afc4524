"""Checkpoints as Garg et al.'s and Bhasin et al.'s code writes them, of models too small to have learned anything."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

#: As Garg et al.'s code writes it beside ``state.pt``, for a tiny model.
GARG: dict[str, Any] = {
    "inherit": ["models/standard.yaml", "wandb.yaml"],
    "model": {"family": "gpt2", "n_dims": 3, "n_positions": 12, "n_embd": 8, "n_layer": 2, "n_head": 2},
    "training": {
        "task": "linear_regression",
        "task_kwargs": {},
        "data": "gaussian",
        "num_tasks": None,
        "num_training_examples": None,
        "batch_size": 64,
        "learning_rate": 0.0001,
        "train_steps": 500001,
        "save_every_steps": 1000,
        "keep_every_steps": 100000,
        "resume_id": None,
        "curriculum": {
            "dims": {"start": 1, "end": 3, "inc": 1, "interval": 2000},
            "points": {"start": 3, "end": 7, "inc": 2, "interval": 2000},
        },
    },
    "out_dir": "../models/linear_regression/somewhere",
    "wandb": {
        "project": "in-context-training",
        "entity": "somebody",
        "notes": "",
        "name": None,
        "log_every_steps": 100,
    },
    "test_run": False,
}

#: As Bhasin et al.'s code does.
BHASIN: dict[str, Any] = {
    "model": {**GARG["model"], "transformer_seed": 3},
    "training": {
        "task_kwargs": {
            "task_1": {"task": "hermite_regression", "degree": 2},
            "task_0": {"task": "hermite_regression", "degree": 1},
        },
        "data_kwargs": {"data_0": {"data": "gaussian", "type": "standard"}},
        "prompt_kwargs": {},
        "val_kwargs": {},
        "batch_size": 64,
        "learning_rate": 0.0001,
        "train_steps": 500001,
        "n_points": 9,
        "weight_type": "standard",
        "prompt_type": "standard",
        "val_type": "current_tasks",
        "data_split": "steps_based",
        "data_schedule": "sequential",
        "task_schedule": "mixed_sequential",
    },
    "out_dir": "../models/hermite",
    "test_run": False,
}


def changed(config: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A configuration with other keys of its table ``training``."""
    made = copy.deepcopy(config)
    made["training"].update(keys)
    return made


def foreign_weights(
    *, dims: int = 3, positions: int = 12, width: int = 8, layers: int = 2, vocabulary: int = 5
) -> dict[str, Tensor]:
    """The state dict of a wrapped GPT-2, without importing what would make one; an old version's, with mask buffers."""
    made = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return 0.3 * torch.randn(*shape, generator=made)

    tokens = 2 * positions
    found = {
        "_read_in.weight": drawn(width, dims),
        "_read_in.bias": drawn(width),
        "_backbone.wte.weight": drawn(vocabulary, width),
        "_backbone.wpe.weight": drawn(tokens, width),
    }
    for i in range(layers):
        block = {
            "ln_1.weight": 1 + drawn(width), "ln_1.bias": drawn(width),
            "attn.bias": torch.ones(1, 1, tokens, tokens, dtype=torch.uint8).tril(),
            "attn.masked_bias": torch.tensor(-1e4),
            "attn.c_attn.weight": drawn(width, 3 * width), "attn.c_attn.bias": drawn(3 * width),
            "attn.c_proj.weight": drawn(width, width), "attn.c_proj.bias": drawn(width),
            "ln_2.weight": 1 + drawn(width), "ln_2.bias": drawn(width),
            "mlp.c_fc.weight": drawn(width, 4 * width), "mlp.c_fc.bias": drawn(4 * width),
            "mlp.c_proj.weight": drawn(4 * width, width), "mlp.c_proj.bias": drawn(width),
        }  # fmt: skip
        found.update({f"_backbone.h.{i}.{name}": value for name, value in block.items()})
    return found | {
        "_backbone.ln_f.weight": 1 + drawn(width),
        "_backbone.ln_f.bias": drawn(width),
        "_read_out.weight": drawn(1, width),
        "_read_out.bias": drawn(1),
    }


def write_state(folder: Path, weights: dict[str, Any], config: Any = None, *, step: int = 500_000) -> Path:
    """A folder with ``state.pt``, and with ``config.yaml`` where there is a configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"model_state_dict": weights, "optimizer_state_dict": {"state": {}, "param_groups": []}, "train_step": step}
    torch.save(state, folder / "state.pt")
    if config is not None:
        (folder / "config.yaml").write_text(yaml.dump(config, default_flow_style=False))
    return folder


class WrappedGpt2(nn.Module):
    """Hugging Face's GPT-2 between a read-in and a read-out, as both codes have it."""

    def __init__(self, *, dims: int, positions: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        # Here, since it takes seconds.
        from transformers import GPT2Config, GPT2Model

        self._read_in = nn.Linear(dims, width)
        self._backbone = GPT2Model(
            GPT2Config(
                n_positions=2 * positions, n_embd=width, n_layer=layers, n_head=heads,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
                vocab_size=7, bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
        self._read_out = nn.Linear(width, 1)
        made = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, value in self.named_parameters():
                # No weight has a special value, so that every path through the model matters.
                scale = value.shape[-1] ** -0.5 if value.ndim == 2 else 0.3
                value.copy_(scale * torch.randn(value.shape, generator=made) + (".ln_" in name and "weight" in name))

    def forward(
        self, xs: Tensor, ys: Tensor, *, one_hot: tuple[int, int] | None = None, preset: Tensor | None = None
    ) -> Tensor:
        """Predictions at every x. ``one_hot``: so many tokens before the prompt, with 1 in this row (tokens, row).

        ``preset``: a vector of the stream before the prompt.
        """
        padded = torch.zeros_like(xs)
        padded[..., 0] = ys
        tokens = torch.stack([xs, padded], dim=2).flatten(1, 2)
        before = 0
        if one_hot is not None:
            before, row = one_hot
            told = tokens.new_zeros(len(xs), before, xs.shape[-1])
            told[..., row] = 1
            tokens = torch.cat([told, tokens], dim=1)
        embedded = self._read_in(tokens)
        if preset is not None:
            before = 1
            embedded = torch.cat([preset.expand(len(xs), 1, -1), embedded], dim=1)
        hidden = self._backbone(inputs_embeds=embedded).last_hidden_state
        predictions: Tensor = self._read_out(hidden)[:, before::2, 0]
        return predictions
