"""Loss and gradients of a `Transformer`, by hand: what an update costs on a CPU.

It computes what `Transformer.forward` and autograd compute (a test holds the two together), in less time:

- **A chunk of prompts at a time**, all the way forward and back, in memory that outlives the update: passes over newly
  allocated memory take several times as long. Elementwise work goes by blocks of rows that stay in a core's own cache.
  With several threads each takes its share of the prompts.
- **Norms are folded away** but for a division (`folding`).
- **Attention without transposed products.** Scores are kept with keys on rows and queries on columns, so that every
  product reads rows, and a query's sum is a sum over rows. Base 2, the factor in the queries; normalisation after
  the values are mixed. Softmax's backward needs one number per query (Dao et al. 2022, section 3).
- **Nothing that nobody reads**: the last block answers at the predicting tokens alone.

Dimensions: b = prompts of a chunk, t = tokens, r = tokens that are read, w = width, h = heads, e = width per head,
n = layers.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from icl_curriculum.models.folding import Weights

_EPS = 1e-5
# GELU's tanh form is x sigmoid(c x + b x^3).
_GELU = 2 * math.sqrt(2 / math.pi)
_GELU_CUBE = 0.044715 * _GELU
#: Floats of the widest activation in a chunk, and in a block of its rows.
CHUNK_FLOATS = 1 << 19
BLOCK_FLOATS = 1 << 17


@dataclass(frozen=True)
class Shape:
    heads: int
    activation: Literal["gelu", "relu_squared"]
    #: Every so many tokens, from the first on, one is read.
    stride: int


def loss_gradients(
    weights: Weights,
    shape: Shape,
    tokens: Float[Tensor, "batch t token"],
    targets: Float[Tensor, "batch r"],
    scale: Float[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch r"], Weights]:
    """Predictions, and the gradients of the sum over prompts of ``scale`` times the summed squared error."""
    weights = weights.map(Tensor.detach)
    batch, t, _ = tokens.shape
    widest = weights.up.shape[1]
    size = max(1, min(batch, round(CHUNK_FLOATS / (t * widest))))
    n_chunks = -(-batch // size)
    # Every thread gets as many.
    threads = min(torch.get_num_threads(), batch)
    n_chunks = min(batch, -(-n_chunks // threads) * threads)
    bounds = [batch * i // n_chunks for i in range(n_chunks + 1)]
    chunks = [slice(bounds[i], bounds[i + 1]) for i in range(n_chunks)]
    predictions = torch.empty_like(targets)

    def work(mine: list[slice]) -> Weights:
        with torch.no_grad():
            made = _Pass(weights, shape, t, _own_scratch())
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


_local = threading.local()
_pools: dict[int, ThreadPoolExecutor] = {}


def _own_scratch() -> Scratch:
    """This thread's."""
    if not hasattr(_local, "scratch"):
        _local.scratch = Scratch()
    scratch: Scratch = _local.scratch
    return scratch


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


class Scratch:
    """Memory that outlives an update: a buffer per name, so that nothing is allocated anew while training."""

    def __init__(self) -> None:
        self.buffers: dict[Any, Tensor] = {}
        self.views: dict[Any, Tensor] = {}

    def __call__(self, name: Any, *shape: int) -> Tensor:
        """An uninitialised tensor; the next call with the same name returns the same memory."""
        view = self.views.get((name, shape))
        if view is None:
            size = math.prod(shape)
            held = self.buffers.get(name)
            if held is None or held.numel() < size:
                held = self.buffers[name] = torch.empty(size)
                self.views = {key: old for key, old in self.views.items() if key[0] != name}
            view = self.views[name, shape] = held[:size].view(shape)
        return view


