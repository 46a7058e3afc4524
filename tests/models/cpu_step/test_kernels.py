"""The compiled loops of the training pass against PyTorch's operations and their gradients."""

from __future__ import annotations

import errno
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba.core.caching
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from icl_curriculum.models.cpu_step import compiling
from icl_curriculum.models.cpu_step import kernels as loops


class Kernels:
    """The compiled loops, kept on disk each by itself, and called with tensors."""

    def __init__(self) -> None:
        self.made: dict[str, Callable[..., None]] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in self.made:
            loop = getattr(loops, name)
            compiled = compiling.kernel(loop.py_func if hasattr(loop, "py_func") else loop.__wrapped__)
            self.made[name] = lambda *values: compiled(*(v.numpy() if isinstance(v, Tensor) else v for v in values))
        return self.made[name]


kernels = Kernels()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=200, deadline=None)
@given(st.floats(-126, 126, width=32))
def test_powers_of_two(x: float) -> None:
    assert loops._power_of_two(np.float32(x)) == pytest.approx(2.0**x, rel=3e-7)


def test_powers_beyond_float32_are_its_ends() -> None:
    assert loops._power_of_two(np.float32(-1e9)) == pytest.approx(2.0**-126)
    assert loops._power_of_two(np.float32(1e9)) == pytest.approx(2.0**126)


