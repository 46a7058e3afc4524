"""The parts of a transformer's block, products and all, each compiled to one function that never waits for Python.

Several threads compute at a time; between any two operations they would hand over Python's lock, and waking costs more
than a small product. All arrays are float32; ``sgemm`` is the address of the product; each function returns the
operations of its products. Where a gradient by weights is written, ``kept`` (0 or 1) is the factor of what stood there.

Dimensions: b = prompts, t = tokens, r = tokens that are read, w = width, h = heads, e = width per head, n = b h, the
heads of all prompts; p = queries, keys and values, or some of them; f = width of the MLP.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from icl_curriculum.models.cpu_step import kernels
from icl_curriculum.models.cpu_step.compiling import kernel
from icl_curriculum.models.cpu_step.products import multiply_matrices

_0, _1 = np.float32(0), np.float32(1)


@kernel
def product(sgemm: Any, left: Any, right: Any, keep: Any, out: Any) -> int:
    """``out`` = left right + keep out, as in `products`."""
    return multiply_matrices(sgemm, left, right, keep, out)


@kernel
def project(
    sgemm: Any, normed: Any, weights: Any, bias: Any, scales: Any, together: Any, by_head: Any, heads: Any
) -> int:
    """``heads`` (p, b, h, t, e): queries, keys and values, or some of them, of the rows ``normed`` (b t, w).

    ``weights`` (p w, w), ``bias`` (p, h, e), ``scales`` (p,). ``together`` (b t, p w) is written; ``by_head`` is the
    same memory as (b, t, p, h, e).
    """
    operations = multiply_matrices(sgemm, normed, weights.T, _0, together)
    kernels.split_heads(by_head, bias, scales, heads)
    return operations


@kernel
def project_backward(
    sgemm: Any, d_heads: Any, normed: Any, weights: Any, scales: Any, together: Any, by_head: Any, d_normed: Any,
    d_weights: Any, d_bias: Any, kept: Any,
) -> int:  # fmt: skip
    """Turns the gradients by what `project` made into those by its weights, its bias and, in ``d_normed``, its rows."""
    kernels.join_heads(d_heads, scales, by_head, d_bias)
    operations = multiply_matrices(sgemm, together.T, normed, kept, d_weights)
    return operations + multiply_matrices(sgemm, together, weights, _0, d_normed)


@kernel
def attend(
    sgemm: Any, q: Any, k: Any, v: Any, stride: Any, start: Any, powers: Any, share: Any, mixed: Any,
    share_by_head: Any, seen_by_head: Any, seen: Any, weights: Any, x: Any,
) -> int:  # fmt: skip
    """Adds to ``x`` (b r, w) what an attention of q (n, r, e), k and v (n, t, e) answers.

    ``powers`` (n, t, r), ``share`` (n, r) and ``seen`` (b r, w) are written for the backward pass. ``mixed`` (b, h, r,
    e) is written; ``share_by_head`` (b, h, r) and ``seen_by_head`` (b, r, h, e) are the same memory as their likes.
    """
    operations, heads = 0, mixed.shape[1]
    # One head after the other, so that its scores are still in the cache.
    for i in range(len(q)):
        operations += multiply_matrices(sgemm, k[i], q[i].T, _0, powers[i])
        kernels.softmax(powers[i : i + 1], stride, start, share[i : i + 1])
        operations += multiply_matrices(sgemm, powers[i].T, v[i], _0, mixed[i // heads, i % heads])
    kernels.merge_heads(mixed, share_by_head, seen_by_head)
    return operations + multiply_matrices(sgemm, seen, weights.T, _1, x)


@kernel
def attend_backward(
    sgemm: Any, dx: Any, q: Any, k: Any, v: Any, stride: Any, start: Any, powers: Any, share_by_head: Any,
    seen_by_head: Any, seen: Any, weights: Any, d_seen: Any, d_seen_by_head: Any, d_mixed: Any, inner: Any,
    d_scores: Any, d_q: Any, d_k: Any, d_v: Any, d_weights: Any, kept: Any,
) -> int:  # fmt: skip
    """Turns the gradient ``dx`` (b r, w) by what `attend` added into those by its weights and by q, k and v.

    ``d_seen`` (b r, w), as ``d_seen_by_head`` (b, r, h, e), ``d_mixed`` (b, h, r, e), ``inner`` (b, h, r) and
    ``d_scores`` (1, t, r) are written.
    """
    heads = d_mixed.shape[1]
    operations = multiply_matrices(sgemm, dx.T, seen, kept, d_weights)
    operations += multiply_matrices(sgemm, dx, weights, _0, d_seen)
    kernels.merge_heads_backward(d_seen_by_head, seen_by_head, share_by_head, d_mixed, inner)
    for i in range(len(q)):
        prompt, head = i // heads, i % heads
        d_out = d_mixed[prompt, head]
        operations += multiply_matrices(sgemm, powers[i], d_out, _0, d_v[i])
        operations += multiply_matrices(sgemm, v[i], d_out.T, _0, d_scores[0])
        kernels.softmax_backward(d_scores, inner[prompt, head : head + 1], powers[i : i + 1], stride, start)
        operations += multiply_matrices(sgemm, d_scores[0].T, k[i], _0, d_q[i])
        operations += multiply_matrices(sgemm, d_scores[0], q[i], _0, d_k[i])
    return operations


@kernel
def mlp(
    sgemm: Any, normed: Any, weights_in: Any, bias: Any, gelu: Any, hidden: Any, active: Any, weights_out: Any, x: Any
) -> int:
    """Adds to ``x`` (b t, w) what an MLP answers to ``normed`` (b t, w).

    ``hidden`` becomes the derivatives of the activations, ``active`` (both (b t, f)) these themselves.
    """
    operations = multiply_matrices(sgemm, normed, weights_in.T, _0, hidden)
    if gelu:
        kernels.gelu(hidden, bias, active)
    else:
        kernels.relu_squared(hidden, bias, active)
    return operations + multiply_matrices(sgemm, active, weights_out.T, _1, x)


@kernel
def mlp_backward(
    sgemm: Any, dx: Any, normed: Any, weights_in: Any, slope: Any, active: Any, weights_out: Any, d_hidden: Any,
    d_normed: Any, d_weights_in: Any, d_bias: Any, d_weights_out: Any, kept: Any,
) -> int:  # fmt: skip
    """Turns the gradient ``dx`` by what `mlp` added into those by its weights and, in ``d_normed``, by its rows."""
    operations = multiply_matrices(sgemm, dx.T, active, kept, d_weights_out)
    operations += multiply_matrices(sgemm, dx, weights_out, _0, d_hidden)
    kernels.multiply(d_hidden, slope, d_bias)
    operations += multiply_matrices(sgemm, d_hidden.T, normed, kept, d_weights_in)
    return operations + multiply_matrices(sgemm, d_hidden, weights_in, _0, d_normed)