class _Pass:
    """Forward and backward of chunks of prompts; ``gradients`` sums over them."""

    def __init__(self, weights: Weights, shape: Shape, t: int, scratch: Scratch) -> None:
        self.weights, self.shape, self.t, self.scratch = weights, shape, t, scratch
        self.gradients = weights.map(torch.zeros_like)
        self.layers, self.hidden, self.width = weights.up.shape
        self.blocks = [weights.layer(layer) for layer in range(self.layers)]
        self.block_gradients = [self.gradients.layer(layer) for layer in range(self.layers)]
        self.head_width = self.width // shape.heads
        # Keys on rows, queries on columns: a query sees the keys above the diagonal, and itself.
        self.visible = torch.ones(t, t).triu()
        self.read_visible = self.visible[:, :: shape.stride].contiguous()
        self.of_mlp: dict[int, Any] = {}
        self.of_attention: dict[int, Any] = {}

    def run(self, tokens: Tensor, targets: Tensor, scale: Tensor, predictions: Tensor) -> None:
        w, g, room = self.weights, self.gradients, self.scratch
        b, t, _ = tokens.shape
        stride, last = self.shape.stride, self.layers - 1
        flat = tokens.reshape(b * t, -1)
        x = room("x", b * t, self.width)
        x.view(b, t, -1).copy_(w.positions)
        x.addmm_(flat, w.read_in.mT)
        for layer in range(self.layers):
            x = self._attention(layer, x, b, stride if layer == last else 1)
            self._mlp(layer, x)
        normed, divided = self._normalize("end", x)
        answer = torch.mv(normed, w.read_out).add_(w.read_out_bias).view(b, -1)
        predictions.copy_(answer)

        wrong = answer.sub_(targets).mul_(2 * scale.unsqueeze(-1)).view(-1)
        g.read_out.addmv_(normed.mT, wrong)
        g.read_out_bias.add_(wrong.sum())
        dx = torch.outer(wrong, w.read_out, out=room("dx", *x.shape))
        _normalize_backward(dx, normed, divided, room("product", *dx.shape))
        for layer in reversed(range(self.layers)):
            self._mlp_backward(layer, dx)
            dx = self._attention_backward(layer, dx, b, stride if layer == last else 1)
        g.read_in.addmm_(dx.mT, flat)
        g.positions.add_(dx.view(b, t, -1).sum(0))

    def _normalize(self, name: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        divided = _over_deviation(x)
        return torch.mul(x, divided, out=self.scratch((name, "normed"), *x.shape)), divided

    def _mlp(self, layer: int, x: Tensor) -> None:
        w, room, rows = self.blocks[layer], self.scratch, x.shape[0]
        normed, divided = self._normalize(("mlp", layer), x)
        hidden = torch.mm(normed, w.up.mT, out=room(("hidden", layer), rows, self.hidden))
        active = room(("active", layer), rows, self.hidden)
        bias = w.up_bias
        if self.shape.activation == "relu_squared":
            gate = None
            for part in self._blocks(rows):
                x_ = hidden[part].add_(bias).relu_()
                torch.mul(x_, x_, out=active[part])
        else:
            gate = room(("gate", layer), rows, self.hidden)
            for part in self._blocks(rows):
                x_, a, s = hidden[part].add_(bias), active[part], gate[part]
                torch.mul(x_, _GELU, out=s).addcmul_(torch.mul(x_, x_, out=a), x_, value=_GELU_CUBE).sigmoid_()
                torch.mul(x_, s, out=a)
        x.addmm_(active, w.down.mT).add_(w.down_bias)
        self.of_mlp[layer] = normed, divided, hidden, gate, active

    def _mlp_backward(self, layer: int, dx: Tensor) -> None:
        w, g, room, rows = self.blocks[layer], self.block_gradients[layer], self.scratch, dx.shape[0]
        normed, divided, hidden, gate, active = self.of_mlp[layer]
        g.down.addmm_(dx.mT, active)
        g.down_bias.add_(dx.sum(0))
        d = torch.mm(dx, w.down, out=room("d_hidden", rows, self.hidden))
        if gate is None:
            for part in self._blocks(rows):
                # Half of the gradient: (x^2)' / 2.
                d[part].mul_(hidden[part])
        else:
            for part in self._blocks(rows):
                # (x s)' = s + x s (1 - s) (c + 3 b x^2), with x s at hand.
                x, a, s = hidden[part], active[part], gate[part]
                slope = x.square_().mul_(3 * _GELU_CUBE).add_(_GELU).mul_(a)
                d[part].mul_(slope.addcmul_(slope, s, value=-1).add_(s))
        factor = 2 if gate is None else 1
        g.up.addmm_(d.mT, normed, alpha=factor)
        g.up_bias.add_(d.sum(0), alpha=factor)
        d_normed = room("d_normed", *normed.shape)
        torch.addmm(d_normed, d, w.up, beta=0, alpha=factor, out=d_normed)
        dx.add_(_normalize_backward(d_normed, normed, divided, room("product", *normed.shape)))

    def _blocks(self, rows: int) -> list[slice]:
        """Rows few enough that several passes over them stay in the fastest cache."""
        size = max(1, BLOCK_FLOATS // self.hidden)
        return [slice(start, start + size) for start in range(0, rows, size)]

    def _attention(self, layer: int, x: Tensor, b: int, stride: int) -> Tensor:
        w, room, h, e, t, width = (
            self.blocks[layer],
            self.scratch,
            self.shape.heads,
            self.head_width,
            self.t,
            self.width,
        )
        normed, divided = self._normalize(("attention", layer), x)
        matrix, bias = w.qkv, w.qkv_bias
        if stride == 1:
            asking, r, visible = normed, t, self.visible
            together = torch.addmm(bias, normed, matrix.mT, out=room("qkv", b * t, 3 * width))
            heads = room(("heads", layer), 3, b, h, t, e).copy_(together.view(b, t, 3, h, e).permute(2, 0, 3, 1, 4))
            q, k, v = heads.view(3, b * h, t, e)
        else:
            asking = normed.view(b, t, -1)[:, ::stride].reshape(-1, width)
            x = room("read", *asking.shape).copy_(x.view(b, t, -1)[:, ::stride].reshape(-1, width))
            r, visible = asking.shape[0] // b, self.read_visible
            q = torch.addmm(bias[:width], asking, matrix[:width].mT)
            q = q.view(b, r, h, e).transpose(1, 2).reshape(b * h, r, e)
            together = torch.addmm(bias[width:], normed, matrix[width:].mT, out=room("qkv", b * t, 2 * width))
            heads = room(("heads", layer), 2, b, h, t, e).copy_(together.view(b, t, 2, h, e).permute(2, 0, 3, 1, 4))
            k, v = heads.view(2, b * h, t, e)
        of_norms = None
        if w.gain is not None:
            q_divided, k_divided = _over_deviation(q), _over_deviation(k)
            q_unit, k = q.mul_(q_divided), k.mul_(k_divided)
            of_norms = q_divided, k_divided, q_unit
            q = torch.mul(q_unit, w.gain, out=room(("q", layer), *q.shape))
        across = room("across", b * h, e, r).copy_(q.mT)
        mixed = torch.bmm(k, across, out=room(("mixed", layer), b * h, t, r))
        if _longest(q) * _longest(k) > 100:
            # Powers of two that float32 might not hold.
            mixed.masked_fill_(visible == 0, -math.inf).sub_(mixed.amax(-2, keepdim=True)).exp2_()
        else:
            mixed.exp2_().mul_(visible)
        share = mixed.sum(-2).reciprocal_().unsqueeze(-1)
        by_head = torch.bmm(mixed.mT, v, out=room("by_head", b * h, r, e)).mul_(share)
        seen = room(("seen", layer), b, r, h, e).copy_(by_head.view(b, h, r, e).transpose(1, 2)).view(b * r, width)
        x.addmm_(seen, w.out.mT).add_(w.out_bias)
        self.of_attention[layer] = normed, divided, asking, q, k, v, of_norms, mixed, share, seen
        return x

    def _attention_backward(self, layer: int, dx: Tensor, b: int, stride: int) -> Tensor:
        w, g, room = self.blocks[layer], self.block_gradients[layer], self.scratch
        h, e, t, width = self.shape.heads, self.head_width, self.t, self.width
        normed, divided, asking, q, k, v, of_norms, mixed, share, seen = self.of_attention[layer]
        r = mixed.shape[-1]
        g.out.addmm_(dx.mT, seen)
        g.out_bias.add_(dx.sum(0))
        d_seen = torch.mm(dx, w.out, out=room("d_seen", b * r, width))
        product = torch.mul(d_seen, seen, out=room("product", b * r, width))
        # Scores are in units of log 2.
        log2 = math.log(2)
        inner = product.view(b, r, h, e).sum(-1).transpose(1, 2).reshape(b * h, 1, r).mul_(share.mT).mul_(log2)
        d_heads = room("d_heads", b * h, r, e)
        d_heads.view(b, h, r, e).copy_(d_seen.view(b, r, h, e).transpose(1, 2))
        d_heads.mul_(share)
        d_v = torch.bmm(mixed, d_heads, out=room("d_v", b * h, t, e))
        across = torch.mul(d_heads.mT, log2, out=room("across", b * h, e, r))
        d_scores = torch.bmm(v, across, out=room("d_scores", b * h, t, r)).sub_(inner).mul_(mixed)
        d_q = torch.bmm(d_scores.mT, k, out=room("d_q", b * h, r, e))
        d_k = torch.bmm(d_scores, q, out=room("d_k", b * h, t, e))
        if of_norms is not None:
            assert w.gain is not None
            assert g.gain is not None
            q_divided, k_divided, q_unit = of_norms
            g.gain.add_(torch.mul(d_q, q_unit, out=room("product", *d_q.shape)).sum((0, 1)))
            _normalize_backward(d_q.mul_(w.gain), q_unit, q_divided, room("product", *d_q.shape))
            _normalize_backward(d_k, k, k_divided, room("product", *d_k.shape))
        matrix, d_matrix, d_bias = w.qkv, g.qkv, g.qkv_bias
        parts = (d_q, d_k, d_v) if stride == 1 else (d_k, d_v)
        together = room("qkv", b, t, len(parts), h, e)
        for i, part in enumerate(parts):
            together[:, :, i].copy_(part.view(b, h, t, e).transpose(1, 2))
        d = together.view(b * t, -1)
        d_normed = room("d_normed", b * t, width)
        if stride == 1:
            d_matrix.addmm_(d.mT, normed)
            d_bias.add_(d.sum(0))
            torch.mm(d, matrix, out=d_normed)
            return dx.add_(_normalize_backward(d_normed, normed, divided, room("product", *normed.shape)))
        d_q = d_q.view(b, h, r, e).transpose(1, 2).reshape(b * r, -1)
        d_matrix[:width].addmm_(d_q.mT, asking)
        d_matrix[width:].addmm_(d.mT, normed)
        d_bias[:width].add_(d_q.sum(0))
        d_bias[width:].add_(d.sum(0))
        torch.mm(d, matrix[width:], out=d_normed)
        d_normed.view(b, t, -1)[:, ::stride].add_((d_q @ matrix[:width]).view(b, r, -1))
        whole = room("d_whole", b * t, width).copy_(
            _normalize_backward(d_normed, normed, divided, room("product", *normed.shape))
        )
        whole.view(b, t, -1)[:, ::stride].add_(dx.view(b, r, -1))
        return whole


def _over_deviation(x: Tensor) -> Tensor:
    """One over the standard deviation of rows that have mean zero."""
    length: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length.square_().div_(x.shape[-1]).add_(_EPS).rsqrt_()


def _longest(rows: Tensor) -> float:
    return float(torch.linalg.vector_norm(rows, dim=-1).max())


def _normalize_backward(d: Tensor, normed: Tensor, divided: Tensor, product: Tensor) -> Tensor:
    """Gradient by the rows that were normalised, up to their means; overwrites ``d`` and ``product``."""
    inner = torch.mul(d, normed, out=product).sum(-1, keepdim=True).div_(-d.shape[-1])
    return d.addcmul_(normed, inner).mul_(divided)