@pytest.mark.parametrize("width", [1, 7, 64])
@pytest.mark.parametrize("size", [1.0, 1e-3])
def test_layer_norm(width: int, size: float) -> None:
    """Also of rows so short that what is added to their variance shows."""
    x, bias, gain, shift, d = drawn(5, width), *(drawn(width, seed=i) for i in (1, 2, 3)), drawn(5, width, seed=4)
    x, bias, d = size * x, size * bias, size * d
    raw = (x + bias).requires_grad_()
    gain, shift = gain.requires_grad_(), shift.requires_grad_()
    expected = F.layer_norm(raw, (width,), gain, shift)
    expected.backward(d)
    gain, shift, by_gain, by_shift = gain.detach(), shift.detach(), gain.grad, shift.grad
    assert raw.grad is not None

    read, normed, unit, over = x.clone(), torch.empty(5, width), torch.empty(5, width), torch.empty(5)
    kernels.normalize(read, bias, gain, shift, normed, unit, over)
    torch.testing.assert_close(read, raw.detach())
    torch.testing.assert_close(normed, expected.detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(unit, F.layer_norm(raw.detach(), (width,)), atol=1e-5, rtol=1e-5)

    before = drawn(5, width, seed=5)
    dx, d_gain, d_shift, sums = before.clone(), torch.ones(width), torch.ones(width), torch.ones(width)
    kernels.normalize_backward(d, unit, over, gain, d_gain, d_shift, dx, sums)
    torch.testing.assert_close(dx, before + raw.grad, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(d_gain, 1 + by_gain, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(d_shift, 1 + by_shift, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(sums, 1 + dx.sum(0), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (kernels.gelu, lambda x: F.gelu(x, approximate="tanh")),
        (kernels.relu_squared, lambda x: F.relu(x).square()),
    ],
)
def test_activations_and_their_derivatives(ours: Any, theirs: Callable[[Tensor], Tensor]) -> None:
    x = torch.cat([torch.linspace(-40, 40, 81), 1e-4 * drawn(9)]).repeat(2, 1)
    bias = drawn(90, seed=1)
    raw = (x + bias).requires_grad_()
    expected = theirs(raw)
    expected.sum().backward()
    active = torch.empty_like(x)
    ours(x, bias, active)
    torch.testing.assert_close(active, expected.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(x, raw.grad, atol=3e-6, rtol=1e-5)


@pytest.mark.parametrize("ours", [kernels.gelu, kernels.relu_squared])
def test_what_is_no_number_stays_none(ours: Any) -> None:
    """A run that diverged must show it."""
    hidden, active = torch.tensor([[math.nan, 1.0]]), torch.empty(1, 2)
    ours(hidden, torch.zeros(2), active)
    assert active[0, 0].isnan()
    assert active[0, 1] > 0


def test_norms_and_softmax_of_no_numbers_are_none() -> None:
    x, normed, unit, over = drawn(2, 8), torch.empty(2, 8), torch.empty(2, 8), torch.empty(2)
    x[0, 3] = math.nan
    kernels.normalize(x, torch.zeros(8), torch.ones(8), torch.zeros(8), normed, unit, over)
    assert normed[0].isnan().all()
    assert normed[1].isfinite().all()
    scores, share = drawn(1, 3, 3), torch.empty(1, 3)
    scores[0, 0, 2] = math.nan
    kernels.softmax(scores, 1, 0, share)
    assert (scores * share[:, None])[0, :, 2].isnan().any()
    assert (scores * share[:, None])[0, :, :2].isfinite().all()


def test_multiply_sums_over_rows() -> None:
    d, slope, sums = drawn(4, 9), drawn(4, 9, seed=1), torch.ones(9)
    product = d * slope
    kernels.multiply(d, slope, sums)
    torch.testing.assert_close(d, product)
    torch.testing.assert_close(sums, 1 + product.sum(0))


def test_heads_apart_and_together() -> None:
    together, bias, scales = drawn(2, 5, 3, 4, 6), drawn(3, 4, 6, seed=1), torch.tensor([0.5, 1.0, 2.0])
    heads = torch.empty(3, 2, 4, 5, 6)
    kernels.split_heads(together, bias, scales, heads)
    expected = ((together + bias) * scales[:, None, None]).permute(2, 0, 3, 1, 4)
    torch.testing.assert_close(heads, expected)
    joined, sums = torch.empty_like(together), torch.ones(3, 4, 6)
    kernels.join_heads(heads, scales, joined, sums)
    torch.testing.assert_close(joined, heads.permute(1, 3, 0, 2, 4) * scales[:, None, None])
    torch.testing.assert_close(sums, 1 + joined.sum((0, 1)))


@pytest.mark.parametrize(("tokens", "stride", "start"), [(6, 1, 0), (7, 2, 0), (1, 1, 0), (8, 2, 1), (7, 1, 3)])
@pytest.mark.parametrize("size", [1.0, 300.0])
def test_causal_softmax(tokens: int, stride: int, start: int, size: float) -> None:
    asking = -(-(tokens - start) // stride)
    raw = (size * drawn(3, tokens, asking)).requires_grad_()
    unseen = torch.arange(tokens)[:, None] > start + stride * torch.arange(asking)
    expected = (raw * math.log(2)).masked_fill(unseen, -math.inf).softmax(dim=1)
    powers, share = raw.detach().clone(), torch.empty(3, asking)
    kernels.softmax(powers, stride, start, share)
    assert (powers[unseen.expand_as(powers)] == 0).all()
    torch.testing.assert_close(powers * share[:, None], expected.detach(), atol=1e-6, rtol=1e-5)

    d = drawn(3, tokens, asking, seed=1)
    expected.backward(d)
    inner = (d * expected.detach()).sum(1) * share
    by_scores = d * share[:, None]
    kernels.softmax_backward(by_scores, inner, powers, stride, start)
    torch.testing.assert_close(by_scores, raw.grad, atol=1e-6, rtol=1e-4)


def test_merging_heads_and_back() -> None:
    by_head, share, d = drawn(2, 3, 5, 4), drawn(2, 3, 5, seed=1), drawn(2, 5, 3, 4, seed=2)
    seen = torch.empty(2, 5, 3, 4)
    kernels.merge_heads(by_head, share, seen)
    torch.testing.assert_close(seen, (by_head * share[..., None]).transpose(1, 2))
    d_by_head, inner = torch.empty_like(by_head), torch.empty(2, 3, 5)
    kernels.merge_heads_backward(d, seen, share, d_by_head, inner)
    torch.testing.assert_close(d_by_head, d.transpose(1, 2) * share[..., None])
    torch.testing.assert_close(inner, (d * seen).sum(-1).transpose(1, 2) * share)


def double(values: Any) -> None:
    for i in range(len(values)):
        values[i] += values[i]


def doubled(kernel: Callable[..., None]) -> list[float]:
    values = np.arange(3, dtype=np.float32)
    kernel(values)
    return values.tolist()


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
    return folder


def test_compiled_code_is_kept_by_source_and_processor(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doubled(compiling.kernel(double)) == [0, 2, 4]
    (folder,) = cache_folder.iterdir()
    assert folder.name == f"icl-kernels-{compiling._fingerprint()}"
    assert list(folder.rglob("*.nbc"))
    assert str(cache_folder) == numba.config.CACHE_DIR, "what the user's own functions use"
    monkeypatch.setattr(compiling, "get_host_cpu_name", lambda: "another")
    compiling._fingerprint.cache_clear()
    assert doubled(compiling.kernel(double)) == [0, 2, 4]
    assert len(list(cache_folder.iterdir())) == 2
    compiling._fingerprint.cache_clear()


def test_where_nothing_can_be_kept_on_disk_loops_are_compiled_all_the_same(cache_folder: Path) -> None:
    cache_folder.write_text("in the way")
    assert doubled(compiling.kernel(double)) == [0, 2, 4]


def test_a_disk_that_fills_costs_the_cache_alone(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def full(*arguments: Any) -> None:
        tried.append(arguments)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(numba.core.caching.IndexDataCacheFile, "save", full)
    kernel = compiling.kernel(double)
    assert doubled(kernel) == [0, 2, 4]
    assert doubled(kernel) == [0, 2, 4]
    assert tried
    assert not list(cache_folder.rglob("*.nbc"))
