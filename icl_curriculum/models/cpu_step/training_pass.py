"""Loss and gradients of a `Transformer`, by hand: what an update costs on a CPU.

It computes what `Transformer.forward` and autograd compute (a test holds the two together), in less time:

- **A few compiled functions for a block**, products and all: those of `blocks`, with the loops of `kernels` between the
  products. What happens between two products (norms, biases, activations, softmax, the turning of heads and what
  gradients sum over tokens) is one pass over memory. A residual's bias is added where the next norm reads. Python is
  entered some thirty times in a pass of three layers, and holds its lock for about a hundredth of the time.
- **Threads take prompts**, each its share, and meet once, to add up their gradients. Meanwhile torch's own threads are
  not used at all (`core.threads` says why).
- **Memory outlives the update**: passes over newly allocated memory take several times as long. Prompts go in chunks,
  so that it stays little.
- **Attention head by head**, whose scores stay in the cache from the product to the softmax. They are kept with keys on
  rows and queries on columns, so that a query's sum is a sum over rows. Powers are of 2, the factor in the queries;
  normalisation after the values are mixed. Softmax's backward needs one number per query (Dao et al. 2022, section 3).
- **Nothing that nobody reads**: the last block answers at the predicting tokens alone.

Dimensions: b = prompts of a chunk, t = tokens, r = tokens that are read, w = width, h = heads, e = width per head,
n = b h, the heads of all prompts; p = queries, keys and values, or some of them.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from icl_curriculum.core.threads import in_threads, sharing_threads, threads_to_share
from icl_curriculum.models.cpu_step import blocks, kernels
from icl_curriculum.models.cpu_step.products import sgemm_address
from icl_curriculum.models.cpu_step.scratch import Scratch, scratch_of_this_thread
from icl_curriculum.models.cpu_step.weights import Weights
from icl_curriculum.models.flops import executed

_0, _1 = np.float32(0), np.float32(1)
Array = NDArray[np.float32]
#: Floats of the widest activation of the MLPs in a chunk.
CHUNK_FLOATS = 1 << 20


@dataclass(frozen=True)
class Shape:
    heads: int
    activation: Literal["gelu", "relu_squared"]
    #: Every so many tokens one is read.
    stride: int
    #: The first token that is read: as many instruction tokens stand before the prompt.
    start: int = 0
    #: Whether predictions are logits of classes, with cross-entropies as errors.
    classes: bool = False


def loss_gradients(
    weights: Weights,
    shape: Shape,
    tokens: Float[Tensor, "batch t token"],
    targets: Float[Tensor, "batch r *m"],
    scale: Float[Tensor, "batch r_or_1"],
) -> tuple[Float[Tensor, "batch r *m"], Weights]:
    """Predictions, and the gradients of the sum over entries of ``scale`` times the squared error (cross-entropy).

    ``scale``: one for each prompt, or for each of its entries.
    """
    weights = weights.map(lambda value: value.detach().contiguous())
    batch, t, _ = tokens.shape
    size = max(1, min(batch, round(CHUNK_FLOATS / (t * weights.mlp_in.shape[1]))))
    n_chunks = -(-batch // size)
    # Every thread gets as many.
    threads = min(threads_to_share(), batch)
    n_chunks = min(batch, -(-n_chunks // threads) * threads)
    bounds = [batch * i // n_chunks for i in range(n_chunks + 1)]
    chunks = [slice(bounds[i], bounds[i + 1]) for i in range(n_chunks)]
    predictions = torch.empty(targets.shape)
    # A label that is one number is a list of one.
    lists = targets if targets.ndim == 3 else targets.unsqueeze(2)
    given = [
        value.detach().contiguous().numpy()
        for value in (tokens, lists, scale.expand(lists.shape[:2]), predictions.view(lists.shape))
    ]

    def work(mine: list[slice]) -> _Pass:
        made = _Pass(weights, shape, t, scratch_of_this_thread())
        # No number is to be seen as no number, in the loss.
        with np.errstate(all="ignore"):
            for chunk in mine:
                made.run(*(value[chunk] for value in given))
        return made

    with contextlib.nullcontext() if threads == 1 else sharing_threads():
        made = in_threads(work, [chunks[i::threads] for i in range(threads)])
        for total, *parts in zip(*(each.gradients.tensors() for each in made), strict=True):
            for part in parts:
                total.add_(part)
    executed(sum(each.operations for each in made))
    return predictions, made[0].gradients


class _Pass:
    """Forward and backward of chunks of prompts; ``gradients`` sums over them, ``operations`` those of all products."""

    def __init__(self, weights: Weights, shape: Shape, t: int, scratch: Scratch) -> None:
        self.shape, self.t, self.scratch = shape, t, scratch
        self.gradients = weights.unfilled()
        # Arrays of the same memory, as a call of torch takes several times as long as one of numpy.
        self.w, self.g = weights.map(Tensor.numpy), self.gradients.map(Tensor.numpy)
        self.layers, self.hidden, self.width = weights.mlp_in.shape
        self.head_width = self.width // shape.heads
        self.blocks = [self.w.layer(layer) for layer in range(self.layers)]
        self.block_gradients = [self.g.layer(layer) for layer in range(self.layers)]
        # Times what the sums over chunks are so far.
        self.kept = _0
        self.operations = 0
        self.sgemm = sgemm_address()
        self.normalized = weights.query_gain is not None
        self.score_scale = np.float32(math.log2(math.e) / math.sqrt(self.head_width))
        self.scales = np.array([1.0 if self.normalized else self.score_scale, 1.0, 1.0], np.float32)
        self.nothing, self.unread = np.zeros((2, self.width), np.float32)
        self.of_mlp: dict[int, Any] = {}
        self.of_attention: dict[int, Any] = {}

    def run(self, tokens: Array, targets: Array, scale: Array, predictions: Array) -> None:
        """Fill ``predictions`` (b, r, m), and add the gradients of a chunk: ``targets`` (b, r, m), ``scale`` (b, r)."""
        w, g, room = self.w, self.g, self.scratch
        b, t, _ = tokens.shape
        # The last block answers at the tokens that are read alone.
        last = self.layers - 1
        flat = tokens.reshape(b * t, -1)
        x = room("x", b * t, self.width)
        x.reshape(b, t, -1)[:] = w.positions
        self._product(flat, w.read_in.T, _1, x)
        for layer in range(self.layers):
            x = self._attention(layer, x, b, read=layer == last)
            self._mlp(layer, x)
        of_norm = self._normalize("end", x, self.blocks[last].mlp_out_bias, w.final_norm, w.final_norm_bias)
        d = self._answer(of_norm[0], targets, scale, predictions)
        dx = room("dx", *x.shape)
        dx.fill(0)
        below = self.block_gradients[last].mlp_out_bias
        self._normalize_backward(d, of_norm, w.final_norm, g.final_norm, g.final_norm_bias, dx, below)
        for layer in reversed(range(self.layers)):
            self._mlp_backward(layer, dx)
            dx = self._attention_backward(layer, dx, b, read=layer == last)
        self._product(dx.T, flat, _1, g.read_in)
        g.positions += dx.reshape(b, t, -1).sum(0)
        self.kept = _1

    def _product(self, left: Array, right: Array, keep: np.float32, out: Array) -> None:
        self.operations += blocks.product(self.sgemm, left, right, keep, out)

    def _answer(self, normed: Array, targets: Array, scale: Array, predictions: Array) -> Array:
        """Fills in the predictions; the gradient by ``normed`` (rows, w), from which they are read."""
        w, g, rows = self.w, self.g, len(normed)
        answers, d = self.scratch("answers", rows, targets.shape[-1]), self.scratch("d_normed", *normed.shape)
        self._product(normed, w.read_out.T, _0, answers)
        answers += w.read_out_bias
        predictions[:] = answers.reshape(predictions.shape)
        targets = targets.reshape(answers.shape)
        if self.shape.classes:
            answers -= answers.max(axis=1, keepdims=True)
            np.exp(answers, out=answers)
            answers *= targets.sum(axis=1, keepdims=True) / answers.sum(axis=1, keepdims=True)
            answers -= targets
        else:
            answers -= targets
            answers *= 2
        answers *= scale.reshape(rows, 1)
        self._product(answers.T, normed, _1, g.read_out)
        g.read_out_bias += answers.sum(axis=0)
        self._product(answers, w.read_out, _0, d)
        return d

    def _normalize(self, name: Any, x: Array, bias: Array, gain: Array, shift: Array) -> tuple[Array, ...]:
        """Layer norm of x, which gets the bias of what was added to it before; then what its backward reads."""
        rows, width = x.shape
        normed, unit = (self.scratch((name, kind), rows, width) for kind in ("normed", "unit"))
        over = self.scratch((name, "over"), rows)
        kernels.normalize(x, bias, gain, shift, normed, unit, over)
        return normed, unit, over

    def _normalize_backward(self, d: Array, of_norm: Any, gain: Array, *sums: Array) -> None:
        _, unit, over = of_norm
        kernels.normalize_backward(d, unit, over, gain, *sums)

    def _mlp(self, layer: int, x: Array) -> None:
        w, room, rows = self.blocks[layer], self.scratch, x.shape[0]
        of_norm = self._normalize(("mlp", layer), x, w.attention_out_bias, w.mlp_norm, w.mlp_norm_bias)
        hidden, active = (room((name, layer), rows, self.hidden) for name in ("hidden", "active"))
        gelu = self.shape.activation == "gelu"
        self.operations += blocks.mlp(
            self.sgemm, of_norm[0], w.mlp_in, w.mlp_in_bias, gelu, hidden, active, w.mlp_out, x
        )
        self.of_mlp[layer] = of_norm, hidden, active

    def _mlp_backward(self, layer: int, dx: Array) -> None:
        w, g, room = self.blocks[layer], self.block_gradients[layer], self.scratch
        of_norm, slope, active = self.of_mlp[layer]
        d, d_normed = room("d_hidden", *active.shape), room("d_normed", *dx.shape)
        self.operations += blocks.mlp_backward(
            self.sgemm, dx, of_norm[0], w.mlp_in, slope, active, w.mlp_out, d, d_normed,
            g.mlp_in, g.mlp_in_bias, g.mlp_out, self.kept,
        )  # fmt: skip
        self._normalize_backward(d_normed, of_norm, w.mlp_norm, g.mlp_norm, g.mlp_norm_bias, dx, g.attention_out_bias)

    def _attention(self, layer: int, x: Array, b: int, *, read: bool) -> Array:
        stride, start = (self.shape.stride, self.shape.start) if read else (1, 0)
        w, room, h, e = self.blocks[layer], self.scratch, self.shape.heads, self.head_width
        t, width = self.t, self.width
        below = self.blocks[layer - 1].mlp_out_bias if layer else self.nothing
        of_norm = self._normalize(("attention", layer), x, below, w.attention_norm, w.attention_norm_bias)
        normed = asking = of_norm[0]
        if stride == 1 and start == 0:
            q, k, v = self._project(("heads", layer), normed, slice(0, 3), layer, b)
        else:
            asking = np.ascontiguousarray(self._read(normed, b)).reshape(-1, width)
            every, x = x, room("read", *asking.shape)
            x.reshape(b, -1, width)[:] = self._read(every, b)
            (q,) = self._project(("queries", layer), asking, slice(0, 1), layer, b)
            k, v = self._project(("heads", layer), normed, slice(1, 3), layer, b)
        r = asking.shape[0] // b
        of_norms = None
        if self.normalized:
            of_norms, (q, k) = self._normalize_heads(layer, q, k)
        powers, share = room(("powers", layer), b * h, t, r), room(("share", layer), b * h, r)
        seen, mixed = room(("seen", layer), b * r, width), room("mixed", b, h, r, e)
        self.operations += blocks.attend(
            self.sgemm, q, k, v, stride, start, powers, share, mixed, share.reshape(b, h, r), seen.reshape(b, r, h, e),
            seen, w.attention_out, x,
        )  # fmt: skip
        self.of_attention[layer] = of_norm, asking, q, k, v, of_norms, powers, share, seen
        return x

    def _project(self, name: Any, normed: Array, parts: slice, layer: int, b: int) -> Float[Array, "p n t e"]:
        """Queries, keys and values, or some of them."""
        w, h, e, p = self.blocks[layer], self.shape.heads, self.head_width, parts.stop - parts.start
        t = normed.shape[0] // b
        by_head, heads = self.scratch("qkv", b, t, p, h, e), self.scratch(name, p, b, h, t, e)
        weights, bias = w.qkv[parts].reshape(-1, self.width), w.qkv_bias[parts].reshape(p, h, e)
        self.operations += blocks.project(
            self.sgemm, normed, weights, bias, self.scales[parts], by_head.reshape(b * t, -1), by_head, heads
        )
        return heads.reshape(p, b * h, t, e)

    def _normalize_heads(self, layer: int, q: Array, k: Array) -> tuple[Any, list[Array]]:
        """Norms of queries, times the factor of scores, and of keys."""
        w, nothing = self.blocks[layer], self.nothing[: self.head_width]
        assert w.query_gain is not None
        assert w.key_gain is not None
        made = [
            self._normalize((name, layer), part.reshape(-1, part.shape[-1]), nothing, gain, nothing)
            for name, part, gain in (("q", q, w.query_gain * self.score_scale), ("k", k, w.key_gain))
        ]
        return made, [of_norm[0].reshape(part.shape) for of_norm, part in zip(made, (q, k), strict=True)]

    def _normalize_heads_backward(self, layer: int, of_norms: Any, d_q: Array, d_k: Array) -> None:
        """Replaces the gradients by queries and keys by those by what was normalised."""
        w, g, e = self.blocks[layer], self.block_gradients[layer], self.head_width
        for of_norm, d, gain, d_gain, factor in (
            (of_norms[0], d_q.reshape(-1, e), w.query_gain, g.query_gain, self.score_scale),
            (of_norms[1], d_k.reshape(-1, e), w.key_gain, g.key_gain, _1),
        ):
            assert gain is not None
            assert d_gain is not None
            d *= factor
            by_raw = self.scratch("by_raw", *d.shape)
            by_raw.fill(0)
            self._normalize_backward(d, of_norm, gain, d_gain, self.unread[:e], by_raw, self.unread[:e])
            d[:] = by_raw

    def _attention_backward(self, layer: int, dx: Array, b: int, *, read: bool) -> Array:
        stride, start = (self.shape.stride, self.shape.start) if read else (1, 0)
        every = stride == 1 and start == 0
        w, g, room = self.blocks[layer], self.block_gradients[layer], self.scratch
        h, e, t, width = self.shape.heads, self.head_width, self.t, self.width
        of_norm, asking, q, k, v, of_norms, powers, share, seen = self.of_attention[layer]
        normed, r = of_norm[0], powers.shape[-1]
        d_seen, d_mixed, inner = room("d_seen", b * r, width), room("mixed", b, h, r, e), room("inner", b, h, r)
        # Where fewer tokens ask, queries have a place of their own.
        d_qkv = room("d_qkv", 3, b * h, t, e)
        d_q = d_qkv[0] if every else room("d_q", b * h, r, e)
        d_k, d_v = d_qkv[1], d_qkv[2]
        self.operations += blocks.attend_backward(
            self.sgemm, dx, q, k, v, stride, start, powers, share.reshape(b, h, r), seen.reshape(b, r, h, e), seen,
            w.attention_out, d_seen, d_seen.reshape(b, r, h, e), d_mixed, inner, room("d_scores", 1, t, r),
            d_q, d_k, d_v, g.attention_out, self.kept,
        )  # fmt: skip
        if of_norms is not None:
            self._normalize_heads_backward(layer, of_norms, d_q, d_k)
        d_normed = room("d_normed", b * t, width)
        if every:
            self._project_backward(layer, d_qkv, normed, slice(0, 3), b, d_normed)
        else:
            self._project_backward(layer, d_qkv[1:], normed, slice(1, 3), b, d_normed)
            d_asking = room("d_asking", b * r, width)
            self._project_backward(layer, d_q[None], asking, slice(0, 1), b, d_asking)
            self._read(d_normed, b)[:] += d_asking.reshape(b, r, -1)
            whole = room("d_whole", b * t, width)
            whole.fill(0)
            self._read(whole, b)[:] = dx.reshape(b, r, -1)
            dx = whole
        below = self.block_gradients[layer - 1].mlp_out_bias if layer else self.unread
        self._normalize_backward(
            d_normed, of_norm, w.attention_norm, g.attention_norm, g.attention_norm_bias, dx, below
        )
        return dx

    def _project_backward(self, layer: int, d: Array, normed: Array, parts: slice, b: int, d_normed: Array) -> None:
        """Turns the gradients by what `_project` made into those by its weights and, in ``d_normed``, by ``normed``."""
        w, g, h, e = self.blocks[layer], self.block_gradients[layer], self.shape.heads, self.head_width
        p, t = parts.stop - parts.start, normed.shape[0] // b
        by_head, bias = self.scratch("qkv", b, t, p, h, e), g.qkv_bias[parts].reshape(p, h, e)
        self.operations += blocks.project_backward(
            self.sgemm, d.reshape(p, b, h, t, e), normed, w.qkv[parts].reshape(-1, self.width), self.scales[parts],
            by_head.reshape(b * t, -1), by_head, d_normed, g.qkv[parts].reshape(-1, self.width), bias, self.kept,
        )  # fmt: skip

    def _read(self, x: Array, b: int) -> Float[Array, "b r w"]:
        """The rows (b t, w) of tokens that are read."""
        return x.reshape(b, -1, x.shape[-1])[:, self.shape.start :: self.shape.stride]
