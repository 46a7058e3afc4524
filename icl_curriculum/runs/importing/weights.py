"""The weights of Hugging Face's GPT-2 between a read-in and a read-out, as those of our transformer.

Dimensions: d = dims, w = width, n = layers, rows = 2 pairs of the longest prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from icl_curriculum.core.errors import UserError

_BACKBONE = "_backbone."
#: What wraps a model and leaves its name before every key: parallel training, torch.compile.
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")
#: The embedding of a vocabulary that is not used, and causal masks, which versions of transformers keep as buffers.
_DROPPED = re.compile(r"_backbone\.(wte\.weight|h\.\d+\.attn\.(bias|masked_bias))")
_BLOCK = re.compile(r"_backbone\.h\.(\d+)\.")


@dataclass(frozen=True)
class ForeignSize:
    """The size of a model by the names that its configuration has for it; ``n_positions`` are pairs of a prompt.

    ``hidden``: the width of the MLP, which no configuration names.
    """

    n_dims: int
    n_positions: int
    n_embd: int
    n_layer: int
    hidden: int


class ForeignWeights:
    """The weights of a checkpoint by the names that both codes give them. UserError, naming the key, for any others.

    ``file``: what messages call the checkpoint. ``told``: what a configuration says of the size, and ``source`` which;
    whatever it leaves out is taken from the weights.
    """

    def __init__(self, file: Path, weights: Mapping[str, Any], told: Mapping[str, int], source: str = "") -> None:
        self.file, self._told, self._source = file, told, source
        self._values = self._unwrapped(weights)
        self.size = self._measured()
        self._check()

    def _unwrapped(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The weights that count, without what wraps their names."""
        found: dict[str, Any] = {}
        for key, value in weights.items():
            name = _WRAPPERS.sub("", key)
            if name in found:
                raise self._error(key, "stands there twice, under different prefixes")
            if not _DROPPED.fullmatch(name):
                found[name] = value
        if not {"_read_in.weight", "_read_out.weight"} & found.keys():
            listed = ", ".join(sorted(weights)[:3]) or "nothing"
            raise UserError(
                f"{self.file} holds no '_read_in.weight', which every checkpoint of Garg et al.'s and Bhasin et al.'s "
                f"code has; found {listed}{', ...' if len(weights) > 3 else ''}"
            )
        return found

    def _measured(self) -> ForeignSize:
        blocks = {block[1] for name in self._values if (block := _BLOCK.match(name))}
        width, dims = self._two_axes("_read_in.weight")
        rows, _ = self._two_axes(f"{_BACKBONE}wpe.weight")
        _, hidden = self._two_axes(f"{_BACKBONE}h.0.mlp.c_fc.weight")
        if rows % 2:
            shape = self._shape(f"{_BACKBONE}wpe.weight")
            raise self._error(f"{_BACKBONE}wpe.weight", f"expected two rows for every pair of a prompt, found {shape}")
        measured = {"n_dims": dims, "n_positions": rows // 2, "n_embd": width, "n_layer": len(blocks), "hidden": hidden}
        return ForeignSize(**{**measured, **{key: value for key, value in self._told.items() if key in measured}})

    def _check(self) -> None:
        """UserError unless the keys are exactly those of a model of this size, with the shapes of one."""
        by = [f"{field.name} = {self._told[field.name]}" for field in fields(ForeignSize) if field.name in self._told]
        reason = f", as {self._source} says {', '.join(by)}" if by else ""
        expected = set()
        # One after another: a configuration may say more layers than there is memory for their names.
        for key, shape in _shapes(self.size):
            expected.add(key)
            if self._tensor(key).shape != shape:
                raise self._error(key, f"expected shape {shape}{reason}, found {self._shape(key)}")
            if not bool(self._values[key].isfinite().all()):
                raise self._error(key, "holds values that are not finite: its training diverged, or it is damaged")
        foreign = [key for key in self._values if key not in expected]
        if foreign:
            others = f", and {len(foreign) - 1} more" if len(foreign) > 1 else ""
            raise self._error(foreign[0], f"no weight of a model of {self.size.n_layer} layers{reason}{others}")
        if self.size.hidden % self.size.n_embd:
            key = f"{_BACKBONE}h.0.mlp.c_fc.weight"
            raise self._error(key, f"expected a multiple of {self.size.n_embd} columns, found {self._shape(key)}")

    def parameters(self, positions: int) -> dict[str, Tensor]:
        """The parameters of a `models.Transformer`. Matrices inside GPT-2 are (in, out), ours (out, in).

        ``positions``: how many of them it has; further ones are no token's.
        """

        def stacked(name: str, change: Callable[[Tensor], Tensor] = lambda value: value) -> Tensor:
            return torch.stack([change(self._float(f"{_BACKBONE}h.{i}.{name}")) for i in range(self.size.n_layer)])

        return {
            "read_in": self._float("_read_in.weight"),
            "read_in_bias": self._float("_read_in.bias"),
            "position": self._float(f"{_BACKBONE}wpe.weight")[:positions],
            "attention_norm": stacked("ln_1.weight"),
            "attention_norm_bias": stacked("ln_1.bias"),
            "qkv": stacked("attn.c_attn.weight", lambda m: rearrange(m, "i (three o) -> three o i", three=3)),
            "qkv_bias": stacked("attn.c_attn.bias", lambda m: rearrange(m, "(three o) -> three o", three=3)),
            "attention_out": stacked("attn.c_proj.weight", lambda m: m.mT),
            "attention_out_bias": stacked("attn.c_proj.bias"),
            "mlp_norm": stacked("ln_2.weight"),
            "mlp_norm_bias": stacked("ln_2.bias"),
            "mlp_in": stacked("mlp.c_fc.weight", lambda m: m.mT),
            "mlp_in_bias": stacked("mlp.c_fc.bias"),
            "mlp_out": stacked("mlp.c_proj.weight", lambda m: m.mT),
            "mlp_out_bias": stacked("mlp.c_proj.bias"),
            "final_norm": self._float(f"{_BACKBONE}ln_f.weight"),
            "final_norm_bias": self._float(f"{_BACKBONE}ln_f.bias"),
            "read_out": self._float("_read_out.weight"),
            "read_out_bias": self._float("_read_out.bias"),
        }

    def _float(self, key: str) -> Tensor:
        value: Tensor = self._values[key].detach().to(torch.float32)
        return value

    def _two_axes(self, key: str) -> tuple[int, int]:
        shape = tuple(self._tensor(key).shape)
        if len(shape) != 2 or 0 in shape:
            raise self._error(key, f"expected a matrix, found {self._shape(key)}")
        return shape[0], shape[1]

    def _tensor(self, key: str) -> Tensor:
        if key not in self._values:
            raise self._error(key, f"expected among the weights of {self._layers()}, but missing")
        value: Any = self._values[key]
        dense = isinstance(value, Tensor) and value.layout == torch.strided and value.is_floating_point()
        if not dense or value.device.type != "cpu":
            kind = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise self._error(key, f"expected a dense tensor of floating-point numbers, found {kind}")
        assert isinstance(value, Tensor)
        return value

    def _layers(self) -> str:
        told = self._told.get("n_layer")
        return f"the {told} layers that {self._source} says" if told else "such a model"

    def _shape(self, key: str) -> str:
        return str(tuple(self._values[key].shape))

    def _error(self, key: str, problem: str) -> UserError:
        return UserError(f"{self.file}: {key}: {problem}")


def _shapes(size: ForeignSize) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names of all weights of such a model, with their shapes."""
    w = size.n_embd
    yield from {"_read_in.weight": (w, size.n_dims), "_read_in.bias": (w,), "_read_out.weight": (1, w)}.items()
    yield "_read_out.bias", (1,)
    yield f"{_BACKBONE}wpe.weight", (2 * size.n_positions, w)
    for i in range(size.n_layer):
        block = {
            "ln_1.weight": (w,), "ln_1.bias": (w,), "attn.c_attn.weight": (w, 3 * w), "attn.c_attn.bias": (3 * w,),
            "attn.c_proj.weight": (w, w), "attn.c_proj.bias": (w,), "ln_2.weight": (w,), "ln_2.bias": (w,),
            "mlp.c_fc.weight": (w, size.hidden), "mlp.c_fc.bias": (size.hidden,),
            "mlp.c_proj.weight": (size.hidden, w), "mlp.c_proj.bias": (w,),
        }  # fmt: skip
        yield from ((f"{_BACKBONE}h.{i}.{name}", shape) for name, shape in block.items())
    yield from ((f"{_BACKBONE}ln_f.{name}", (w,)) for name in ("weight", "bias"))
