"""The state-space model: the parallel scan against a loop, a block against its formula, queries, and zero decays."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from icl_curriculum.models import Instruction, StateSpaceConfig
from icl_curriculum.models.calling import by_prefix
from icl_curriculum.models.state_space import by_stride, by_token, scan


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 8, 21])
def test_the_scan_is_the_recurrence(tokens: int) -> None:
    made = torch.Generator().manual_seed(0)
    decays, gains = torch.rand(2, 3, tokens, 4, generator=made, dtype=torch.float64)
    decays[:, tokens // 2] = 0.0
    state, wanted = torch.zeros(3, 4, dtype=torch.float64), []
    for t in range(tokens):
        state = decays[:, t] * state + gains[:, t]
        wanted.append(state)
    for way in (scan, by_stride, by_token):
        torch.testing.assert_close(way(decays, gains), torch.stack(wanted, dim=1))


def test_its_gradients_and_theirs_are_those_of_central_differences() -> None:
    made = torch.Generator().manual_seed(0)
    decays, gains = torch.rand(2, 2, 5, 2, generator=made, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(scan, (decays, gains))
    assert torch.autograd.gradgradcheck(scan, (decays, gains))


def test_what_was_forgotten_long_ago_leaves_no_trace_and_no_nan() -> None:
    """Products of so small decays are 0 in float32, by which nothing may be divided."""
    decays = torch.full((1, 64, 1), 1e-9, requires_grad=True)
    found = scan(decays, torch.ones(1, 64, 1))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert decays.grad is not None
    assert bool(decays.grad.isfinite().all())
    torch.testing.assert_close(found, torch.ones(1, 64, 1))


def test_a_block_computes_mambas_formula_step_by_step() -> None:
    config = StateSpaceConfig(width=4, layers=1, expand=2, state=3)
    model = config.build(dims=2, points=5, generator=torch.Generator().manual_seed(0)).double()
    made = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=made, dtype=torch.float64))
    stream = torch.randn(1, 5, 4, generator=made, dtype=torch.float64)
    with torch.no_grad():
        found = model._block(0, stream, None)[0][0].numpy()  # type: ignore[operator]
    own = {name: value.detach().numpy() for name, value in model.named_parameters()}
    silu = lambda x: x / (1 + np.exp(-x))  # noqa: E731
    state = np.zeros((8, 3))
    for t, h in enumerate(stream[0].numpy()):
        normed = (h - h.mean()) / np.sqrt(h.var() + 1e-5) * own["norm"][0] + own["norm_bias"][0]
        u, z = silu(own["channels_in"][0, 0] @ normed), own["channels_in"][0, 1] @ normed
        low, b, c = np.split(own["gates_in"][0] @ u, [1, 4])
        step = np.log1p(np.exp(own["time_steps_in"][0] @ low + own["time_steps_bias"][0]))
        decay = np.exp(-step[:, None] * np.exp(own["log_decay"][0]))
        state = decay * state + step[:, None] * b[None] * u[:, None]
        y = state @ c + own["skip"][0] * u
        np.testing.assert_allclose(found[t], h + own["channels_out"][0] @ (y * silu(z)), rtol=1e-9)


@pytest.mark.parametrize("told", [None, Instruction("one_hot", 2, "function_class", ("a", "b"))], ids=["plain", "told"])
def test_queries_beside_the_prompt_are_what_each_would_be_in_a_prompt_of_its_own(told: Instruction | None) -> None:
    config = StateSpaceConfig(width=6, layers=2, expand=1, state=3)
    model = config.build(dims=3, points=6, generator=torch.Generator().manual_seed(0), instruction=told)
    made = torch.Generator().manual_seed(1)
    xs, queries = torch.randn(2, 4, 6, 3, generator=made)
    ys = torch.randn(4, 6, generator=made)
    more = {} if told is None else {"instruction": torch.tensor([0, 1, 0, -1])}
    with torch.no_grad():
        wanted = by_prefix(lambda inputs, labels: model(inputs, labels, **more), xs, ys, queries)
        torch.testing.assert_close(model(xs, ys, queries, **more), wanted)


def test_time_steps_start_between_a_thousandth_and_a_tenth() -> None:
    model = StateSpaceConfig(width=32).build(dims=2, points=5, generator=torch.Generator().manual_seed(0))
    steps = torch.nn.functional.softplus(model.time_steps_bias.detach())  # type: ignore[operator]
    assert 0.001 <= float(steps.min()) < 0.002
    assert 0.05 < float(steps.max()) <= 0.1001
