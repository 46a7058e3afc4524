"""Loss and gradients of a `Transformer`, by hand: what an update costs on a CPU.

It computes what `Transformer.forward` and autograd compute (a test holds the two together), in less time:

- **One pass between two products.** Everything else (norms, biases, activations, softmax, the turning of heads and what
  gradients sum over tokens) is a compiled loop of `kernels`. A residual's bias is added where the next norm reads.
- **Memory outlives the update**: passes over newly allocated memory take several times as long. Prompts go in chunks,
  so that it stays little; with several threads each takes its share of the prompts.
- **Attention without products A B^T**, which are slow. Scores are kept with keys on rows and queries on columns, so
  that a query's sum is a sum over rows. Powers are of 2, the factor in the queries; normalisation after the values are
  mixed. Softmax's backward needs one number per query (Dao et al. 2022, section 3).
- **Nothing that nobody reads**: the last block answers at the predicting tokens alone.

Dimensions: b = prompts of a chunk, t = tokens, r = tokens that are read, w = width, h = heads, e = width per head,
n = b h, the heads of all prompts; p = queries, keys and values, or some of them.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.models.cpu_step import kernels
from icl_curriculum.models.cpu_step.scratch import Scratch, scratch_of_this_thread
from icl_curriculum.models.cpu_step.weights import Weights

ACTIVATIONS = {"gelu": kernels.gelu, "relu_squared": kernels.relu_squared}
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
    weights = weights.map(Tensor.detach)
    batch, t, _ = tokens.shape
    size = max(1, min(batch, round(CHUNK_FLOATS / (t * weights.mlp_in.shape[1]))))
    n_chunks = -(-batch // size)
    # Every thread gets as many.
    threads = min(torch.get_num_threads(), batch)
    n_chunks = min(batch, -(-n_chunks // threads) * threads)
    bounds = [batch * i // n_chunks for i in range(n_chunks + 1)]
    chunks = [slice(bounds[i], bounds[i + 1]) for i in range(n_chunks)]
    predictions = torch.empty_like(targets)

    def work(mine: list[slice]) -> Weights:
        with torch.no_grad():
            made = _Pass(weights, shape, t, scratch_of_this_thread())
            for chunk in mine:
                made.run(tokens[chunk], targets[chunk], scale[chunk], predictions[chunk])
            return made.gradients

    if threads == 1:
        return predictions, work(chunks)
    first, *others = _in_threads(work, [chunks[i::threads] for i in range(threads)])
    for other in others:
        for total, part in zip(first.tensors(), other.tensors(), strict=True):
            total.add_(part)
    return predictions, first


_pools: dict[int, ThreadPoolExecutor] = {}
# A forked process has none of its parent's threads.
os.register_at_fork(after_in_child=_pools.clear)


def _in_threads(work: Any, shares: list[Any]) -> list[Any]:
    threads = torch.get_num_threads()
    if len(shares) not in _pools:
        _pools[len(shares)] = ThreadPoolExecutor(len(shares) - 1, "icl-training")
    torch.set_num_threads(1)
    try:
        pending = [_pools[len(shares)].submit(work, share) for share in shares[1:]]
        return [work(shares[0]), *(future.result() for future in pending)]
    finally:
        torch.set_num_threads(threads)


class _Pass:
    """Forward and backward of chunks of prompts; ``gradients`` sums over them."""

    def __init__(self, weights: Weights, shape: Shape, t: int, scratch: Scratch) -> None:
        self.weights, self.shape, self.t, self.scratch = weights, shape, t, scratch
        self.layers, self.hidden, self.width = weights.mlp_in.shape
        self.head_width = self.width // shape.heads
        self.blocks = [weights.layer(layer) for layer in range(self.layers)]
        self.gradients = weights.unfilled()
        self.block_gradients = [self.gradients.layer(layer) for layer in range(self.layers)]
        # Times what the sums over chunks are so far.
        self.kept = 0
        self.normalized = weights.query_gain is not None
        self.score_scale = math.log2(math.e) / math.sqrt(self.head_width)
        self.scales = torch.tensor([1.0 if self.normalized else self.score_scale, 1.0, 1.0])
        self.nothing, self.unread = torch.zeros(2, self.width)
        self.of_mlp: dict[int, Any] = {}
        self.of_attention: dict[int, Any] = {}

    def run(self, tokens: Tensor, targets: Tensor, scale: Tensor, predictions: Tensor) -> None:
        w, g, room = self.weights, self.gradients, self.scratch
        b, t, _ = tokens.shape
        # The last block answers at the tokens that are read alone.
        last = self.layers - 1
        flat = tokens.reshape(b * t, -1)
        x = room("x", b * t, self.width)
        x.view(b, t, -1).copy_(w.positions)
        x.addmm_(flat, w.read_in.mT)
        for layer in range(self.layers):
            x = self._attention(layer, x, b, read=layer == last)
            self._mlp(layer, x)
        of_norm = self._normalize("end", x, self.blocks[last].mlp_out_bias, w.final_norm, w.final_norm_bias)
        normed = of_norm[0]
        d = self._answer(normed, targets, scale, predictions)
        dx = room("dx", *x.shape).zero_()
        below = self.block_gradients[last].mlp_out_bias
        self._normalize_backward(d, of_norm, w.final_norm, g.final_norm, g.final_norm_bias, dx, below)
        for layer in reversed(range(self.layers)):
            self._mlp_backward(layer, dx)
            dx = self._attention_backward(layer, dx, b, read=layer == last)
        g.read_in.addmm_(dx.mT, flat)
        g.positions.add_(dx.view(b, t, -1).sum(0))
        self.kept = 1

    def _answer(self, normed: Tensor, targets: Tensor, scale: Tensor, predictions: Tensor) -> Tensor:
        """Fills in the predictions; the gradient by ``normed`` (rows, w), from which they are read."""
        w, g = self.weights, self.gradients
        d = self.scratch("d_normed", *normed.shape)
        if targets.ndim == 2:
            answer = torch.mv(normed, w.read_out[0]).add_(w.read_out_bias).view(len(targets), -1)
            predictions.copy_(answer)
            wrong = answer.sub_(targets).mul_(2 * scale).view(-1)
            g.read_out[0].addmv_(normed.mT, wrong)
            g.read_out_bias.add_(wrong.sum())
            return torch.outer(wrong, w.read_out[0], out=d)
        answers = torch.addmm(w.read_out_bias, normed, w.read_out.mT).view(targets.shape)
        predictions.copy_(answers)
        if self.shape.classes:
            by_label = answers.softmax(dim=-1).mul_(targets.sum(dim=-1, keepdim=True)).sub_(targets)
        else:
            by_label = answers.sub_(targets).mul_(2)
        by_label = by_label.mul_(scale.unsqueeze(-1)).flatten(0, 1)
        g.read_out.addmm_(by_label.mT, normed)
        g.read_out_bias.add_(by_label.sum(0))
        return torch.mm(by_label, w.read_out, out=d)

    def _normalize(self, name: Any, x: Tensor, bias: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, ...]:
        """Layer norm of x, which gets the bias of what was added to it before; then what its backward reads."""
        rows, width = x.shape
        normed, unit = (self.scratch((name, kind), rows, width) for kind in ("normed", "unit"))
        over = self.scratch((name, "over"), rows)
        kernels.normalize(x, bias, gain, shift, normed, unit, over)
        return normed, unit, over

    def _normalize_backward(self, d: Tensor, of_norm: Any, gain: Tensor, *sums: Tensor) -> None:
        _, unit, over = of_norm
        kernels.normalize_backward(d, unit, over, gain, *sums)

    def _add_product(self, total: Tensor, left: Tensor, right: Tensor) -> None:
        torch.addmm(total, left.mT, right, beta=self.kept, out=total)

    def _mlp(self, layer: int, x: Tensor) -> None:
        w, room, rows = self.blocks[layer], self.scratch, x.shape[0]
        of_norm = self._normalize(("mlp", layer), x, w.attention_out_bias, w.mlp_norm, w.mlp_norm_bias)
        hidden = torch.mm(of_norm[0], w.mlp_in.mT, out=room(("hidden", layer), rows, self.hidden))
        active = room(("active", layer), rows, self.hidden)
        ACTIVATIONS[self.shape.activation](hidden, w.mlp_in_bias, active)
        x.addmm_(active, w.mlp_out.mT)
        self.of_mlp[layer] = of_norm, hidden, active

    def _mlp_backward(self, layer: int, dx: Tensor) -> None:
        w, g, room = self.blocks[layer], self.block_gradients[layer], self.scratch
        of_norm, slope, active = self.of_mlp[layer]
        self._add_product(g.mlp_out, dx, active)
        d = torch.mm(dx, w.mlp_out, out=room("d_hidden", *active.shape))
        kernels.multiply(d, slope, g.mlp_in_bias)
        self._add_product(g.mlp_in, d, of_norm[0])
        d_normed = torch.mm(d, w.mlp_in, out=room("d_normed", *dx.shape))
        self._normalize_backward(d_normed, of_norm, w.mlp_norm, g.mlp_norm, g.mlp_norm_bias, dx, g.attention_out_bias)

    def _attention(self, layer: int, x: Tensor, b: int, *, read: bool) -> Tensor:
        stride, start = (self.shape.stride, self.shape.start) if read else (1, 0)
        w, room, h, e = self.blocks[layer], self.scratch, self.shape.heads, self.head_width
        t, width = self.t, self.width
        below = self.blocks[layer - 1].mlp_out_bias if layer else self.nothing
        of_norm = self._normalize(("attention", layer), x, below, w.attention_norm, w.attention_norm_bias)
        normed = asking = of_norm[0]
        if stride == 1 and start == 0:
            q, k, v = self._project(("heads", layer), normed, slice(0, 3), layer, b)
        else:
            asking = self._read(normed, b).reshape(-1, width)
            x = room("read", *asking.shape).view(b, -1, width).copy_(self._read(x, b)).view(-1, width)
            (q,) = self._project(("queries", layer), asking, slice(0, 1), layer, b)
            k, v = self._project(("heads", layer), normed, slice(1, 3), layer, b)
        r = asking.shape[0] // b
        of_norms = None
        if self.normalized:
            of_norms, (q, k) = self._normalize_heads(layer, q, k)
        across = room("across", b * h, e, r).copy_(q.mT)
        powers = torch.bmm(k, across, out=room(("powers", layer), b * h, t, r))
        share = room(("share", layer), b * h, r)
        kernels.softmax(powers, stride, start, share)
        by_head = torch.bmm(powers.mT, v, out=room("by_head", b * h, r, e))
        seen = room(("seen", layer), b * r, width)
        kernels.merge_heads(by_head.view(b, h, r, e), share.view(b, h, r), seen.view(b, r, h, e))
        x.addmm_(seen, w.attention_out.mT)
        self.of_attention[layer] = of_norm, asking, q, k, v, of_norms, powers, share, seen
        return x

    def _project(self, name: Any, normed: Tensor, parts: slice, layer: int, b: int) -> Float[Tensor, "p n t e"]:
        """Queries, keys and values, or some of them."""
        w, h, e, p = self.blocks[layer], self.shape.heads, self.head_width, parts.stop - parts.start
        t = normed.shape[0] // b
        together = self.scratch("qkv", b, t, p, h, e)
        torch.mm(normed, w.qkv[parts].flatten(0, 1).mT, out=together.view(b * t, -1))
        heads = self.scratch(name, p, b, h, t, e)
        kernels.split_heads(together, w.qkv_bias[parts].view(p, h, e), self.scales[parts], heads)
        return heads.view(p, b * h, t, e)

    def _normalize_heads(self, layer: int, q: Tensor, k: Tensor) -> tuple[Any, list[Tensor]]:
        """Norms of queries, times the factor of scores, and of keys."""
        w, nothing = self.blocks[layer], self.nothing[: self.head_width]
        assert w.query_gain is not None
        assert w.key_gain is not None
        made = [
            self._normalize((name, layer), part.view(-1, part.shape[-1]), nothing, gain, nothing)
            for name, part, gain in (("q", q, w.query_gain * self.score_scale), ("k", k, w.key_gain))
        ]
        return made, [of_norm[0].view(part.shape) for of_norm, part in zip(made, (q, k), strict=True)]

    def _normalize_heads_backward(self, layer: int, of_norms: Any, d_q: Tensor, d_k: Tensor) -> None:
        """Replaces the gradients by queries and keys by those by what was normalised."""
        w, g, e = self.blocks[layer], self.block_gradients[layer], self.head_width
        for of_norm, d, gain, d_gain, factor in (
            (of_norms[0], d_q.view(-1, e), w.query_gain, g.query_gain, self.score_scale),
            (of_norms[1], d_k.view(-1, e), w.key_gain, g.key_gain, 1.0),
        ):
            assert gain is not None
            assert d_gain is not None
            d.mul_(factor)
            by_raw = self.scratch("by_raw", *d.shape).zero_()
            self._normalize_backward(d, of_norm, gain, d_gain, self.unread[:e], by_raw, self.unread[:e])
            d.copy_(by_raw)

    def _attention_backward(self, layer: int, dx: Tensor, b: int, *, read: bool) -> Tensor:
        stride, start = (self.shape.stride, self.shape.start) if read else (1, 0)
        every = stride == 1 and start == 0
        w, g, room = self.blocks[layer], self.block_gradients[layer], self.scratch
        h, e, t, width = self.shape.heads, self.head_width, self.t, self.width
        of_norm, asking, q, k, v, of_norms, powers, share, seen = self.of_attention[layer]
        normed, r = of_norm[0], powers.shape[-1]
        self._add_product(g.attention_out, dx, seen)
        d_seen = torch.mm(dx, w.attention_out, out=room("d_seen", b * r, width))
        d_heads, inner = room("d_heads", b, h, r, e), room("inner", b, h, r)
        by_head = (b, r, h, e)
        kernels.merge_heads_backward(d_seen.view(by_head), seen.view(by_head), share.view(b, h, r), d_heads, inner)
        d_heads = d_heads.view(b * h, r, e)
        # Where fewer tokens ask, queries have a place of their own.
        d_qkv = room("d_qkv", 3, b * h, t, e)
        d_q = d_qkv[0] if every else room("d_q", b * h, r, e)
        d_k, d_v = d_qkv[1], d_qkv[2]
        torch.bmm(powers, d_heads, out=d_v)
        across = room("across", b * h, e, r).copy_(d_heads.mT)
        d_scores = torch.bmm(v, across, out=room("d_scores", b * h, t, r))
        kernels.softmax_backward(d_scores, inner.view(b * h, r), powers, stride, start)
        torch.bmm(d_scores.mT, k, out=d_q)
        torch.bmm(d_scores, q, out=d_k)
        if of_norms is not None:
            self._normalize_heads_backward(layer, of_norms, d_q, d_k)
        d_normed = room("d_normed", b * t, width)
        if every:
            self._project_backward(layer, d_qkv, normed, slice(0, 3), b, d_normed)
        else:
            self._project_backward(layer, d_qkv[1:], normed, slice(1, 3), b, d_normed)
            d_asking = room("d_asking", b * r, width)
            self._project_backward(layer, d_q.unsqueeze(0), asking, slice(0, 1), b, d_asking)
            self._read(d_normed, b).add_(d_asking.view(b, r, -1))
            whole = room("d_whole", b * t, width).zero_()
            self._read(whole, b).copy_(dx.view(b, r, -1))
            dx = whole
        below = self.block_gradients[layer - 1].mlp_out_bias if layer else self.unread
        self._normalize_backward(
            d_normed, of_norm, w.attention_norm, g.attention_norm, g.attention_norm_bias, dx, below
        )
        return dx

    def _project_backward(self, layer: int, d: Tensor, normed: Tensor, parts: slice, b: int, d_normed: Tensor) -> None:
        """Turns the gradients by what `_project` made into those by its weights and, in ``d_normed``, by ``normed``."""
        w, g, h, e = self.blocks[layer], self.block_gradients[layer], self.shape.heads, self.head_width
        p, t = parts.stop - parts.start, normed.shape[0] // b
        together = self.scratch("qkv", b, t, p, h, e)
        sums = g.qkv_bias[parts].view(p, h, e)
        kernels.join_heads(d.view(p, b, h, t, e), self.scales[parts], together, sums)
        self._add_product(g.qkv[parts].flatten(0, 1), together.view(b * t, -1), normed)
        torch.mm(together.view(b * t, -1), w.qkv[parts].flatten(0, 1), out=d_normed)

    def _read(self, x: Tensor, b: int) -> Float[Tensor, "b r w"]:
        """The rows (b t, w) of tokens that are read."""
        return x.view(b, -1, x.shape[-1])[:, self.shape.start :: self.shape.stride]
