"""Passes over memory between the matrix products of `training_pass`, each compiled to one loop.

PyTorch makes a pass over memory per operation; what a block of a transformer does between two products is five to
ten of them. Here it is one. All arrays are float32, and fastest if contiguous; what is written is said.

Dimensions: b = prompts, t = tokens, r = tokens that are read (every ``stride``-th), h = heads, e = width per head,
p = queries, keys and values, or some of them; n = b h, the heads of all prompts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from icl_curriculum.models.cpu_step.compiling import inlined, kernel, part

_0, _1, _2, _half = (np.float32(value) for value in (0, 1, 2, 0.5))
_EPS = np.float32(1e-5)
_LOG2 = np.float32(math.log(2))
# GELU's tanh form is x sigmoid(x (c + b x^2)).
_GELU = np.float32(2 * math.sqrt(2 / math.pi))
_GELU_CUBE = np.float32(0.044715 * 2 * math.sqrt(2 / math.pi))
_PER_LOG2 = np.float32(1 / math.log(2))
_3_GELU_CUBE = np.float32(3) * _GELU_CUBE
# 2^f on [-1/2, 1/2]: the polynomial of degree 6 through it at Chebyshev's points; off by less than 2e-7 of it.
_POINTS = 0.5 * np.cos(np.pi * (np.arange(7) + 0.5) / 7)
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = np.polynomial.polynomial.polyfit(_POINTS, 2**_POINTS, 6).astype(np.float32)
_LOWEST, _HIGHEST = np.float32(-126), np.float32(126)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)


@inlined
def _power_of_two(x: Any) -> Any:
    x = min(max(x, _LOWEST), _HIGHEST)
    whole = np.floor(x + _half)
    f = x - whole
    value = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return value * np.int32((np.int32(whole) + _BIAS) << _MANTISSA).view(np.float32)


@kernel
def normalize(x: Any, bias: Any, gain: Any, shift: Any, normed: Any, unit: Any, over: Any) -> None:
    """Layer norm: add the bias to x (rows, w), then ``unit`` = (x - mean) ``over`` its rows' deviations.

    ``normed`` (rows, w) = unit gain + shift. ``over`` (rows,) is one over the deviations; gain and shift are (w,).
    """
    rows, width = x.shape
    for i in range(rows):
        total = _0
        for j in range(width):
            value = x[i, j] + bias[j]
            x[i, j] = value
            total += value
        mean = total / np.float32(width)
        squares = _0
        for j in range(width):
            value = x[i, j] - mean
            squares += value * value
        factor = _1 / np.sqrt(squares / np.float32(width) + _EPS)
        over[i] = factor
        for j in range(width):
            value = (x[i, j] - mean) * factor
            unit[i, j] = value
            normed[i, j] = value * gain[j] + shift[j]


@kernel
def normalize_backward(d: Any, unit: Any, over: Any, gain: Any, d_gain: Any, d_shift: Any, dx: Any, sums: Any) -> None:
    """Takes the gradient ``d`` by ``normed`` (rows, w) and adds the gradients by x, by the gain and by the shift.

    Then the sum of dx over rows is added to ``sums`` (w,), the gradient by the bias.
    """
    rows, width = d.shape
    for i in range(rows):
        total = _0
        inner = _0
        for j in range(width):
            value = d[i, j]
            product = value * unit[i, j]
            d_shift[j] += value
            d_gain[j] += product
            total += value * gain[j]
            inner += product * gain[j]
        total /= np.float32(width)
        inner /= np.float32(width)
        factor = over[i]
        for j in range(width):
            value = dx[i, j] + (d[i, j] * gain[j] - total - unit[i, j] * inner) * factor
            dx[i, j] = value
            sums[j] += value


@part
def relu_squared(hidden: Any, bias: Any, active: Any) -> None:
    """``active`` = max(0, hidden + bias)^2, and its derivative in the place of ``hidden`` (rows, w)."""
    rows, width = hidden.shape
    for i in range(rows):
        for j in range(width):
            value = max(hidden[i, j] + bias[j], _0)
            active[i, j] = value * value
            hidden[i, j] = _2 * value


@part
def gelu(hidden: Any, bias: Any, active: Any) -> None:
    """``active`` = GELU (tanh form) of hidden + bias, and its derivative in the place of ``hidden`` (rows, w)."""
    rows, width = hidden.shape
    for i in range(rows):
        for j in range(width):
            x = hidden[i, j] + bias[j]
            square = x * x
            gate = _1 / (_1 + _power_of_two(-x * (_GELU + _GELU_CUBE * square) * _PER_LOG2))
            value = x * gate
            active[i, j] = value
            hidden[i, j] = gate + value * (_1 - gate) * (_GELU + _3_GELU_CUBE * square)


@part
def multiply(d: Any, slope: Any, sums: Any) -> None:
    """``d`` (rows, w) times ``slope``, in its place, and its sum over rows added to ``sums`` (w,)."""
    rows, width = d.shape
    for i in range(rows):
        for j in range(width):
            value = d[i, j] * slope[i, j]
            d[i, j] = value
            sums[j] += value


@part
def split_heads(together: Any, bias: Any, scales: Any, heads: Any) -> None:
    """``heads`` (p, b, h, t, e) = (together (b, t, p, h, e) + bias (p, h, e)) scales (p,)."""
    parts, prompts, n_heads, tokens, width = heads.shape
    for b in range(prompts):
        for t in range(tokens):
            for p in range(parts):
                for h in range(n_heads):
                    for j in range(width):
                        heads[p, b, h, t, j] = (together[b, t, p, h, j] + bias[p, h, j]) * scales[p]


@part
def join_heads(heads: Any, scales: Any, together: Any, sums: Any) -> None:
    """``together`` (b, t, p, h, e) = heads (p, b, h, t, e) scales (p,); its sum over b and t is added to ``sums``.

    Those are (p, h, e).
    """
    parts, prompts, n_heads, tokens, width = heads.shape
    for b in range(prompts):
        for t in range(tokens):
            for p in range(parts):
                for h in range(n_heads):
                    for j in range(width):
                        value = heads[p, b, h, t, j] * scales[p]
                        together[b, t, p, h, j] = value
                        sums[p, h, j] += value


@part
def softmax(scores: Any, stride: int, start: int, share: Any) -> None:
    """Powers of two of causal scores (n, t, r), in their place, and one over each column's sum in ``share`` (n, r).

    Keys are on rows, queries on columns: query j sees keys 0 to start + stride times j; the others become 0. Powers are
    over each column's largest.
    """
    n, tokens, asking = scores.shape
    sums = np.empty(asking, np.float32)
    for m in range(n):
        share[m] = scores[m, 0]
        for i in range(1, tokens):
            first = max(0, i - start + stride - 1) // stride
            row, top = scores[m, i, first:], share[m, first:]
            for j in range(len(row)):
                top[j] = max(top[j], row[j])
        sums[:] = _0
        for i in range(tokens):
            first = max(0, i - start + stride - 1) // stride
            scores[m, i, :first] = _0
            row, top, total = scores[m, i, first:], share[m, first:], sums[first:]
            for j in range(len(row)):
                value = _power_of_two(row[j] - top[j])
                row[j] = value
                total[j] += value
        for j in range(asking):
            share[m, j] = _1 / sums[j]


@part
def softmax_backward(d: Any, inner: Any, powers: Any, stride: int, start: int) -> None:
    """Replaces ``d`` (n, t, r) by the gradients by what `softmax` turned into ``powers``: (d - inner) powers log 2.

    ``inner`` (n, r) is each query's gradient times its output (Dao et al. 2022, section 3).
    """
    n, tokens, _ = d.shape
    for m in range(n):
        for i in range(tokens):
            first = max(0, i - start + stride - 1) // stride
            d[m, i, :first] = _0
            row, less, power = d[m, i, first:], inner[m, first:], powers[m, i, first:]
            for j in range(len(row)):
                row[j] = (row[j] - less[j]) * power[j] * _LOG2


@part
def merge_heads(by_head: Any, share: Any, seen: Any) -> None:
    """``seen`` (b, r, h, e) = by_head (b, h, r, e) times share (b, h, r)."""
    prompts, n_heads, asking, width = by_head.shape
    for b in range(prompts):
        for h in range(n_heads):
            for r in range(asking):
                factor = share[b, h, r]
                for j in range(width):
                    seen[b, r, h, j] = by_head[b, h, r, j] * factor


@part
def merge_heads_backward(d: Any, seen: Any, share: Any, d_by_head: Any, inner: Any) -> None:
    """Takes ``d`` by seen (b, r, h, e); fills ``d_by_head`` (b, h, r, e) and ``inner`` (b, h, r) for the softmax."""
    prompts, n_heads, asking, width = d_by_head.shape
    for b in range(prompts):
        for h in range(n_heads):
            for r in range(asking):
                factor = share[b, h, r]
                product = _0
                for j in range(width):
                    product += d[b, r, h, j] * seen[b, r, h, j]
                    d_by_head[b, h, r, j] = d[b, r, h, j] * factor
                inner[b, h, r] = product * factor
